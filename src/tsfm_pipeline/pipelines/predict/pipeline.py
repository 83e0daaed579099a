"""Wiring of the predict pipeline."""

from kedro.pipeline import Node, Pipeline

from tsfm_pipeline.pipelines.predict.nodes import segment_scans


def create_pipeline() -> Pipeline:
    """Create the pipeline that segments scans; files are its input, not datasets of the pool."""
    return Pipeline(
        [
            Node(
                segment_scans,
                ["params:predict", "params:inference"],
                ["predicted_volumes", "prediction_problems"],
                name="segment_scans",
            )
        ]
    )
