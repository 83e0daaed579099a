"""What a finished scan leaves beside its segmentation: how it was made, and its volumes."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
from pydantic import Field, ValidationError

from tsfm_pipeline import __version__
from tsfm_pipeline.files import file_digest, write_text
from tsfm_pipeline.files.spreadsheet import csv_text
from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.scans.finding import Scan
from tsfm_pipeline.scans.measures import STATISTICS_COLUMNS, VOLUME_COLUMNS, Row
from tsfm_pipeline.scans.settings import PredictSettings
from tsfm_pipeline.sources.source import Modality


class ScanRecord(FrozenModel):
    """`<scan>.json`: written last, so its presence says that the scan's outputs are complete.

    Attributes:
        scan: name of the outputs.
        files: of the scan.
        inputs: digest of the files' names, sizes and times of change.
        made_by: digest of the model and of every setting that decides the labels.
        modality: as what the scan was segmented.
        notes: what was decided or repaired on the way.
        volumes: rows with VOLUME_COLUMNS but `scan`.
        statistics: rows with STATISTICS_COLUMNS but `scan`; None where they were not asked for.
        model: what predicted, and what it was trained on, in a sentence.
        warnings: what forbids to believe the segmentation, in sentences.
        digests: of label map, masks and preview as they were written, by the path in the folder.
    """

    scan: str
    files: tuple[str, ...]
    inputs: str
    made_by: str
    modality: Modality
    notes: tuple[str, ...]
    volumes: tuple[Row, ...]
    statistics: tuple[Row, ...] | None = None
    model: str = ""
    warnings: tuple[str, ...] = ()
    digests: dict[str, str] = Field(default_factory=dict)


def inputs_digest(scan: Scan) -> str:
    """Digest of what `stat` says about a scan's files; reads none of their bytes."""
    stats = [(path.name, path.stat()) for path in scan.files]
    return _digest([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])


def is_current(scan: Scan, record: ScanRecord) -> bool:
    """Say whether a record was made of a scan's files as they are now."""
    try:
        return record.inputs == inputs_digest(scan)
    except OSError:  # whoever reads the scan will say why
        return False


def is_misleading(scan: Scan, record: ScanRecord, names: Mapping[int, str]) -> bool:
    """Say whether older outputs would be misread: they are of other files, or of other integers.

    Args:
        scan: as it is now.
        record: of the outputs.
        names: integer -> name, as the run's label files will have them.
    """
    renamed = any(names.get(int(str(row["label"]))) != row["target"] for row in record.volumes)
    return renamed or not is_current(scan, record)


def making_digest(
    models: Sequence[ModelFolder],
    regions: Sequence[str],
    settings: PredictSettings,
    window: InferenceSettings,
) -> str:
    """Digest of the models' files and of every setting that decides the labels."""
    return _digest(
        [
            __version__,
            *(digest for model in models for digest in model.digests(model.used_weights())),
            list(regions),
            settings.modality,
            window.deciding(),
        ]
    )


def outputs_of(folder: Path, name: str) -> dict[str, Path]:
    """Return the paths of a scan's outputs; `masks` is a folder."""
    suffixes = {
        "labels": ".nii.gz",
        "masks": "_targets",
        "preview": ".png",
        "page": ".html",
        "dicom_seg": ".seg.dcm",
        "record": ".json",
    }
    return {kind: folder / f"{name}{suffix}" for kind, suffix in suffixes.items()}


def mask_path(folder: Path, name: str, region: str) -> Path:
    """Return the path of a target's mask; where targets name a dataset, `/` becomes `_`."""
    return outputs_of(folder, name)["masks"] / f"{region.replace('/', '_')}.nii.gz"


def probability_path(folder: Path, name: str, region: str) -> Path:
    """Return the path of a target's probabilities."""
    mask = mask_path(folder, name, region)
    return mask.with_name(mask.name.replace(".nii.gz", "_probability.nii.gz"))


@contextmanager
def writing(folder: Path, name: str) -> Iterator[None]:
    """Mark a scan's outputs as ours while they are written; what was not finished is removed.

    The mark stays only where the process is killed. It tells the next run that the files without
    a record are not somebody else's.
    """
    mark = _mark(folder, name)
    mark.touch()
    try:
        yield
    except BaseException:
        remove_outputs(folder, name)
        raise
    mark.unlink(missing_ok=True)  # of two runs in one folder the other one was first


def remove_outputs(folder: Path, name: str) -> None:
    """Remove a scan's outputs, the record first: without it the others count for nothing.

    A folder of masks is emptied only where a record or a mark says that it is ours.
    """
    mark = _mark(folder, name)
    ours = mark.exists() or bool(read_records(folder, [name]))
    mark.touch()
    outputs = outputs_of(folder, name)
    masks = outputs.pop("masks")
    for path in reversed(outputs.values()):
        path.unlink(missing_ok=True)
    if ours:
        for path in masks.glob("*.nii.gz"):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # there is none, or somebody keeps other files in it
            masks.rmdir()
    mark.unlink(missing_ok=True)


def foreign_files(
    folder: Path, names: Iterable[str], records: Mapping[str, ScanRecord]
) -> list[Path]:
    """Return files that stand where outputs go and were not written by this program."""
    return [
        path
        for name in names
        if name not in records and not _mark(folder, name).exists()
        for path in outputs_of(folder, name).values()
        if path.exists()
    ]


def _mark(folder: Path, name: str) -> Path:
    return folder / f".{name}.unfinished"


def is_finished(
    scan: Scan, record: ScanRecord | None, folder: Path, made_by: str, settings: PredictSettings
) -> bool:
    """Say whether a scan's outputs are there and were made of the same input in the same way."""
    if record is None:
        return False
    outputs = outputs_of(folder, scan.name)
    wanted = [outputs["labels"]]
    wanted += [outputs["preview"]] if settings.preview else []
    wanted += [outputs["page"]] if settings.page else []
    regions = [str(row["target"]) for row in record.volumes]
    if settings.per_target:
        wanted += [mask_path(folder, scan.name, region) for region in regions]
    if settings.probabilities:
        wanted += [probability_path(folder, scan.name, region) for region in regions]
    if settings.dicom_seg and scan.series and any(row["voxels"] for row in record.volumes):
        wanted.append(outputs["dicom_seg"])  # there is none of an empty segmentation
    return (
        not settings.overwrite
        and record.made_by == made_by
        and is_current(scan, record)
        and (record.statistics is not None or not settings.statistics)
        and all(path.exists() for path in wanted)
    )


def changed_outputs(folder: Path, record: ScanRecord) -> list[Path]:
    """List outputs that are not what was written: damaged, or corrected by hand."""
    written = {folder / name: digest for name, digest in record.digests.items()}
    return [path for path, was in written.items() if path.exists() and file_digest(path) != was]


def read_records(folder: Path, names: Iterable[str] | None = None) -> dict[str, ScanRecord]:
    """Return the records of finished scans in an output folder, of all or of some, by scan."""
    records = {}
    paths = folder.glob("*.json")
    if names is not None:
        paths = (path for name in names if (path := outputs_of(folder, name)["record"]).exists())
    for path in sorted(paths):
        try:
            record = ScanRecord.model_validate_json(path.read_bytes())
        except ValidationError:
            continue  # another program's file
        records[record.scan] = record
    return records


def volumes_table(records: Mapping[str, ScanRecord]) -> pd.DataFrame:
    """Return the volumes of all finished scans, with VOLUME_COLUMNS."""
    rows = [{"scan": name, **row} for name in sorted(records) for row in records[name].volumes]
    return pd.DataFrame(rows, columns=list(VOLUME_COLUMNS))


def statistics_table(records: Mapping[str, ScanRecord]) -> pd.DataFrame:
    """Return the statistics of the finished scans that have them, with STATISTICS_COLUMNS."""
    rows = [
        {"scan": name, **row} for name in sorted(records) for row in records[name].statistics or ()
    ]
    return pd.DataFrame(rows, columns=list(STATISTICS_COLUMNS))


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, at once."""
    write_text(path, csv_text(table))


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
