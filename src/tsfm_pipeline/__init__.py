"""TSFM, the tumour segmentation foundation model, as Kedro pipelines."""

__version__ = "0.1.0"
