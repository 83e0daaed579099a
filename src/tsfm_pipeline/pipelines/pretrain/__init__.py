"""Table 1: TSFM pre-trained on the pool, beside a baseline that only thresholds."""

from tsfm_pipeline.pipelines.pretrain.pipeline import create_pipeline

__all__ = ["create_pipeline"]
