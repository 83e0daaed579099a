"""Tables 1 and S1: the systems that TSFM is compared with, trained on one dataset each."""

from tsfm_pipeline.pipelines.baseline.pipeline import create_pipeline

__all__ = ["create_pipeline"]
