"""Training: sampling, augmentation, loss, and the loop."""
