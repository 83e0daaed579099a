"""The case store: prepared volumes on disk, written once and read by patches."""

from tsfm_pipeline.store.case_store import CaseStore, StoreError
from tsfm_pipeline.store.record import CaseRecord

__all__ = ["CaseRecord", "CaseStore", "StoreError"]
