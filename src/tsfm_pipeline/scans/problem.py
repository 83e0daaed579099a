"""What is wrong with a scan, in words that its owner can act on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tsfm_pipeline.files import as_utf8
from tsfm_pipeline.imaging.intensity import IntensityError
from tsfm_pipeline.imaging.volume import VolumeError
from tsfm_pipeline.model.folder import ModelError


class ScanError(ValueError):
    """A scan that can't be segmented as it is. The message reads `reason; remedy`."""


class NoScan(ScanError):
    """A readable file that is no scan to segment: a report, a localizer, a PET."""


class NoRoom(ScanError):
    """A scan that the free memory does not hold, or whose reader may have been killed for it."""


class ProblemKind(StrEnum):
    """Why there is no segmentation of a scan.

    Attributes:
        FAILED: it could not be segmented though it should.
        SKIPPED: it is no scan to segment (a DICOM report, a PET).
    """

    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Problem:
    """One row of `problems.csv`, in the order of its columns.

    Attributes:
        scan: name that the scan's outputs would have.
        file: the file or folder at fault.
        kind: the column `verdict`.
        reason: what is wrong.
        remedy: what its owner can do.
    """

    scan: str
    file: str
    kind: ProblemKind
    reason: str
    remedy: str


COLUMNS = ("scan", "file", "verdict", "reason", "remedy")

_EXPECTED = (ScanError, VolumeError, IntensityError, ModelError, OSError)


def problem_of(error: Exception, scan: str, file: Path) -> Problem:
    """Turn what was raised over a scan into its row.

    The project's own messages read `file: reason; remedy`. Whatever else comes up is named by its
    type: a damaged file may break a reader in ways that nobody listed.
    """
    text = as_utf8(" ".join(str(error).split()))
    if isinstance(error, MemoryError):
        text = "does not fit into memory; crop it, or take a machine with more"
    elif not isinstance(error, _EXPECTED):
        text = f"{type(error).__name__}: {text}"
    shown = as_utf8(str(file))
    reason, separator, remedy = text.removeprefix(f"{shown}: ").rpartition("; ")
    if not separator:
        reason, remedy = remedy, "export it again; if other viewers show it, report this"
    kind = ProblemKind.SKIPPED if isinstance(error, NoScan) else ProblemKind.FAILED
    return Problem(scan, shown, kind, reason, remedy)


def check_utf8(path: Path) -> None:
    """Refuse a path that must not be given to ITK, which aborts the process over it.

    Raises:
        ScanError: the path is not UTF-8.
    """
    if (shown := as_utf8(str(path))) != str(path):
        raise ScanError(f"{shown}: the name is not UTF-8; rename it")


@contextmanager
def about(file: Path) -> Iterator[None]:
    """Put the file's name before a ScanError's reason."""
    try:
        yield
    except ScanError as error:
        raise type(error)(f"{file}: {error}") from error
