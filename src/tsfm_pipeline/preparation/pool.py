"""From a case index to a pool: every case prepared once, in parallel, bad ones set aside."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import replace

import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.preparation.prepare import prepare_case
from tsfm_pipeline.preparation.screening import QUARANTINED
from tsfm_pipeline.preparation.settings import PreparationSettings
from tsfm_pipeline.sources import Source, SourceCase
from tsfm_pipeline.sources.case_index import case_from_row
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.store.record import CaseRecord

logger = logging.getLogger(__name__)

OK = "ok"


class PoolError(ValueError):
    """A pool that cannot be trained on."""


def prepare_pool(
    index: pd.DataFrame,
    integrity: pd.DataFrame,
    sources: Mapping[str, Source],
    table: LabelTable,
    settings: PreparationSettings,
    store: CaseStore,
) -> pd.DataFrame:
    """Prepare every case of an index into the store; return the pool catalogue.

    Cases that screening quarantined are left out; their cause becomes the verdict. Cases that are
    there already, with the same raw bytes and settings, are not prepared again.
    A case that cannot be used gets a row whose `verdict` says why; the others go on.

    Returns:
        One row per case: key, dataset, case, patient, modality, verdict, and for usable cases
        shape and spacing (z, y, x; mm) of the file and in the pool, targets with voxel counts.

    Raises:
        PoolError: a dataset has no usable case at all.
    """
    bad = integrity[integrity["verdict"] == QUARANTINED]
    causes = dict(zip(bad["key"], bad["cause"], strict=True))
    cases = [case_from_row(row) for _, row in index.iterrows()]
    cases = [replace(case, problem=causes.get(case.key, case.problem)) for case in cases]
    run = Parallel(n_jobs=settings.jobs, return_as="generator_unordered")
    tasks = (
        delayed(_outcome)(case, sources[case.dataset], table, settings, store) for case in cases
    )
    rows = []
    with tqdm(total=len(cases), desc="Preparing cases", unit="case", disable=None) as bar:
        for row in run(tasks):
            rows.append(row)
            bar.update()
    catalogue = pd.DataFrame(rows).sort_values("key", ignore_index=True)
    for _, row in catalogue[catalogue["verdict"] != OK].iterrows():
        logger.warning("Set aside %s: %s", row["key"], row["verdict"])
    usable = set(catalogue.loc[catalogue["verdict"] == OK, "dataset"])
    lost = [name for name in dict.fromkeys(catalogue["dataset"]) if name not in usable]
    if lost:
        first = catalogue[catalogue["dataset"] == lost[0]].iloc[0]
        raise PoolError(
            f"no usable case in {', '.join(lost)}; the first one, {first['key']}:"
            f" {first['verdict']}"
        )
    return catalogue


def _outcome(
    case: SourceCase,
    source: Source,
    table: LabelTable,
    settings: PreparationSettings,
    store: CaseStore,
) -> dict[str, object]:
    """Prepare one case in a worker; the volume stays there, only a table row comes back."""
    row: dict[str, object] = {
        "key": case.key,
        "dataset": case.dataset,
        "case": case.case,
        "patient": case.patient,
        "modality": case.modality,
        "verdict": case.problem or OK,
    }
    if case.problem:
        return row
    try:
        record = prepare_case(case, source, table, settings, store)
    except Exception as error:  # one bad case must never take the others with it
        return {**row, "verdict": f"{type(error).__name__}: {error}"}
    return {**row, **_described(record, table)}


def _described(record: CaseRecord, table: LabelTable) -> dict[str, object]:
    names = {value: name for name, value in table.targets.items()}
    voxels = {names[value]: count for value, count in sorted(record.target_voxels.items())}
    return {
        "file_shape": _text(record.file_geometry.shape),
        "file_spacing": _text(record.file_geometry.spacing),
        "shape": _text(record.geometry.shape),
        "spacing": _text(record.geometry.spacing),
        "targets": ", ".join(f"{name} {count}" for name, count in voxels.items()),
        "raw_digest": record.raw_digest,
        "preparation_digest": record.preparation_digest,
    }


def _text(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:g}" for value in values)


def pool_version(catalogue: pd.DataFrame) -> str:
    """Name a pool by its content: a digest over its usable cases and how they were prepared."""
    usable = catalogue[catalogue["verdict"] == OK].sort_values("key")
    rows = usable[["key", "raw_digest", "preparation_digest"]].to_csv(index=False)
    return hashlib.blake2b(rows.encode(), digest_size=4).hexdigest()
