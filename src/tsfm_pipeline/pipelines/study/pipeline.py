"""Wiring of the study pipeline."""

from kedro.pipeline import Pipeline

from tsfm_pipeline.pipelines.experiment.pipeline import create_grid_pipeline


def create_pipeline() -> Pipeline:
    """Create the study experiments of the grid."""
    return create_grid_pipeline("study")
