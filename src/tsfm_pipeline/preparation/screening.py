"""Is every raw case what it should be? One row per case, and no raw byte read twice for it.

Screening reads a case as preparation does, so that what it passes can be prepared.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from tsfm_pipeline.files import bytes_digest
from tsfm_pipeline.imaging.file_volume import read_bytes, volume_files
from tsfm_pipeline.imaging.intensity import bounding_box
from tsfm_pipeline.imaging.labels import LabelError, LabelTable, present_values
from tsfm_pipeline.imaging.plausibility import image_fault
from tsfm_pipeline.imaging.volume import (
    ImageVolume,
    Load,
    VolumeError,
    read_image,
    read_label_volume,
)
from tsfm_pipeline.machine import MachineError, fault_of_machine, told
from tsfm_pipeline.preparation.identity import (
    image_digest,
    label_digest,
    volume_digest,
)
from tsfm_pipeline.preparation.labels import files_to_paint
from tsfm_pipeline.preparation.screening_cache import ScreeningCache, state_of
from tsfm_pipeline.preparation.verdict import Verdict
from tsfm_pipeline.sources import Source, SourceCase
from tsfm_pipeline.sources.case_index import case_from_row
from tsfm_pipeline.workers import WorkerFailure, WorkerSettings, run_cases

logger = logging.getLogger(__name__)

SCREENING_VERSION = 4
"""Raise by one with every change of the code that changes a verdict or what a row says."""

NO_LABEL = "no labelled voxel"

INTEGRITY_SCHEMA = pa.schema(
    [
        *(
            pa.field(name, pa.string(), nullable=False)
            for name in ("key", "dataset", "case", "patient", "modality")
        ),
        # What could not be read is missing.
        pa.field("image_digest", pa.string()),
        pa.field("label_digest", pa.string()),
        pa.field("shape", pa.list_(pa.int64())),
        pa.field("spacing", pa.list_(pa.float64())),
        pa.field("direction", pa.list_(pa.float64())),
        pa.field("cropped_shape", pa.list_(pa.int64())),
        pa.field("minimum", pa.float64()),
        pa.field("maximum", pa.float64()),
        pa.field("labels_present", pa.list_(pa.string())),
        pa.field("verdict", pa.string(), nullable=False),
        pa.field("cause", pa.string(), nullable=False),
    ]
)
INTEGRITY_COLUMNS = tuple(INTEGRITY_SCHEMA.names)

_MEMORY_PER_FILE_BYTE = 10
"""Of a gzipped int16 CT: 1 as it lies, 3 unpacked, 6 as float32; labels come when 3 are free."""


@dataclass(frozen=True)
class Screened:
    """What was found of a case.

    Attributes:
        found: the columns of the integrity table that come from its files.
        lasting: whether it stays so while the files do; not where a file could not be opened.
    """

    found: dict[str, Any]
    lasting: bool = True


def screen_cases(
    index: pd.DataFrame,
    sources: Mapping[str, Source],
    table: LabelTable,
    cache_root: Path,
    workers: WorkerSettings,
    verify: bool,
) -> pd.DataFrame:
    """Look into every case of an index, or remember what was found, and say how it is.

    Args:
        index: the case index.
        sources: all datasets by name.
        table: the fused label table.
        cache_root: where findings are kept; a case whose files have the paths, sizes and times of
            change that they had is not read again.
        workers: how many cases at once.
        verify: read unchanged cases once more, to find bytes that changed unseen.

    Returns:
        One row per case of the index, in its order, with INTEGRITY_COLUMNS. `shape`, `spacing`
        (mm), `cropped_shape` (of the box of nonzero voxels) along z, y, x, and `direction` (3x3,
        row by row) are those of the image file in canonical orientation; `minimum` and `maximum`
        over all channels; `labels_present` the values of the download, or class names. `verdict`
        is ok, repaired or quarantined, `cause` what was repaired, or why it is set aside and the
        remedy. What is unknown is missing.

    Raises:
        MachineError: a full disk, no memory: nothing is said about any case.
    """
    cache = ScreeningCache(cache_root)
    cases = {case.key: case for case in (case_from_row(row) for _, row in index.iterrows())}
    rows: dict[str, dict[str, Any]] = {}
    states: dict[str, str | None] = {}
    tasks: dict[str, tuple] = {}
    memory: dict[str, int] = {}
    for key, case in cases.items():
        if case.problem:
            rows[key] = _quarantined(case.problem)
            continue
        source = sources[case.dataset]
        state = states[key] = _state(case, source, table)
        known = cache.found(case.dataset, case.case, state) if state else None
        if known is None or verify:
            tasks[key] = (case, source, table, known)
            if state:
                image_bytes = sum(path.stat().st_size for path in case.images)
                memory[key] = image_bytes * _MEMORY_PER_FILE_BYTE
        else:
            rows[key] = known
    for key, outcome in run_cases(screen_case, tasks, workers, "Screening cases", memory):
        if isinstance(outcome, WorkerFailure):
            if outcome.of_machine:
                raise MachineError(f"{key}: {outcome.cause}")
            rows[key] = _quarantined(outcome.cause)
            continue
        rows[key] = outcome.found
        known, state = tasks[key][-1], states[key]
        if outcome.lasting and state and outcome.found != known:
            if known is not None:
                logger.warning("%s: its files changed while their sizes and times did not", key)
            try:
                cache.keep(cases[key].dataset, cases[key].case, state, outcome.found)
            except OSError as error:
                raise MachineError(told(error, cache_root)) from error
    integrity = pd.DataFrame(
        [{**_identity(case), **rows[key]} for key, case in cases.items()],
        columns=list(INTEGRITY_COLUMNS),
    )
    _report(integrity)
    return integrity


def screen_case(
    case: SourceCase, source: Source, table: LabelTable, known: dict[str, Any] | None = None
) -> Screened:
    """Read a case once: digest its files, check image and labels.

    Args:
        case: the case.
        source: its dataset.
        table: the fused label table.
        known: what was found earlier; while the digests are the same, it still holds.
    """
    digests: dict[Path, str] = {}

    def load(path: Path) -> bytes:
        content = read_bytes(path)
        digests[path] = bytes_digest(content)
        return content

    def digest(path: Path) -> str:
        if path not in digests:
            digests[path] = volume_digest(path)
        return digests[path]

    if known is not None:
        try:
            now = (image_digest(case, digest), label_digest(case, digest))
        except VolumeError as error:
            if fault_of_machine(error):
                raise
            return Screened(_quarantined(str(error)), lasting=False)
        if now == (known["image_digest"], known["label_digest"]):
            return Screened(known)
    found = _quarantined("")
    lasting = True
    repairs: list[str] = []
    try:
        image = read_image(case.images, load)
        repairs += image.repairs
        if implausible := image_fault(image, case.modality):
            channel, fault = implausible
            raise VolumeError(f"{case.images[channel]}: {fault}")
        found |= _image_columns(image)
        found["labels_present"] = _present_labels(case, source, table, image, load, repairs)
        found["verdict"] = Verdict.REPAIRED if repairs else Verdict.OK
        notes = repairs if found["labels_present"] else [*repairs, NO_LABEL]
        found["cause"] = "; ".join(notes)
    except (VolumeError, LabelError) as error:
        if fault_of_machine(error):
            raise
        found["cause"] = str(error)
        lasting = not isinstance(error.__cause__, OSError)
    try:
        found["image_digest"] = image_digest(case, digest)
        found["label_digest"] = label_digest(case, digest)
    except VolumeError as error:
        if fault_of_machine(error):
            raise
        found |= {"verdict": Verdict.QUARANTINED, "cause": str(error)}
        return Screened(found, lasting=False)
    return Screened(found, lasting)


def _image_columns(image: ImageVolume) -> dict[str, Any]:
    grid = image.geometry
    return {
        "shape": list(grid.shape),
        "spacing": list(grid.spacing),
        "direction": [value for row in grid.direction for value in row],
        "cropped_shape": list(bounding_box((image.array != 0).any(axis=0))[1]),
        "minimum": float(image.array.min()),
        "maximum": float(image.array.max()),
    }


def _present_labels(
    case: SourceCase,
    source: Source,
    table: LabelTable,
    image: ImageVolume,
    load: Load,
    repairs: list[str],
) -> list[str]:
    """Return the source's values or class names that occur; add what was repaired to `repairs`."""
    present: list[str] = []
    repaired: dict[str, list[Path]] = {}
    for file, values in files_to_paint(case, source, table):
        label = read_label_volume(file.path, image, load)
        occurring = present_values(label.array, values, str(file.path))
        present += [file.class_name] * bool(occurring) if file.class_name else map(str, occurring)
        for repair in label.repairs:
            repaired.setdefault(repair, []).append(file.path)
    for repair, paths in repaired.items():
        others = f" and {len(paths) - 1} more label files" if paths[1:] else ""
        repairs.append(f"{paths[0]}{others}: {repair}")
    return present


def _state(case: SourceCase, source: Source, table: LabelTable) -> str | None:
    """Digest all that decides what screening finds of a case, reading none of its files."""
    volumes = (*case.images, *(label.path for label in case.labels))
    files = state_of([file for volume in volumes for file in volume_files(volume)])
    if files is None:
        return None
    try:
        painted = files_to_paint(case, source, table)
    except LabelError:
        return None
    decided_by = {
        "version": SCREENING_VERSION,
        "files": files,
        "modality": case.modality,
        "labels": [
            [str(file.path), file.class_name, sorted(values.items())] for file, values in painted
        ],
    }
    return bytes_digest(json.dumps(decided_by).encode())


def _quarantined(cause: str) -> dict[str, Any]:
    """Return the columns of a case of which nothing else is known."""
    return {
        "image_digest": "",
        "label_digest": "",
        "shape": None,
        "spacing": None,
        "direction": None,
        "cropped_shape": None,
        "minimum": None,
        "maximum": None,
        "labels_present": [],
        "verdict": Verdict.QUARANTINED,
        "cause": cause,
    }


def _identity(case: SourceCase) -> dict[str, str]:
    return {
        "key": case.key,
        "dataset": case.dataset,
        "case": case.case,
        "patient": case.patient,
        "modality": case.modality,
    }


def _report(integrity: pd.DataFrame) -> None:
    for dataset, rows in integrity.groupby("dataset", sort=False):
        counts = rows["verdict"].value_counts()
        empty = int(rows["cause"].str.endswith(NO_LABEL).sum())
        bad = rows[rows["verdict"] == Verdict.QUARANTINED]
        logger.log(
            logging.DEBUG if counts.get(Verdict.OK, 0) == len(rows) else logging.INFO,
            "%s: %s%s",
            dataset,
            ", ".join(f"{counts.get(verdict, 0)} {verdict}" for verdict in Verdict),
            f" ({empty} with {NO_LABEL})" if empty else "",
        )
        kinds = bad["cause"].str.replace(r"\S*/\S*|\d+", "", regex=True)  # but for file and numbers
        for _, alike in bad.groupby(kinds, sort=False):
            more = f" and {len(alike) - 1} more" if len(alike) > 1 else ""
            logger.warning("Quarantined %s%s: %s", alike["key"].iat[0], more, alike["cause"].iat[0])
    bad = integrity[integrity["verdict"] == Verdict.QUARANTINED]
    logger.log(
        logging.WARNING if len(bad) else logging.INFO,
        "Screened %d cases: %d quarantined (all are in the integrity table)",
        len(integrity),
        len(bad),
    )
