"""Kedro datasets of this project: thin wrappers with Kedro-Viz previews."""

from tsfm_pipeline.catalog.case_store import CaseStoreDataset
from tsfm_pipeline.catalog.checked_table import CheckedTableDataset
from tsfm_pipeline.catalog.folder import FolderDataset
from tsfm_pipeline.catalog.record import RecordDataset

__all__ = [
    "CaseStoreDataset",
    "CheckedTableDataset",
    "FolderDataset",
    "RecordDataset",
]
