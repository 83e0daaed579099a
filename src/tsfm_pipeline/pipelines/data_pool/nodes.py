"""Nodes of the data pool pipeline."""

from pathlib import Path

import pandas as pd

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.preparation.settings import PreparationSettings, ScreeningSettings
from tsfm_pipeline.preparation.splits import SplitSettings
from tsfm_pipeline.preparation.splits import split_cases as assign_cases
from tsfm_pipeline.sources import Datasets, PoolSettings
from tsfm_pipeline.sources.case_index import build_case_index
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.workers import WorkerSettings


def index_cases(raw_data: Path, datasets: Datasets, pool: PoolSettings) -> pd.DataFrame:
    """List every labelled case of the pool's and the downstream datasets."""
    return build_case_index(datasets.root, [*pool.datasets, *pool.downstream], raw_data)


def screen_cases(
    case_index: pd.DataFrame,
    datasets: Datasets,
    labels: LabelTable,
    screening_root: Path,
    workers: WorkerSettings,
    screening: ScreeningSettings,
) -> pd.DataFrame:
    """Look into every raw case; return the integrity table."""
    from tsfm_pipeline.preparation import screening as screen

    return screen.screen_cases(
        case_index, datasets.root, labels, screening_root, workers, screening.verify
    )


def prepare_cases(
    case_index: pd.DataFrame,
    integrity: pd.DataFrame,
    datasets: Datasets,
    labels: LabelTable,
    preparation: PreparationSettings,
    store_root: Path,
) -> tuple[CaseStore, pd.DataFrame]:
    """Prepare every case into the store; return the store and the pool catalogue."""
    from tsfm_pipeline.preparation.pool import prepare_pool

    store = CaseStore(store_root)
    return store, prepare_pool(case_index, integrity, datasets.root, labels, preparation, store)


def split_cases(
    pool_catalogue: pd.DataFrame, pool: PoolSettings, splits: SplitSettings
) -> pd.DataFrame:
    """Assign every usable case to training or validation."""
    return assign_cases(pool_catalogue, pool, splits)
