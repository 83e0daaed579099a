"""From a case index to a pool: every case prepared once, in parallel, bad ones set aside."""

import logging
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pyarrow as pa

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.imaging.resampling import resampled_shape
from tsfm_pipeline.machine import MachineError
from tsfm_pipeline.preparation.copies import warn_of_copies
from tsfm_pipeline.preparation.identity import RawDigests, preparation_digest
from tsfm_pipeline.preparation.prepare import prepare_case
from tsfm_pipeline.preparation.settings import PreparationSettings
from tsfm_pipeline.preparation.verdict import Verdict
from tsfm_pipeline.sources import Source, SourceCase
from tsfm_pipeline.sources.case_index import case_from_row
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.store.record import CaseRecord
from tsfm_pipeline.workers import WorkerFailure, WorkerSettings, run_cases

logger = logging.getLogger(__name__)

POOL_CATALOGUE_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("case", pa.string(), nullable=False),
        pa.field("patient", pa.string(), nullable=False),
        pa.field("modality", pa.string(), nullable=False),
        # ok or quarantined; the sentence that says why is missing where it is ok, and in catalogues
        # of before, which have it in `verdict`.
        pa.field("verdict", pa.string(), nullable=False),
        pa.field("cause", pa.string()),
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
        # Of an audit of labels; catalogues of before have none.
        pa.field("doubts", pa.string()),
    ]
)

PROCESS_BYTES = 400 * 2**20
BYTES_PER_FILE_VOXEL, BYTES_PER_STORED_VOXEL = 12, 8
"""Besides 4 a channel; measured peaks are 0.6 to 0.9 of what these give."""


class PoolError(ValueError):
    """A pool that cannot be trained on."""


def prepare_pool(
    index: pd.DataFrame,
    integrity: pd.DataFrame,
    sources: Mapping[str, Source],
    table: LabelTable,
    settings: PreparationSettings,
    workers: WorkerSettings,
    store: CaseStore,
    *,
    verify: bool = False,
) -> pd.DataFrame:
    """Prepare every case of an index into the store; return the pool catalogue.

    Cases that the store has, made from the same bytes in the same way, are left as they are.
    Those that screening quarantined are left out, for the cause that it found. A case that fails
    is quarantined, too, with its own `cause`; the others go on.

    Args:
        index: the case index.
        integrity: what screening found of its cases: digests, shapes, verdicts.
        sources: all datasets by name.
        table: the fused label table.
        settings: how to prepare.
        workers: how many cases at once.
        store: where to.
        verify: compare the content of what is stored, not only its files' sizes.

    Returns:
        One row per case: key, dataset, case, patient, modality, verdict (ok or quarantined) and
        cause, and for usable cases shape and spacing (z, y, x; mm) of the file, of the raw image in
        canonical orientation and in the pool, targets with voxel counts, digests, and mm^3 of a
        voxel in the pool.

    Raises:
        PoolError: a dataset has no usable case at all.
        MachineError: a full disk, no memory: nothing is said about any case.
    """
    store.remove_abandoned()
    screened = integrity.set_index("key").to_dict("index")
    rows: dict[str, dict[str, Any]] = {}
    tasks: dict[str, tuple] = {}
    memory: dict[str, int] = {}
    written_at: dict[str, int | None] = {}
    cases = [case_from_row(row) for _, row in index.iterrows()]
    for case in cases:
        found, source = screened[case.key], sources[case.dataset]
        rows[case.key] = {
            "key": case.key,
            "dataset": case.dataset,
            "case": case.case,
            "patient": case.patient,
            "modality": case.modality,
            "verdict": Verdict.OK,
            "cause": None,
        }
        if found["verdict"] == Verdict.QUARANTINED:
            rows[case.key] |= {"verdict": Verdict.QUARANTINED, "cause": found["cause"]}
            continue
        raw = RawDigests(found["image_digest"], found["label_digest"])
        wanted = (raw.joined, preparation_digest(case, source, table, settings))
        stored = store.intact_record(case.key)
        current = stored and (stored.raw_digest, stored.preparation_digest) == wanted
        if stored and current and not verify:
            rows[case.key] |= _described(stored, table)
        else:
            if stored is None or current:  # what is written now takes the place of damaged files
                written_at[case.key] = store.written_at(case.key)
            tasks[case.key] = (case, source, table, settings, store, raw, verify)
            memory[case.key] = estimated_memory(
                found["shape"], found["spacing"], len(case.images), settings
            )
    for key, outcome in run_cases(_prepare, tasks, workers, "Preparing cases", memory):
        if isinstance(outcome, WorkerFailure):
            if outcome.of_machine:
                raise MachineError(f"{key}: {outcome.cause}")
            rows[key] |= {"verdict": Verdict.QUARANTINED, "cause": outcome.cause}
        else:
            rows[key] |= _described(outcome, table)
            if written_at.get(key) not in (None, store.written_at(key)):
                logger.warning("%s: its stored files were damaged, prepared again", key)
    catalogue = pd.DataFrame(list(rows.values())).sort_values("key", ignore_index=True)
    _report(catalogue, [key for key in rows if key not in tasks])
    warn_of_copies(catalogue, integrity)
    return catalogue


def estimated_memory(
    shape: tuple[int, ...],
    spacing: tuple[float, ...],
    channels: int,
    settings: PreparationSettings,
) -> int:
    """Return the bytes that preparing a case takes at its peak, on the safe side.

    Args:
        shape: voxels (z, y, x) of the file.
        spacing: mm (z, y, x) of the file.
        channels: image channels.
        settings: how to prepare.
    """
    z, y, x = (int(size) for size in shape)
    mm_z, mm_y, mm_x = (float(size) for size in spacing)
    own = (mm_z, mm_y, mm_x)
    stored = resampled_shape((z, y, x), own, settings.spacing_for(own))
    return (
        PROCESS_BYTES
        + (BYTES_PER_FILE_VOXEL + 4 * channels) * z * y * x
        + (BYTES_PER_STORED_VOXEL + 4 * channels) * math.prod(stored)
    )


def _prepare(
    case: SourceCase,
    source: Source,
    table: LabelTable,
    settings: PreparationSettings,
    store: CaseStore,
    raw: RawDigests,
    verify: bool,
) -> CaseRecord:
    """Prepare one case in a worker; the volume stays there, only its record comes back."""
    return prepare_case(case, source, table, settings, store, raw, verify=verify)


def _report(catalogue: pd.DataFrame, untouched: list[str]) -> None:
    """Say what was done, what was set aside and why; refuse a dataset without any case.

    Cases that nothing was tried with are counted only: screening has said why.
    """
    bad = catalogue[catalogue["verdict"] != Verdict.OK]
    for _, row in bad[~bad["key"].isin(untouched)].iterrows():
        logger.warning("Set aside %s: %s", row["key"], row["cause"])
    logger.log(
        logging.WARNING if len(bad) else logging.INFO,
        "%d cases: %d usable (%d as they were), %d set aside",
        len(catalogue),
        len(catalogue) - len(bad),
        (catalogue["key"].isin(untouched) & (catalogue["verdict"] == Verdict.OK)).sum(),
        len(bad),
    )
    usable = set(catalogue.loc[catalogue["verdict"] == Verdict.OK, "dataset"])
    lost = [name for name in dict.fromkeys(catalogue["dataset"]) if name not in usable]
    if lost:
        first = catalogue[catalogue["dataset"] == lost[0]].iloc[0]
        raise PoolError(
            f"no usable case in {', '.join(lost)}; the first one, {first['key']}: {first['cause']}"
        )


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
