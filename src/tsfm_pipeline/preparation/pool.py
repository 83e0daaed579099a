"""From a case index to a pool: every case prepared once, in parallel, bad ones set aside."""

import logging
import math
from collections.abc import Mapping

import pandas as pd
import pyarrow as pa
from joblib import Parallel, delayed
from tqdm import tqdm

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.preparation.prepare import prepare_case
from tsfm_pipeline.preparation.settings import PreparationSettings
from tsfm_pipeline.sources import Source, SourceCase
from tsfm_pipeline.sources.case_index import case_from_row
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.store.record import CaseRecord

logger = logging.getLogger(__name__)

OK = "ok"

POOL_CATALOGUE_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("case", pa.string(), nullable=False),
        pa.field("patient", pa.string(), nullable=False),
        pa.field("modality", pa.string(), nullable=False),
        pa.field("verdict", pa.string(), nullable=False),
        # Only usable cases have the rest.
        pa.field("file_shape", pa.string()),
        pa.field("file_spacing", pa.string()),
        pa.field("shape", pa.string()),
        pa.field("spacing", pa.string()),
        pa.field("targets", pa.string()),
        pa.field("raw_digest", pa.string()),
        pa.field("preparation_digest", pa.string()),
        pa.field("voxel_digest", pa.string()),
        pa.field("canonical_shape", pa.list_(pa.int64())),
        pa.field("canonical_spacing", pa.list_(pa.float64())),
        pa.field("target_names", pa.list_(pa.string())),
        pa.field("target_voxels", pa.list_(pa.int64())),
        pa.field("voxel_volume", pa.float64()),
    ]
)


class PoolError(ValueError):
    """A pool that cannot be trained on."""


def prepare_pool(
    index: pd.DataFrame,
    sources: Mapping[str, Source],
    table: LabelTable,
    settings: PreparationSettings,
    store: CaseStore,
) -> pd.DataFrame:
    """Prepare every case of an index into the store; return the pool catalogue.

    Cases that are there already, with the same raw bytes and settings, are not prepared again.
    A case that cannot be used gets a row whose `verdict` says why; the others go on.

    Returns:
        One row per case: key, dataset, case, patient, modality, verdict, and for usable cases
        shape and spacing (z, y, x; mm) of the file, of the raw image in canonical orientation and
        in the pool, targets with voxel counts, digests, and mm^3 of a voxel in the pool.

    Raises:
        PoolError: a dataset has no usable case at all.
    """
    cases = [case_from_row(row) for _, row in index.iterrows()]
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
        "voxel_digest": record.voxel_digest,
        "canonical_shape": list(record.uncropped_shape),
        "canonical_spacing": list(record.uncropped_spacing),
        "target_names": list(voxels),
        "target_voxels": list(voxels.values()),
        "voxel_volume": math.prod(record.geometry.spacing),
    }


def _text(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:g}" for value in values)
