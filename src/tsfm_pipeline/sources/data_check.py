"""Whether a raw dataset is there and is what its settings say, without reading a volume."""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tsfm_pipeline.imaging.labels import LabelError, LabelTable
from tsfm_pipeline.sources.label_check import check_labels
from tsfm_pipeline.sources.source import LEFT_OUT, Source, SourceCase, SourceError

State = Literal["found", "odd", "missing", "unusable"]


@dataclass(frozen=True)
class DatasetCheck:
    """What is known of a dataset from its folders and lists.

    Attributes:
        name: of the dataset entry.
        folder: where it is expected.
        state: found; odd: usable, with `remarks`; missing: no such folder; unusable: it would
            stop a run.
        cases: labelled cases that are listed; None where none could be listed.
        usable: those of them without a problem.
        published: usable cases of the public release; None where the settings don't say.
        size: bytes of all files below the folder.
        remarks: sentences with file, value and remedy.
    """

    name: str
    folder: Path
    state: State
    cases: int | None
    usable: int | None
    published: int | None
    size: int
    remarks: tuple[str, ...]


def check_dataset(source: Source, raw_root: Path, table: LabelTable) -> DatasetCheck:
    """List a dataset's cases as a run would, and keep all that the run would complain of.

    Args:
        source: settings and reader.
        raw_root: folder that the dataset's own folder is relative to.
        table: the fused label table, which has to know the dataset's targets.
    """
    folder = raw_root / source.folder
    remarks: list[str] = []
    cases: list[SourceCase] | None = None
    stops = False
    if folder.is_dir():
        kept = _KeepRemarks(remarks)
        logger = logging.getLogger(__name__.rpartition(".")[0])  # of all readers
        logger.addHandler(kept)
        propagated, logger.propagate = logger.propagate, False
        try:
            cases = source.find_cases(raw_root)
            check_labels({source.name: source}, table)
        except (SourceError, LabelError) as error:
            remarks.append(str(error))
            stops = True
        finally:
            logger.removeHandler(kept)
            logger.propagate = propagated
    else:
        place = f" from {source.url} ({source.licence})" if source.url else ""
        remarks.append(f"download it{place} to {folder}, which should hold {source.expects}")
    usable = sum(not case.problem for case in cases) if cases is not None else None
    if cases is not None:
        remarks += _remarks_on(source, cases)
    state: State = "found"
    if not folder.is_dir():
        state = "missing"
    elif stops or not usable:
        state = "unusable"
    elif remarks:
        state = "odd"
    return DatasetCheck(
        name=source.name,
        folder=folder,
        state=state,
        cases=None if cases is None else len(cases),
        usable=usable,
        published=source.expected_cases,
        size=_bytes_below(folder),
        remarks=tuple(remarks),
    )


class _KeepRemarks(logging.Handler):
    """Collect the warnings of the readers."""

    def __init__(self, remarks: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._remarks = remarks

    def emit(self, record: logging.LogRecord) -> None:
        self._remarks.append(record.getMessage())


def _remarks_on(source: Source, cases: Sequence[SourceCase]) -> list[str]:
    remarks = []
    left_out = [case for case in cases if case.is_left_out]
    bad = [case for case in cases if case.problem and not case.is_left_out]
    if left_out:
        reason = left_out[0].problem.removeprefix(LEFT_OUT)
        remarks.append(
            f"{len(left_out)} of {len(cases)} cases are left out by the settings"
            f" (datasets.{source.name}.left_out), {left_out[0].case} first: {reason}"
        )
    if bad:
        remarks.append(
            f"{len(bad)} of {len(cases)} cases can't be used, {bad[0].case} first: {bad[0].problem}"
        )
    twins = [case for case, count in Counter(case.case for case in cases).items() if count > 1]
    if twins:
        remarks.append(f"{len(twins)} names stand for two cases, {twins[0]} first; rename one")
    usable = len(cases) - len(bad) - len(left_out)
    if source.expected_cases not in (None, usable):
        remarks.append(f"{usable} usable cases, the public release has {source.expected_cases}")
    return remarks


def _bytes_below(folder: Path) -> int:
    """Add up the files below a folder; what vanishes or is closed counts nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 - many
            except OSError:
                continue
    return total
