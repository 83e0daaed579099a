"""Wiring of the transfer pipeline."""

from kedro.pipeline import Pipeline

from tsfm_pipeline.pipelines.experiment.pipeline import create_grid_pipeline


def create_pipeline() -> Pipeline:
    """Create the transfer experiments of the grid."""
    return create_grid_pipeline("transfer")
