"""How good a prediction is, and what no learning at all would reach."""
