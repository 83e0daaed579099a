"""Table 3: TSFM pre-trained on one dataset only, then transferred."""

from tsfm_pipeline.pipelines.ablation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
