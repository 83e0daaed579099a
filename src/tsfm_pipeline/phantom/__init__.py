"""Built-in synthetic data: one anatomical generator, written in the 13 public layouts."""
