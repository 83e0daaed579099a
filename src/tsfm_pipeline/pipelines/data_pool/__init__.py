"""Raw datasets become one pool: indexed, relabelled, resampled, split."""

from tsfm_pipeline.pipelines.data_pool.pipeline import create_pipeline

__all__ = ["create_pipeline"]
