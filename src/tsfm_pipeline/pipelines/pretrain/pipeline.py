"""Wiring of the pretrain pipeline."""

from kedro.pipeline import Node, Pipeline

from tsfm_pipeline.pipelines.experiment.pipeline import create_grid_pipeline
from tsfm_pipeline.pipelines.pretrain.nodes import score_sam_med3d, score_threshold_baseline


def create_pipeline() -> Pipeline:
    """Create the pre-training on the pool, and what is scored beside it without any training."""
    baseline = Node(
        score_threshold_baseline,
        ["pool_store", "splits", "params:labels"],
        "pretrain_threshold_scores",
        name="score",
        namespace="pretrain.threshold",
    )
    prompted = Node(
        score_sam_med3d,
        [
            "params:experiments",
            "params:datasets",
            "case_index",
            "splits",
            "params:labels",
            "params:evaluation",
        ],
        ["pretrain_sam_med3d_scores", "pretrain_sam_med3d_statuses"],
        name="score",
        namespace="pretrain.sam_med3d",
    )
    return create_grid_pipeline("pretrain") + Pipeline([baseline, prompted])
