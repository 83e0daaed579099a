"""Directory listings of volumes: file names without suffix, hidden files passed over."""

import errno
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from tsfm_pipeline.files import as_utf8

SUFFIXES = (".nii.gz", ".nii")
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)  # ELOOP: a circular link


def volume_name(file_name: str, suffixes: tuple[str, ...] = SUFFIXES) -> str | None:
    """Return a volume's file name without its suffix; None for any other or hidden file.

    Hidden files are mostly AppleDouble twins (`._liver_0.nii.gz`), which macOS puts into archives;
    some unpackers turn their dot into `_`. nnU-Net's converters pass over both, too.
    """
    if file_name.startswith((".", "_")):
        return None
    for suffix in suffixes:
        if file_name.endswith(suffix):
            return file_name.removesuffix(suffix)
    return None


class VolumeFolder:
    """The volumes of one folder by name without suffix; a missing or closed folder holds none.

    One scan per folder instead of a look-up per file: on network storage the difference is
    minutes for TotalSegmentator's 100,000 files. Where `x.nii` and `x.nii.gz` both lie, the
    compressed one, which is what publishers ship, is taken.
    """

    def __init__(self, folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> None:
        self.folder = folder
        self._files: dict[str, Path] = {}
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    name = volume_name(entry.name, suffixes)
                    if name is not None and holds(entry.is_file):
                        self._files[name] = folder / entry.name  # .nii sorts before .nii.gz

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def names(self) -> list[str]:
        """Return the names without suffix, sorted."""
        return sorted(self._files)

    def path(self, name: str) -> Path:
        """Return the file of this name, or where it was expected."""
        return self._files.get(name, self.folder / f"{name}{SUFFIXES[0]}")

    def missing(self, *names: str) -> list[Path]:
        """Return the expected files of those names that are not here."""
        return [self.path(name) for name in names if name not in self]


def subfolders(folder: Path, pattern: str) -> list[Path]:
    """Return the folders directly below `folder` whose whole name matches, sorted by name."""
    with os.scandir(folder) as entries:
        fitting = [e for e in entries if re.fullmatch(pattern, e.name, re.DOTALL)]
        names = sorted(entry.name for entry in fitting if holds(entry.is_dir))
    return [folder / name for name in names]


def holds(test: Callable[[], bool]) -> bool:
    """Test a path; one that can't be looked at (permissions, disk) passes: reading it tells why."""
    try:
        return test()
    except OSError as error:
        return error.errno not in _ABSENT


def closed(folder: Path) -> str:
    """Return the `problem` text for a folder that may not be listed; empty for any other."""
    with suppress(FileNotFoundError, NotADirectoryError):
        try:
            os.scandir(folder).close()
        except PermissionError as error:
            return f"{folder}: {error.strerror}; check the folder's permissions"
    return ""


def unusable_name(case: str, file: Path) -> str:
    """Return the `problem` text of a case whose name can't be a folder's; empty for any other."""
    if not re.search(r"[\x00-\x1f\x7f\\]", case):
        return ""
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(file))
    return (
        f"{shown}: the case's name has a backslash, line break or other control character and can't"
        " name a folder of the store; rename it"
    )


def not_utf8(files: Iterable[Path]) -> str:
    """Return the `problem` text of a case with such a path; empty for any other."""
    for shown, text in ((as_utf8(text), text) for text in map(str, files)):
        if shown != text:
            return f"{shown}: its path is not UTF-8 and can't stand in a table; rename it"
    return ""


def not_found(paths: Iterable[Path], remedy: str = "") -> str:
    """Return the `problem` text for missing files (.nii counts as .nii.gz); empty when none."""
    missing = list(paths)
    for folder in dict.fromkeys(path.parent for path in missing):
        if problem := closed(folder):
            return problem
    names = ", ".join(str(path) for path in missing)
    remedy = remedy or "Download the case again; the others are used without it."
    return f"not found: {names}. {remedy}" if names else ""
