"""Segment all scans below a folder, whatever happens to some of them."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.machine import MachineError, fault_of_machine
from tsfm_pipeline.model.folder import ModelError, ModelFolder
from tsfm_pipeline.scans.destination import Destination
from tsfm_pipeline.scans.dicom_seg import require_highdicom
from tsfm_pipeline.scans.ensemble import check_agreement, common_mirror_axes, open_models
from tsfm_pipeline.scans.finding import Scan, find_scans
from tsfm_pipeline.scans.label_files import label_names, write_label_files
from tsfm_pipeline.scans.loading import load_scan
from tsfm_pipeline.scans.outputs import Recipe, write_scan
from tsfm_pipeline.scans.page import write_index
from tsfm_pipeline.scans.problem import COLUMNS, Problem, ProblemKind, ScanError, problem_of
from tsfm_pipeline.scans.reader_process import ReaderProcess
from tsfm_pipeline.scans.record import (
    ScanRecord,
    changed_outputs,
    foreign_files,
    is_finished,
    is_misleading,
    making_digest,
    read_records,
    remove_outputs,
    statistics_table,
    volumes_table,
    write_table,
)
from tsfm_pipeline.scans.registry import find_model
from tsfm_pipeline.scans.segment import choose_regions
from tsfm_pipeline.scans.settings import PredictSettings
from tsfm_pipeline.scans.training_data import phantom_warnings, training_text

WHOLE = (1, 1)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunSummary:
    """What a run made of its input.

    Attributes:
        segmented: names of the scans segmented in this run.
        kept: names of those that were finished before.
        problems: table of `problem.Problem`, with `problem.COLUMNS`; empty when all went well.
        records: of the finished scans of this run, new and kept, by name.
        volumes: table of all finished scans in the output folder, `measures.VOLUME_COLUMNS`.
        model: what predicted, and what it was trained on, in a sentence.
        warnings: what forbids to believe the segmentations, in sentences.
    """

    segmented: tuple[str, ...]
    kept: tuple[str, ...]
    problems: pd.DataFrame
    records: Mapping[str, ScanRecord]
    volumes: pd.DataFrame
    model: str
    warnings: tuple[str, ...]

    @property
    def failed(self) -> int:
        """Number of scans or files that could not be segmented though they should."""
        return int((self.problems["verdict"] == ProblemKind.FAILED).sum())

    @property
    def notes(self) -> dict[str, tuple[str, ...]]:
        """What was decided or repaired on the way, by scan."""
        return {name: record.notes for name, record in self.records.items() if record.notes}


def predict_folder(
    source: Path,
    output: Path,
    models: Path | str | Sequence[Path | str],
    settings: PredictSettings | None = None,
    window: InferenceSettings | None = None,
    part: tuple[int, int] = WHOLE,
) -> RunSummary:
    """Segment a file, or all files and DICOM series below a folder.

    Per scan `<name>.nii.gz` on the scan's own grid, `<name>.png` and, last, `<name>.json`; for the
    run `volumes.csv`, `problems.csv` and the label names for ITK-SNAP and 3D Slicer. A finished
    scan is skipped next time unless its files, the model or the settings have changed; then its
    outputs go when its turn comes, or before all where they would be misread. A scan that can't be
    segmented becomes a row of `problems.csv`, and the others go on.

    Args:
        source: see `scans.find_scans`.
        output: folder of the results, made if needed; or the label map (.nii.gz) of a single scan,
            which then has no tables of a run beside it.
        models: model folders, released or as training left them, or names of released models,
            see `registry.find_model`; several are averaged.
        settings: targets, device, what to write.
        window: of the sliding window.
        part: (i, n) takes the i-th, counted from 1, of n parts of the input: every n-th scan. Parts
            may run at once into one folder: `volumes_IofN.csv` and `problems_IofN.csv` are of the
            part alone, and the first part writes the label names. A run without a part over
            finished parts writes the tables of all.

    Raises:
        ScanError: the input does not exist or holds nothing to segment; the output would lie among
            the scans, or replace files that are not ours or were corrected; highdicom is missing.
        ModelError: no usable model, models that do not agree, an unknown target, or mirroring for
            a model that has seen none.
        OSError: the output folder can't be written, the input or the model can't be read.
        MachineError: a full disk while a scan is written. Finished scans are kept.
    """
    settings, window = settings or PredictSettings(), window or InferenceSettings()
    named = [models] if isinstance(models, str | Path) else models
    folders = [_chosen(find_model(model), settings.fast) for model in named]
    cards = [folder.card for folder in folders]
    check_agreement(cards)
    card = cards[0]
    regions = choose_regions(card, settings.targets)
    if settings.mirror:
        window = window.model_copy(update={"mirror_axes": common_mirror_axes(cards)})
    if not source.exists():
        raise ScanError(f"{source}: no such file or folder; correct the input path")
    if settings.dicom_seg:
        require_highdicom()
    to = Destination.of(output)
    made_by = making_digest(folders, regions, settings, window)
    with ReaderProcess() as reader:
        scans, problems = _found(reader, source, card.in_channels, to, part)
        records = _open_folder(to, part, scans, settings)
        todo = [
            scan
            for scan in scans
            if not is_finished(scan, records.get(scan.name), to.folder, made_by, settings)
        ]
        kept = tuple(scan.name for scan in scans if scan not in todo)
        changed = [
            f"{path} is not what was written (damaged, or corrected by hand) and is kept as it is;"
            " --overwrite makes it again"
            for name in kept
            for path in changed_outputs(to.folder, records[name])
        ]
        recipe = None
        if todo:
            if not settings.overwrite:
                _keep_corrected(to, todo, records)
            opened = open_models(folders, settings.device)
            recipe = Recipe(opened, regions, settings, window, made_by)
        names = label_names(card.table, card.regions)
        _forget(to, todo, records, names)
        if part[0] == 1 and to.name is None:
            write_label_files(to.folder, names)
        _write_tables(to, part, records)
        done: list[str] = []
        if recipe is not None:
            for scan, outcome in _segment(reader, todo, recipe, to):
                if isinstance(outcome, Exception):
                    problems.append(problem_of(outcome, scan.name, scan.path))
                    continue
                records[scan.name] = outcome
                _write_tables(to, part, records)
                done.append(scan.name)
    table = pd.DataFrame([astuple(problem) for problem in problems], columns=list(COLUMNS))
    if to.name is None:
        write_table(_table_path(to.folder, "problems", part), table)
        if settings.page:
            write_index(to.folder, records)
    finished = [scan for scan in scans if scan.name in (*kept, *done)]
    return RunSummary(
        segmented=tuple(done),
        kept=kept,
        problems=table,
        records={scan.name: records[scan.name] for scan in finished},
        volumes=volumes_table(records),
        model=training_text(cards),
        warnings=(*phantom_warnings(cards, finished), *changed),
    )


def _chosen(model: ModelFolder, fast: bool) -> ModelFolder:
    if not fast:
        return model
    if not model.fast.path.is_dir():
        raise ModelError(
            f"{model.path} has no coarser model in its folder {model.fast.path.name}/; leave out"
            " --fast, or release one with `tsfm-pipeline release --fast`"
        )
    return model.fast


def _found(
    reader: ReaderProcess, source: Path, channels: int, to: Destination, part: tuple[int, int]
) -> tuple[list[Scan], list[Problem]]:
    """List the part's scans in the reader's process: reading DICOM headers may crash, too."""
    left_out = None if to.name is not None else to.folder
    ((_, found),) = reader.map(find_scans, {"": (source, channels, left_out)})
    if isinstance(found, Exception):
        raise found
    scans, problems = found
    scans = to.named(scans)
    to.keep_inputs(source, scans)  # of all parts
    number, parts = part
    return scans[number - 1 :: parts], problems[number - 1 :: parts]


def _open_folder(
    to: Destination,
    part: tuple[int, int],
    scans: Sequence[Scan],
    settings: PredictSettings,
) -> dict[str, ScanRecord]:
    """Make the folder of results, or find what is finished there, by scan."""
    ours = [scan.name for scan in scans]
    alone = part != WHOLE or to.name is not None
    records = read_records(to.folder, ours if alone else None)
    if not settings.overwrite:
        _keep_others(foreign_files(to.folder, ours, records))
    to.folder.mkdir(parents=True, exist_ok=True)
    return records


def _forget(
    to: Destination,
    todo: Sequence[Scan],
    records: dict[str, ScanRecord],
    names: Mapping[int, str],
) -> None:
    """Take scans that are done again out of the records; what would be misread goes, too."""
    for scan in todo:
        record = records.pop(scan.name, None)
        if record is not None and is_misleading(scan, record, names):
            remove_outputs(to.folder, scan.name)


def _segment(
    reader: ReaderProcess, scans: Sequence[Scan], recipe: Recipe, to: Destination
) -> Iterator[tuple[Scan, ScanRecord | Exception]]:
    """Yield each scan with its record, or with what kept it from being segmented."""
    by_name = {scan.name: scan for scan in scans}
    settings, card = recipe.settings, recipe.models.card
    tasks = {name: (scan, card, settings.modality) for name, scan in by_name.items()}
    loading = reader.map(load_scan, tasks, settings.read_timeout)
    with tqdm(loading, "Segmenting", len(scans), unit="scan", disable=None) as bar:
        for name, loaded in bar:
            scan = by_name[name]
            remove_outputs(to.folder, name)  # no older ones may stand where it fails
            outcome: ScanRecord | Exception
            try:
                if isinstance(loaded, Exception):
                    raise loaded
                bar.set_postfix_str(name)  # its tiles have a bar of their own below
                outcome = write_scan(scan, loaded, recipe, to)
            except Exception as error:
                if fault := fault_of_machine(error):  # the others could not go on either
                    raise MachineError(fault) from error
                logger.debug("%s failed", name, exc_info=True)
                outcome = error
            yield scan, outcome


def _table_path(output: Path, name: str, part: tuple[int, int]) -> Path:
    number, parts = part
    return output / (f"{name}.csv" if part == WHOLE else f"{name}_{number}of{parts}.csv")


def _write_tables(
    to: Destination, part: tuple[int, int], records: Mapping[str, ScanRecord]
) -> None:
    if to.name is not None:
        return
    write_table(_table_path(to.folder, "volumes", part), volumes_table(records))
    statistics = statistics_table(records)
    if not statistics.empty:
        write_table(_table_path(to.folder, "statistics", part), statistics)


def _keep_others(files: Sequence[Path]) -> None:
    """Refuse to replace files that another program, or a person, has put into the output folder."""
    if files:
        raise ScanError(
            f"{files[0]} is there already, and no record says that tsfm-predict wrote it"
            f" ({len(files)} such file(s)); give another output folder, or replace what is there"
            " with --overwrite"
        )


def _keep_corrected(
    to: Destination, todo: Sequence[Scan], records: Mapping[str, ScanRecord]
) -> None:
    """Refuse to replace outputs that are not what was written, unasked."""
    found = [records[scan.name] for scan in todo if scan.name in records]
    changed = [path for record in found for path in changed_outputs(to.folder, record)]
    if changed:
        raise ScanError(
            f"{changed[0]} is not what was written (damaged, or corrected by hand), and would be"
            f" replaced ({len(changed)} such file(s)); move it elsewhere to keep it, or replace it"
            " with --overwrite"
        )
