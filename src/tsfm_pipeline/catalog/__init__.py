"""Kedro datasets of this project: thin wrappers with Kedro-Viz previews."""

from tsfm_pipeline.catalog.case_store import CaseStoreDataset
from tsfm_pipeline.catalog.checked_table import CheckedTableDataset
from tsfm_pipeline.catalog.folder import FolderDataset
from tsfm_pipeline.catalog.model_record import ModelRecordDataset
from tsfm_pipeline.catalog.optional_table import OptionalTableDataset

__all__ = [
    "CaseStoreDataset",
    "CheckedTableDataset",
    "FolderDataset",
    "ModelRecordDataset",
    "OptionalTableDataset",
]
