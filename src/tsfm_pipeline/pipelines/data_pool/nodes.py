"""Nodes of the data pool pipeline."""

from pathlib import Path
from typing import Any

import pandas as pd

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.planning.settings import PlanningSettings
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


def choose_target_spacing(
    integrity: pd.DataFrame, preparation: PreparationSettings, pool: PoolSettings
) -> dict[str, Any]:
    """Return the spacing of the pool: as given, or the median of its cases."""
    from tsfm_pipeline.planning.target_spacing import pool_spacing

    chosen = pool_spacing(preparation.target_spacing, integrity, pool.datasets)
    return chosen.model_dump(mode="json")


def prepare_cases(
    case_index: pd.DataFrame,
    integrity: pd.DataFrame,
    target_spacing: dict[str, Any],
    datasets: Datasets,
    labels: LabelTable,
    preparation: PreparationSettings,
    workers: WorkerSettings,
    screening: ScreeningSettings,
    store_root: Path,
) -> tuple[CaseStore, pd.DataFrame]:
    """Prepare every case into the store; return the store and the pool catalogue."""
    from tsfm_pipeline.planning.target_spacing import PoolSpacing
    from tsfm_pipeline.preparation.pool import prepare_pool

    spacing = PoolSpacing.model_validate(target_spacing).spacing
    preparation = preparation.model_copy(update={"target_spacing": spacing})
    store = CaseStore(store_root)
    catalogue = prepare_pool(
        case_index,
        integrity,
        datasets.root,
        labels,
        preparation,
        workers,
        store,
        verify=screening.verify,
    )
    return store, catalogue


def split_cases(
    pool_catalogue: pd.DataFrame, pool: PoolSettings, splits: SplitSettings
) -> pd.DataFrame:
    """Assign every usable case to training or validation."""
    return assign_cases(pool_catalogue, pool, splits)


def plan_datasets(
    pool_catalogue: pd.DataFrame,
    pool_store: CaseStore,
    target_spacing: dict[str, Any],
    planning: PlanningSettings,
) -> dict[str, dict[str, Any]]:
    """Plan patch, batch and pooling of every dataset as nnU-Net v1 does, and for TSFM."""
    from tsfm_pipeline.planning.dataset_plan import DatasetPlan
    from tsfm_pipeline.planning.fingerprint import Fingerprint
    from tsfm_pipeline.planning.target_spacing import PoolSpacing

    spacing = PoolSpacing.model_validate(target_spacing).spacing
    usable = pool_catalogue[pool_catalogue["verdict"] == "ok"]
    plans = {}
    for dataset, cases in usable.groupby("dataset", sort=False):
        records = [pool_store.record(key) for key in cases["key"]]
        fingerprint = Fingerprint.from_records(str(dataset), records)
        plan = DatasetPlan.of(fingerprint, planning, spacing)
        plans[str(dataset)] = plan.model_dump(mode="json")
    return plans
