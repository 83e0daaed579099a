"""Beyond the paper: TSFM without its parts, few cases, no training at all, other seeds."""

from tsfm_pipeline.pipelines.study.pipeline import create_pipeline

__all__ = ["create_pipeline"]
