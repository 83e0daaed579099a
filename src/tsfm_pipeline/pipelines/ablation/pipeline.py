"""Wiring of the ablation pipeline."""

from kedro.pipeline import Pipeline

from tsfm_pipeline.pipelines.experiment.pipeline import create_grid_pipeline


def create_pipeline() -> Pipeline:
    """Create the ablation experiments of the grid."""
    return create_grid_pipeline("ablation")
