"""Experiment tracking with MLflow, behind plain callables."""
