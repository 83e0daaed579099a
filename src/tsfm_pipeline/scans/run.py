"""Segment all scans below a folder, whatever happens to some of them."""

import logging
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from tsfm_pipeline.files import write_bytes, write_text
from tsfm_pipeline.files.spreadsheet import csv_text
from tsfm_pipeline.imaging.volume import write_label
from tsfm_pipeline.inference.model import SegmentationModel
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.model.folder import ModelError, ModelFolder
from tsfm_pipeline.scans.dicom_seg import require_highdicom, write_dicom_seg
from tsfm_pipeline.scans.finding import Scan, find_scans
from tsfm_pipeline.scans.label_files import label_names, write_label_files
from tsfm_pipeline.scans.loading import LoadedScan, load_scan
from tsfm_pipeline.scans.overlay import draw_overlay
from tsfm_pipeline.scans.problem import COLUMNS, Problem, ProblemKind, ScanError, problem_of
from tsfm_pipeline.scans.reader_process import ReaderProcess
from tsfm_pipeline.scans.record import (
    ScanRecord,
    foreign_files,
    inputs_digest,
    is_finished,
    making_digest,
    outputs_of,
    read_records,
    remove_outputs,
    write_volumes,
    writing,
)
from tsfm_pipeline.scans.segment import (
    choose_regions,
    measure_targets,
    mirror_axes,
    open_model,
    segment_loaded,
)
from tsfm_pipeline.scans.settings import PredictSettings

WHOLE = (1, 1)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunSummary:
    """What a run made of its input.

    Attributes:
        segmented: names of the scans segmented in this run.
        kept: names of those that were finished before.
        problems: table of `problem.Problem`, with `problem.COLUMNS`; empty when all went well.
        volumes: table of all finished scans in the output folder, `segment.VOLUME_COLUMNS`.
        notes: scan -> what was decided or repaired on the way.
    """

    segmented: tuple[str, ...]
    kept: tuple[str, ...]
    problems: pd.DataFrame
    volumes: pd.DataFrame
    notes: dict[str, tuple[str, ...]]

    @property
    def failed(self) -> int:
        """Number of scans or files that could not be segmented though they should."""
        return int((self.problems["verdict"] == ProblemKind.FAILED).sum())


def predict_folder(
    source: Path,
    output: Path,
    model: Path,
    settings: PredictSettings | None = None,
    window: InferenceSettings | None = None,
    part: tuple[int, int] = WHOLE,
) -> RunSummary:
    """Segment a file, or all files and DICOM series below a folder.

    Per scan `<name>.nii.gz` on the scan's own grid, `<name>.png` and, last, `<name>.json`; for the
    run `volumes.csv`, `problems.csv` and the label names for ITK-SNAP and 3D Slicer. A finished
    scan is skipped next time unless its files, the model or the settings have changed. A scan
    that can't be segmented becomes a row of `problems.csv`, and the others go on.

    Args:
        source: see `scans.find_scans`.
        output: folder of the results; made if needed.
        model: model folder, released or as training left it.
        settings: targets, device, what to write.
        window: of the sliding window.
        part: (i, n) takes the i-th, counted from 1, of n parts of the input: every n-th scan. Parts
            may run at once into one folder: `volumes_IofN.csv` and `problems_IofN.csv` are of the
            part alone, and the first part writes the label names. A run without a part over
            finished parts writes the tables of all.

    Raises:
        ScanError: the input does not exist or holds nothing to segment; the output would lie among
            the scans, or replace files that are not ours; highdicom is missing.
        ModelError: no usable model, an unknown target, or mirroring for a model that has seen none.
        OSError: the output folder can't be written, the input or the model can't be read.
    """
    settings, window = settings or PredictSettings(), window or InferenceSettings()
    folder = _model_folder(model, settings.fast)
    card = folder.card
    regions = choose_regions(card, settings.targets)
    if settings.mirror:
        window = window.model_copy(update={"mirror_axes": mirror_axes(card)})
    if not source.exists():
        raise ScanError(f"{source}: no such file or folder; correct the input path")
    if settings.dicom_seg:
        require_highdicom()
    made_by = making_digest(folder, regions, settings, window)
    names = label_names(card.table, card.regions)
    with ReaderProcess() as reader:
        scans, problems = _found(reader, source, card.in_channels, output, part)
        ours = [scan.name for scan in scans]
        records = read_records(output, None if part == WHOLE else ours)
        if not settings.overwrite:
            _keep_others(foreign_files(output, ours, records))
        output.mkdir(parents=True, exist_ok=True)
        volumes = _table_path(output, "volumes", part)
        if part[0] == 1:
            write_label_files(output, names)
        todo = [
            scan
            for scan in scans
            if not is_finished(scan, records.get(scan.name), output, made_by, settings)
        ]
        kept = tuple(scan.name for scan in scans if scan not in todo)
        done: list[str] = []
        if todo:
            opened = open_model(folder, settings.device)
            for scan in todo:  # what was made of an older input must not stand beside the new
                records.pop(scan.name, None)
                remove_outputs(output, scan.name)
        write_volumes(volumes, records)
        tasks = {scan.name: (scan, card, settings.modality) for scan in todo}
        by_name = {scan.name: scan for scan in todo}
        loading = reader.map(load_scan, tasks, settings.read_timeout)
        with tqdm(loading, "Segmenting", len(todo), unit="scan", disable=None) as bar:
            for name, loaded in bar:
                scan = by_name[name]
                try:
                    if isinstance(loaded, Exception):
                        raise loaded
                    bar.set_postfix_str(name)  # its tiles have a bar of their own below
                    record = _write_scan(
                        scan, loaded, opened, regions, names, output, made_by, settings, window
                    )
                except Exception as error:
                    logger.debug("%s failed", name, exc_info=True)
                    problems.append(problem_of(error, name, scan.path))
                    continue
                records[name] = record
                write_volumes(volumes, records)
                done.append(name)
    table = pd.DataFrame([astuple(problem) for problem in problems], columns=list(COLUMNS))
    write_text(_table_path(output, "problems", part), csv_text(table))
    return RunSummary(
        segmented=tuple(done),
        kept=kept,
        problems=table,
        volumes=write_volumes(volumes, records),
        notes={name: records[name].notes for name in (*kept, *done) if records[name].notes},
    )


def _model_folder(model: Path, fast: bool) -> ModelFolder:
    folder = ModelFolder(model)
    if not fast:
        return folder
    if not folder.fast.path.is_dir():
        raise ModelError(
            f"{model} has no coarser model in its folder {folder.fast.path.name}/; leave out"
            " --fast, or release one with `tsfm-pipeline release --fast`"
        )
    return folder.fast


def _found(
    reader: ReaderProcess, source: Path, channels: int, output: Path, part: tuple[int, int]
) -> tuple[list[Scan], list[Problem]]:
    """List the part's scans in the reader's process: reading DICOM headers may crash, too."""
    ((_, found),) = reader.map(find_scans, {"": (source, channels, output)})
    if isinstance(found, Exception):
        raise found
    scans, problems = found
    _keep_inputs(source, output, scans)  # of all parts
    number, parts = part
    return scans[number - 1 :: parts], problems[number - 1 :: parts]


def _table_path(output: Path, name: str, part: tuple[int, int]) -> Path:
    number, parts = part
    return output / (f"{name}.csv" if part == WHOLE else f"{name}_{number}of{parts}.csv")


def _keep_inputs(source: Path, output: Path, scans: Sequence[Scan]) -> None:
    """Refuse an output folder in which a segmentation would replace a scan, or be taken for one."""
    inputs = {file.resolve() for scan in scans for file in scan.files}
    made = (path for scan in scans for path in outputs_of(output, scan.name).values())
    if output.resolve() == source.resolve() or any(path.resolve() in inputs for path in made):
        raise ScanError(
            f"{output}: segmentations would lie among the scans, and could replace them; give an"
            " output folder of its own"
        )


def _keep_others(files: Sequence[Path]) -> None:
    """Refuse to replace files that another program, or a person, has put into the output folder."""
    if files:
        raise ScanError(
            f"{files[0]} is there already, and no record says that tsfm-predict wrote it"
            f" ({len(files)} such file(s)); give another output folder, or replace what is there"
            " with --overwrite"
        )


def _write_scan(
    scan: Scan,
    loaded: LoadedScan,
    model: SegmentationModel,
    regions: Sequence[str],
    names: dict[int, str],
    output: Path,
    made_by: str,
    settings: PredictSettings,
    window: InferenceSettings,
) -> ScanRecord:
    """Segment a scan and write its outputs, the record last."""
    volume = loaded.volume
    labels_ZYX = segment_loaded(model, loaded, regions, window)
    paths = outputs_of(output, scan.name)
    with writing(output, scan.name):
        write_label(paths["labels"], labels_ZYX, (volume.file_geometry, volume.reorientation))
        if settings.preview:
            spacing = volume.geometry.spacing
            picture = draw_overlay(
                volume.array[0], labels_ZYX, spacing, names, loaded.modality, scan.name
            )
            write_bytes(paths["preview"], picture)
        if settings.dicom_seg and scan.series:
            stored_ZYX = volume.reorientation.invert(labels_ZYX)
            write_dicom_seg(paths["dicom_seg"], scan.files, stored_ZYX, names, model.card.name)
        rows = measure_targets(labels_ZYX, volume, regions, model.card.table)
        record = ScanRecord.model_validate(
            {
                "scan": scan.name,
                "files": tuple(map(str, scan.files)),
                "inputs": inputs_digest(scan),
                "made_by": made_by,
                "modality": loaded.modality,
                "notes": loaded.notes,
                "volumes": rows,
            }
        )
        write_text(paths["record"], record.model_dump_json(indent=1) + "\n")
    return record
