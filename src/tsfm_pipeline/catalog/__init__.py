"""Kedro datasets of this project: thin wrappers with Kedro-Viz previews."""

from tsfm_pipeline.catalog.case_store import CaseStoreDataset
from tsfm_pipeline.catalog.checked_table import CheckedTableDataset
from tsfm_pipeline.catalog.csv_table import CSVTableDataset
from tsfm_pipeline.catalog.drawing import DrawingDataset
from tsfm_pipeline.catalog.folder import FolderDataset
from tsfm_pipeline.catalog.page import PageDataset
from tsfm_pipeline.catalog.record import RecordDataset
from tsfm_pipeline.catalog.record_folder import RecordFolderDataset

__all__ = [
    "CSVTableDataset",
    "CaseStoreDataset",
    "CheckedTableDataset",
    "DrawingDataset",
    "FolderDataset",
    "PageDataset",
    "RecordDataset",
    "RecordFolderDataset",
]
