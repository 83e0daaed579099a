"""Scans of one's own, segmented by a released or trained model; needs no pool."""

from tsfm_pipeline.pipelines.predict.pipeline import create_pipeline

__all__ = ["create_pipeline"]
