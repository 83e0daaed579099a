"""Table 2: TSFM on downstream datasets, pre-trained and from scratch, at four budgets."""

from tsfm_pipeline.pipelines.transfer.pipeline import create_pipeline

__all__ = ["create_pipeline"]
