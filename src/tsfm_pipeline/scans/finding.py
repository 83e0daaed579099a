"""What there is to segment: files and DICOM series below a folder, each with a name of its own."""

import errno
import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from tsfm_pipeline.imaging.file_volume import special_kind
from tsfm_pipeline.scans.dicom import Slice, is_dicom, read_slice
from tsfm_pipeline.scans.dicom_series import group_series, order_slices, scan_modality
from tsfm_pipeline.scans.problem import NoScan, Problem, ScanError, check_utf8, problem_of
from tsfm_pipeline.sources.source import Modality

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")

LONGEST_NAME = 180
"""Bytes of an output's name. A digest, suffixes and what an unfinished file is called come on top,
and file systems take 255."""

_CHANNEL = re.compile(r"_(\d{4})$")


@dataclass(frozen=True)
class Scan:
    """One image to segment.

    Attributes:
        name: of its outputs, unique in a run.
        files: one per channel, or the ordered slices of a DICOM series.
        modality: as DICOM states it; None for files.
        series: whether the files are a DICOM series.
        notes: what was decided about the files, in sentences.
        beside_series: whether it is a file in the folder of a DICOM series; often a mask of it.
    """

    name: str
    files: tuple[Path, ...]
    modality: Modality | None = None
    series: bool = False
    notes: tuple[str, ...] = ()
    beside_series: bool = False

    @property
    def path(self) -> Path:
        """Where the scan is: its first file, or the folder of its series."""
        return self.files[0].parent if self.series else self.files[0]


def find_scans(
    source: Path, channels: int = 1, leave_out: Path | None = None
) -> tuple[list[Scan], list[Problem]]:
    """Find what there is to segment.

    Args:
        source: an image file, a DICOM file (its whole series is taken), or a folder, which is
            searched with all folders below it, linked ones last.
        channels: image channels of the model. With one, every file is a scan. With more, files
            named `<case>_0000`, `<case>_0001`, ... before the suffix are one (nnU-Net's way).
        leave_out: a folder not to search (that of the outputs).

    Returns:
        Scans in the order in which they were found, named after their path below `source`; and
        what was found but can't be segmented.

    Raises:
        ScanError: there is no such file or folder, or nothing in it that looks like a scan.
    """
    if not source.exists():
        raise ScanError(f"{source}: no such file or folder; correct the input path")
    root = source if source.is_dir() else source.parent
    images, others, unread = _list_files(root, leave_out) if source.is_dir() else ([], [], [])
    if source.is_file():
        if _is_image(source):
            images = _channel_files(source) if channels > 1 else [source]
        elif is_dicom(source):
            # It comes first: of copies of one slice the first is kept.
            others = [source, *(path for path in sorted(root.iterdir()) if path != source)]
            others = [path for path in others if path.is_file()]
    scans, problems = _file_scans(images, root, channels)
    dicom_scans, dicom_problems = _dicom_scans(others, root, channels)
    if source.is_file() and others:
        dicom_scans = [scan for scan in dicom_scans if source in scan.files]
    series = {scan.path for scan in dicom_scans} | {Path(one.file) for one in dicom_problems}
    scans = [replace(scan, beside_series=scan.path.parent in series) for scan in scans]
    scans, problems = scans + dicom_scans, problems + dicom_problems + unread
    if not scans and not problems:
        raise ScanError(
            f"{source}: no scan found; scans are files {', '.join(SUFFIXES)} and DICOM series"
        )
    return _with_unique_names(scans, root), problems


def _list_files(root: Path, leave_out: Path | None) -> tuple[list[Path], list[Path], list[Problem]]:
    """List image files and others below a folder, and what can't or must not be opened.

    Hidden files and folders, and `leave_out`, are not searched. Links to folders are followed when
    all else has been searched: then a folder that has a path of its own below the root keeps it.
    """
    images: list[Path] = []
    others: list[Path] = []
    unread: list[Problem] = []

    def leave(folder: Path, error: ScanError) -> None:
        unread.append(problem_of(error, _named(folder / "x", root, ""), folder))

    def closed(error: OSError) -> None:
        why = f"the folder can't be searched ({error.strerror}); make it readable, or take it out"
        leave(Path(error.filename), ScanError(why))

    searched = {leave_out.resolve()} - {root.resolve()} if leave_out else set()
    starts = [root]
    for start in starts:  # it grows by the links that are found
        for folder, below, names in os.walk(start, onerror=closed):
            here = Path(folder)
            place = here.resolve()
            shown = sorted(name for name in below if not name.startswith("."))
            below.clear()
            if place in searched:
                continue
            searched.add(place)
            try:
                check_utf8(here)
            except ScanError as error:
                leave(here, error)
                continue
            for name in shown:
                if (here / name).resolve() == place / name:
                    below.append(name)
                else:
                    starts.append(here / name)
            for name in sorted(names):
                path = here / name
                if name.startswith("."):
                    continue
                if kind := _special(path):
                    what = NoScan(f"{kind}, not a file; nothing to do")
                    unread.append(problem_of(what, _named(path, root, path.stem), path))
                else:
                    (images if _is_image(path) else others).append(path)
    return images, others, unread


def _special(path: Path) -> str:
    """Say what makes a path one that must not be opened; empty for files."""
    try:
        return special_kind(path)
    except OSError as error:  # others are told by whoever opens the file
        return "a link in a circle" if error.errno == errno.ELOOP else ""


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)


def _stem(path: Path) -> str:
    suffix = next(end for end in SUFFIXES if path.name.lower().endswith(end))
    return path.name[: -len(suffix)]


def _channel_files(path: Path) -> list[Path]:
    case = _CHANNEL.sub("", _stem(path))
    return [
        other
        for other in sorted(path.parent.iterdir())
        if _is_image(other) and other.is_file() and _CHANNEL.sub("", _stem(other)) == case
    ]


def _named(path: Path, root: Path, stem: str) -> str:
    """Name outputs after a path below the root: folders and stem joined by underscores."""
    parts = [*path.parent.relative_to(root).parts, stem]
    name = re.sub(r"[^\w.+-]+", "_", "_".join(parts)).strip("._") or "scan"
    if len(name.encode()) <= LONGEST_NAME:
        return name
    return f"{name.encode()[:LONGEST_NAME].decode(errors='ignore')}_{_digest(name)}"


def _file_scans(
    images: Sequence[Path], root: Path, channels: int
) -> tuple[list[Scan], list[Problem]]:
    groups: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    scans, problems = [], []
    for path in images:
        try:
            check_utf8(path)
        except ScanError as error:
            problems.append(problem_of(error, _named(path, root, _stem(path)), path))
            continue
        groups[path.parent, _CHANNEL.sub("", _stem(path))].append(path)
    for (_, stem), files in groups.items():
        if channels == 1:
            # `patient_0001` and `patient_0002` may be two patients; only a lone _0000 is nnU-Net's.
            lone = len(files) == 1 and _stem(files[0]).endswith("_0000")
            scans += [
                Scan(_named(path, root, stem if lone else _stem(path)), (path,)) for path in files
            ]
            continue
        name = _named(files[0], root, stem)
        found = [match[1] for path in files if (match := _CHANNEL.search(_stem(path)))]
        if found == [f"{number:04d}" for number in range(channels)]:
            scans.append(Scan(name, tuple(files)))
        else:
            wrong = ScanError(
                f"the model takes {channels} channels, and {len(files)} file(s) are here"
                f" ({', '.join(path.name for path in files)}); give {stem}_0000 to"
                f" {stem}_{channels - 1:04d}"
            )
            problems.append(problem_of(wrong, name, files[0]))
    return scans, problems


def _dicom_scans(
    files: Sequence[Path], root: Path, channels: int
) -> tuple[list[Scan], list[Problem]]:
    folders: dict[Path, list[Slice]] = defaultdict(list)
    broken: dict[Path, str] = {}
    problems = []
    for path in tqdm(files, desc="Looking for DICOM series", unit="file", disable=None):
        name = _named(path, root, path.stem)
        try:
            if is_dicom(path):
                check_utf8(path)
                folders[path.parent].append(read_slice(path))
        except NoScan as error:
            problems.append(problem_of(error, name, path))
        except (ScanError, OSError) as error:
            problems.append(problem_of(error, name, path))
            broken[path.parent] = path.name
    scans = []
    for folder, slices in folders.items():
        groups = group_series(slices)
        for series in groups:
            label = series[0].label or series[0].series
            name = _named(folder / "x", root, label if len(groups) > 1 else "")
            if folder == root and len(groups) == 1:
                name = _named(root / "x", root, root.resolve().name)
            try:
                modality = scan_modality(series)
                if channels > 1:
                    raise ScanError(
                        f"the model takes {channels} channels; convert the series to files"
                        " <case>_0000.nii.gz, <case>_0001.nii.gz, ... on one grid"
                    )
                if folder in broken:
                    raise ScanError(
                        f"{broken[folder]} in its folder is unreadable and may be one of its"
                        " slices; replace that file, or remove it if it is none"
                    )
                ordered, notes = order_slices(series)
            except (ScanError, OSError) as error:
                problems.append(problem_of(error, name, folder))
                continue
            files = tuple(one.path for one in ordered)
            scans.append(Scan(name, files, modality, series=True, notes=notes))
    return scans, problems


def _with_unique_names(scans: Sequence[Scan], root: Path) -> list[Scan]:
    """Add a digest of the path to names that several scans would share, or one with index.html."""
    # Case-insensitive, as are the file systems of many desktops.
    shared = Counter(["index", *(scan.name.lower() for scan in scans)])
    named = []
    for scan in scans:
        if shared[scan.name.lower()] > 1:
            path = scan.files[0].relative_to(root).as_posix()
            scan = replace(scan, name=f"{scan.name}_{_digest(path)}")  # noqa: PLW2901
        named.append(scan)
    return named


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=3).hexdigest()
