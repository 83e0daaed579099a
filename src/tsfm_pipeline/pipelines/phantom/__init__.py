"""Synthetic raw datasets, where the environment asks for them."""

from tsfm_pipeline.pipelines.phantom.pipeline import create_pipeline

__all__ = ["create_pipeline"]
