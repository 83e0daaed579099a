"""Readers of the public on-disk layouts: one file per publisher, one small interface."""

from tsfm_pipeline.sources.datasets import AnySource, Datasets
from tsfm_pipeline.sources.label_check import check_labels
from tsfm_pipeline.sources.source import LabelFile, Modality, Source, SourceCase, SourceError

__all__ = [
    "AnySource",
    "Datasets",
    "LabelFile",
    "Modality",
    "Source",
    "SourceCase",
    "SourceError",
    "check_labels",
]
