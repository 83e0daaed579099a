"""Nodes of the data pool pipeline."""

import logging
from pathlib import Path

import pandas as pd

from tsfm_pipeline.experiments.grid import warn_of_untransferred
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.phantom.ownership import phantom_note
from tsfm_pipeline.pipelines.phantom.datasets import phantoms_among
from tsfm_pipeline.planning.target_spacing import PoolSpacing, pool_spacing
from tsfm_pipeline.pool.settings import PoolSettings
from tsfm_pipeline.preparation.settings import (
    AuditSettings,
    PreparationSettings,
    ScreeningSettings,
)
from tsfm_pipeline.reporting.provenance import view_command
from tsfm_pipeline.reporting.settings import ReportingSettings
from tsfm_pipeline.sources import Datasets
from tsfm_pipeline.sources.case_index import build_case_index
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.workers import WorkerSettings

logger = logging.getLogger(__name__)


def index_cases(raw_data: Path, datasets: Datasets, pool: PoolSettings) -> pd.DataFrame:
    """List every labelled case of the pool's and the downstream datasets."""
    warn_of_untransferred(pool.downstream)
    return build_case_index(datasets.root, [*pool.datasets, *pool.downstream], raw_data)


def screen_raw_cases(
    case_index: pd.DataFrame,
    datasets: Datasets,
    labels: LabelTable,
    screening_root: Path,
    workers: WorkerSettings,
    screening: ScreeningSettings,
) -> pd.DataFrame:
    """Look into every raw case; return the integrity table."""
    from tsfm_pipeline.preparation.screening import screen_cases

    return screen_cases(
        case_index, datasets.root, labels, screening_root, workers, screening.verify
    )


def choose_target_spacing(
    integrity: pd.DataFrame, preparation: PreparationSettings, pool: PoolSettings
) -> PoolSpacing:
    """Return the spacing of the pool: as given, or the median of its cases."""
    return pool_spacing(preparation.target_spacing, integrity, pool.datasets)


def prepare_cases(
    case_index: pd.DataFrame,
    integrity: pd.DataFrame,
    target_spacing: PoolSpacing,
    datasets: Datasets,
    labels: LabelTable,
    preparation: PreparationSettings,
    workers: WorkerSettings,
    screening: ScreeningSettings,
    audit: AuditSettings,
    store_root: Path,
) -> tuple[CaseStore, pd.DataFrame]:
    """Prepare every case into the store and audit it; return the store and the pool catalogue."""
    from tsfm_pipeline.preparation.audit import audit_labels
    from tsfm_pipeline.preparation.pool import prepare_pool

    preparation = preparation.model_copy(update={"target_spacing": target_spacing.spacing})
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
    return store, audit_labels(catalogue, store, labels, audit)


def name_version(
    pool_catalogue: pd.DataFrame,
    leakage: pd.DataFrame,
    splits: pd.DataFrame,
    pool: PoolSettings,
    preparation: PreparationSettings,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Describe this version of the pool, for itself and for the list of all."""
    from tsfm_pipeline.pool.version import describe_version
    from tsfm_pipeline.tracking.runs import POOL_TAG, tag_run

    version = describe_version(pool_catalogue, leakage, splits, pool, preparation)
    row = version.iloc[0]
    logger.info("Pool %s: %d cases, %s", row["version"], row["cases"], row["kind"])
    tag_run({POOL_TAG: row["version"]})
    return version, version


def tabulate_pool(
    pool_catalogue: pd.DataFrame,
    leakage: pd.DataFrame,
    splits: pd.DataFrame,
    datasets: Datasets,
    labels: LabelTable,
    pool: PoolSettings,
    integrity: pd.DataFrame,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Sum up datasets, targets and who annotates what."""
    from tsfm_pipeline.pool.tables import dataset_table, supervision_table, target_table

    sources = datasets.root
    return (
        dataset_table(pool_catalogue, leakage, splits, sources, pool, integrity),
        target_table(pool_catalogue, sources, labels),
        supervision_table(pool_catalogue, splits, sources, labels),
    )


def write_pool_page(
    pool_catalogue: pd.DataFrame,
    pool_datasets: pd.DataFrame,
    pool_targets: pd.DataFrame,
    supervision: pd.DataFrame,
    leakage: pd.DataFrame,
    duplicates: pd.DataFrame,
    doubtful_pairs: pd.DataFrame,
    pool_version: pd.DataFrame,
    pool_versions: pd.DataFrame,
    pool_store: CaseStore,
    phantom_root: Path,
    raw_root: Path,
    datasets: Datasets,
    pool: PoolSettings,
    reporting: ReportingSettings,
) -> str:
    """Write the pool catalogue as one HTML page."""
    from tsfm_pipeline.pool.page import PoolTables, pool_page
    from tsfm_pipeline.pool.tables import overlap_table
    from tsfm_pipeline.tracking.runs import ENVIRONMENT_TAG, tag_of_run

    tables = PoolTables(
        catalogue=pool_catalogue,
        datasets=pool_datasets,
        targets=pool_targets,
        supervision=supervision,
        leakage=leakage,
        duplicates=duplicates,
        doubtful_pairs=doubtful_pairs,
        overlaps=overlap_table(duplicates, pool),
        version=pool_version,
        versions=pool_versions,
    )
    names = pool_datasets["dataset"].tolist()
    note = phantom_note(names, phantoms_among(names, datasets, raw_root, phantom_root))
    view = view_command(tag_of_run(ENVIRONMENT_TAG))
    return pool_page(tables, pool_store.thumbnail, reporting.workspace, view, note)
