"""Wiring of the pretrain pipeline."""

from kedro.pipeline import Node, Pipeline

from tsfm_pipeline.pipelines.experiment.pipeline import create_grid_pipeline
from tsfm_pipeline.pipelines.pretrain.nodes import score_threshold_baseline


def create_pipeline() -> Pipeline:
    """Create the pre-training on the pool and its baseline."""
    baseline = Node(
        score_threshold_baseline,
        ["pool_store", "splits", "params:labels"],
        "pretrain_threshold_scores",
        name="score",
        namespace="pretrain.threshold",
    )
    return create_grid_pipeline("pretrain") + Pipeline([baseline])
