"""The paper's tables, with our figures beside the printed ones."""

from tsfm_pipeline.pipelines.reporting.pipeline import create_pipeline

__all__ = ["create_pipeline"]
