"""DICOM series: which slices belong together, and whether they make a volume.

Read through SimpleITK's GDCM. A series whose slices leave a question open is refused with the
slices named: a guessed volume would be segmented without a word and be wrong.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from tsfm_pipeline.scans.problem import NoScan, ScanError

DUPLICATE_MM = 1e-2
SPACING_TOLERANCE = 0.05
"""Fraction of the slice distance by which single distances may differ (rounded headers)."""
DIRECTION_TOLERANCE = 1e-3

_IMAGE_CLASS = b"\x02\x00\x02\x00UI"  # tag (0002,0002) in the file's meta header
_NO_SCANS = {
    "1.2.840.10008.1.3.10": "a DICOM directory",
    "1.2.840.10008.5.1.4.1.1.66": "a DICOM segmentation, registration or raw data object",
    "1.2.840.10008.5.1.4.1.1.88": "a DICOM structured report",
    "1.2.840.10008.5.1.4.1.1.11": "a DICOM presentation state",
    "1.2.840.10008.5.1.4.1.1.104": "a DICOM-encapsulated document",
    "1.2.840.10008.5.1.4.1.1.9": "a DICOM waveform",
    "1.2.840.10008.5.1.4.1.1.481": "a DICOM radiotherapy object",
}


@dataclass(frozen=True)
class Place:
    """Where a slice lies.

    Attributes:
        position: world point (x, y, z) of the first voxel, in mm.
        orientation: directions of a row and of a column, (2, 3).
        spacing: mm between rows and between columns.
    """

    position: NDArray[np.float64]
    orientation: NDArray[np.float64]
    spacing: NDArray[np.float64]


@dataclass(frozen=True)
class Slice:
    """One DICOM image file, as far as the assembly of a volume needs it.

    Attributes:
        path: the file.
        series: series instance UID.
        label: series number and description.
        modality: DICOM's modality code.
        kind: image type values, with backslashes between.
        frames: images in the file.
        size: columns and rows.
        place: where it lies; None where the header does not say all of it.
    """

    path: Path
    series: str
    label: str
    modality: str
    kind: str
    frames: int
    size: tuple[int, int]
    place: Place | None


def is_dicom(path: Path) -> bool:
    """Say whether a file claims to be DICOM, by its preamble or its suffix."""
    if path.suffix.lower() in (".dcm", ".ima"):
        return True
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def read_slice(path: Path) -> Slice:
    """Read the header of a DICOM image file.

    Raises:
        NoScan: it is a DICOM file without a picture of the patient.
        ScanError: GDCM can't read it.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    at = head.find(_IMAGE_CLASS)
    if at >= 0:
        length = int.from_bytes(head[at + 6 : at + 8], "little")
        uid = head[at + 8 : at + 8 + length].decode("ascii", "replace").rstrip("\0 ")
        for root, what in _NO_SCANS.items():
            if uid == root or uid.startswith(f"{root}."):
                raise NoScan(f"{what}, not a scan; nothing to do")
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise ScanError(
            f"unreadable or damaged DICOM file ({path.stat().st_size} bytes);"
            " send or export the series again"
        ) from error

    def text(tag: str) -> str:
        return reader.GetMetaData(tag).strip() if reader.HasMetaDataKey(tag) else ""

    def numbers(tag: str, count: int) -> NDArray[np.float64] | None:
        try:
            values = np.array([float(part) for part in text(tag).split("\\")])
        except ValueError:
            return None
        return values if len(values) == count and np.isfinite(values).all() else None

    position, orientation = numbers("0020|0032", 3), numbers("0020|0037", 6)
    spacing = numbers("0028|0030", 2)
    place = None
    if position is not None and orientation is not None and spacing is not None:
        place = Place(position, orientation.reshape(2, 3), spacing)
    columns, rows = reader.GetSize()[:2]
    frames = text("0028|0008")
    return Slice(
        path=path,
        series=text("0020|000e"),
        label=" ".join(filter(None, (text("0020|0011"), text("0008|103e")))),
        modality=text("0008|0060"),
        kind=text("0008|0008"),
        frames=int(frames) if frames.isdigit() else 1,
        size=(int(columns), int(rows)),
        place=place,
    )


def group_series(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Group slices by their series, in order of the series' first files."""
    series = defaultdict(list)
    for one in slices:
        series[one.series].append(one)
    return list(series.values())


def scan_modality(series: Sequence[Slice]) -> Literal["CT", "MR"]:
    """Return the modality of a series.

    Raises:
        NoScan: it is a localizer, or of a modality that no model here knows.
    """
    first = series[0]
    if "LOCALIZER" in first.kind.upper().split("\\"):
        raise NoScan("a localizer; nothing to do")
    if first.modality == "CT":
        return "CT"
    if first.modality == "MR":
        return "MR"
    raise NoScan(f"DICOM modality {first.modality or 'not stated'}; models know CT and MR only")


def order_slices(series: Sequence[Slice]) -> list[Slice]:
    """Order the slices of a series along its axis, from the first to the last position.

    Raises:
        ScanError: they do not make one regular right-angled volume.
    """
    first = series[0]
    if len(series) == 1:
        if first.frames == 1:
            raise ScanError(
                "the series has a single slice in this folder; put all slices of a series into one"
                " folder"
            )
        return [first]
    if any(one.frames > 1 for one in series):
        raise ScanError("several multi-frame files in one series; give each a folder of its own")
    places = [_place(one) for one in series]
    for one, place in zip(series, places, strict=True):
        if one.size != first.size or not np.allclose(place.spacing, places[0].spacing, rtol=1e-3):
            raise ScanError(
                f"{one.path.name} has another size or pixel spacing ({one.size},"
                f" {place.spacing} mm)"
                f" than {first.path.name} ({first.size}, {places[0].spacing} mm);"
                " export the two stacks as series of their own"
            )
        if np.abs(place.orientation - places[0].orientation).max() > DIRECTION_TOLERANCE:
            raise ScanError(
                f"{one.path.name} is turned against {first.path.name};"
                " export the two stacks as series of their own"
            )
    normal = _normal(first)
    positions = np.array([place.position for place in places])
    depth = positions @ normal
    order = np.argsort(depth, kind="stable")
    ordered = [series[i] for i in order]
    _check_distances([one.path.name for one in ordered], depth[order])
    sideways = positions - positions[0] - np.outer(depth - depth[0], normal)
    if np.linalg.norm(sideways, axis=1).max() > 0.5 * places[0].spacing.min():
        raise ScanError(
            "the slices slide sideways (tilted gantry); resample the series onto a right-angled"
            " grid, as dcm2niix does"
        )
    return ordered


def _place(one: Slice) -> Place:
    if one.place is None:
        raise ScanError(
            f"{one.path.name} does not state position, orientation and pixel spacing;"
            " export the series from its original source"
        )
    return one.place


def _normal(one: Slice) -> NDArray[np.float64]:
    """Return the unit vector (x, y, z) from slice to slice."""
    row, column = orientation = _place(one).orientation
    lengths = np.linalg.norm(orientation, axis=1)
    if np.abs(lengths - 1).max() > 1e-2 or abs(row @ column) > 1e-2:
        raise ScanError(
            f"{one.path.name} states the impossible orientation {orientation.tolist()};"
            " export the series from its original source"
        )
    normal = np.cross(row, column)
    return np.asarray(normal / np.linalg.norm(normal))


def _check_distances(names: Sequence[str], depth: NDArray[np.float64]) -> None:
    """Refuse slices that lie twice at one place or leave gaps; `depth` (mm) rises."""
    steps = np.diff(depth)
    twice = np.flatnonzero(steps < DUPLICATE_MM)
    if len(twice):
        at = int(twice[0])
        raise ScanError(
            f"{names[at]} and {names[at + 1]} lie at the same place ({len(twice)} such pair(s));"
            " export each phase or acquisition as a series of its own"
        )
    step = float(np.median(steps))
    uneven = np.flatnonzero(np.abs(steps - step) > SPACING_TOLERANCE * step)
    if not len(uneven):
        return
    at = int(uneven[0])
    ratios = steps[uneven] / step
    if ratios.min() > 1.5 and np.abs(ratios - np.rint(ratios)).max() < 0.1:
        raise ScanError(
            f"{int(np.rint(ratios - 1).sum())} slice(s) missing, the first after {names[at]}"
            f" ({steps[at]:.2f} mm to the next, others are {step:.2f} mm apart);"
            " transfer the series again"
        )
    raise ScanError(
        f"slices are {steps.min():.2f} to {steps.max():.2f} mm apart (first uneven pair:"
        f" {names[at]} and {names[at + 1]}); resample the series onto even distances, or export its"
        " stacks apart"
    )


def read_series(files: Sequence[Path]) -> sitk.Image:
    """Read the ordered files of a series into one image in float32, with their stated geometry.

    Raises:
        ScanError: the pixels of a file can't be decoded, or are fewer than the header says.
    """
    if len(files) == 1:
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(files[0]))
    else:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames([str(path) for path in files])
    reader.SetImageIO("GDCMImageIO")
    # Slopes may differ from slice to slice; the first slice's integer type would cut them off.
    reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        cause = str(error).strip().splitlines()[-1]
        raise ScanError(
            f"the pixels can't be decoded ({cause}); transfer or export the series again"
        ) from error
    if len(files) > 1:
        slices = [read_slice(path) for path in files]
        first, last, normal = _place(slices[0]), _place(slices[-1]), _normal(slices[0])
        step = float((last.position - first.position) @ normal) / (len(slices) - 1)
        image.SetDirection(np.stack([*first.orientation, normal], axis=1).ravel().tolist())
        image.SetSpacing((float(first.spacing[1]), float(first.spacing[0]), step))
        image.SetOrigin(first.position.tolist())
    return image
