"""DICOM files, read through SimpleITK's GDCM: what their headers say, and their pixels."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from tsfm_pipeline.scans.dicom_pixels import check_pixels
from tsfm_pipeline.scans.problem import NoScan, ScanError

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
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_SHARED, _OWN = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"


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
        pixel_bytes: of all frames, unpacked, as the header says.
        patient: patient ID.
        secondary: whether it is a secondary capture; some programs export volumes so.
        place: where it lies; None where the header does not say all of it.
    """

    path: Path
    series: str
    label: str
    modality: str
    kind: str
    frames: int
    size: tuple[int, int]
    pixel_bytes: int
    patient: str
    secondary: bool
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
            f"{path.name} is an unreadable or damaged DICOM file ({path.stat().st_size} bytes);"
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
    uid = text("0008|0016")
    secondary = uid == _SECONDARY_CAPTURE or uid.startswith(f"{_SECONDARY_CAPTURE}.")
    if secondary and place is None:
        raise NoScan("a DICOM secondary capture (a screenshot or dose sheet); nothing to do")
    columns, rows = reader.GetSize()[:2]
    frames = int(text("0028|0008")) if text("0028|0008").isdigit() else 1
    bits = [int(n) if (n := text(tag)).isdigit() else 1 for tag in ("0028|0002", "0028|0100")]
    return Slice(
        path=path,
        series=text("0020|000e"),
        label=" ".join(filter(None, (text("0020|0011"), text("0008|103e")))),
        modality=text("0008|0060"),
        kind=text("0008|0008"),
        frames=frames,
        size=(int(columns), int(rows)),
        pixel_bytes=math.prod((columns, rows, frames, *bits)) // 8,
        patient=text("0010|0020"),
        secondary=secondary,
        place=place,
    )


def place_of(one: Slice) -> Place:
    """Return where a slice lies; raise ScanError where its header does not say it."""
    if one.place is None:
        raise ScanError(
            f"{one.path.name} does not state position, orientation and pixel spacing;"
            " export the series from its original source"
        )
    return one.place


def frames_of(one: Slice) -> list[Slice]:
    """Return the frames of a file as slices, in the order stored.

    GDCM, which reads the pixels, takes frames for an even stack whatever they state, rescales all
    as the first one, and ITK does not hand out what they state (functional groups, DICOM PS3.3
    C.7.6.16).

    Raises:
        ScanError: the file does not state position, orientation and spacing of every frame, or
            its frames are rescaled in different ways.
    """
    if one.frames == 1:
        return [one]
    import pydicom  # noqa: PLC0415 - multi-frame files are rare

    try:
        header = pydicom.dcmread(one.path, stop_before_pixels=True, specific_tags=[_SHARED, _OWN])
        shared = (header.get(_SHARED) or [pydicom.Dataset()])[0]
        stated = [_stated(frame, shared) for frame in header[_OWN]]
    except (  # what damaged groups raise
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        NotImplementedError,
        struct.error,
        pydicom.errors.InvalidDicomError,
    ) as error:
        raise _unplaced(one) from error
    if len(stated) != one.frames:
        raise _unplaced(one)
    scales = [scale for _, scale in stated]
    if others := [scale for scale in scales if scale != scales[0]]:
        said = " and ".join(f"slope {a}, intercept {b}" for a, b in (scales[0], others[0]))
        raise ScanError(
            f"the frames of {one.path.name} are rescaled in different ways ({said}); export it with"
            " one frame a file"
        )
    names = (f"frame {number} of {one.path.name}" for number in range(1, one.frames + 1))
    return [
        replace(one, path=Path(name), frames=1, place=place)
        for name, (place, _) in zip(names, stated, strict=True)
    ]


def _stated(frame: Any, shared: Any) -> tuple[Place, tuple[float, float]]:
    """Return place, and slope and intercept, from a frame's groups or those that all share."""

    def values(sequence: str, name: str) -> NDArray[np.float64]:
        return np.array((frame if sequence in frame else shared)[sequence][0][name].value, float)

    place = Place(
        values("PlanePositionSequence", "ImagePositionPatient").reshape(3),
        values("PlaneOrientationSequence", "ImageOrientationPatient").reshape(2, 3),
        values("PixelMeasuresSequence", "PixelSpacing").reshape(2),
    )
    rescale = "PixelValueTransformationSequence"
    groups = (frame if rescale in frame else shared).get(rescale)
    scale = groups[0] if groups else {}
    return place, (scale.get("RescaleSlope", 1), scale.get("RescaleIntercept", 0))


def _unplaced(one: Slice) -> ScanError:
    return ScanError(
        f"{one.path.name} has {one.frames} frames and does not state position, orientation and"
        " pixel spacing of each; export the series from its original source, or with one frame a"
        " file"
    )


def normal_of(one: Slice) -> NDArray[np.float64]:
    """Return the unit vector (x, y, z) from slice to slice; raise ScanError if impossible."""
    row, column = orientation = place_of(one).orientation
    lengths = np.linalg.norm(orientation, axis=1)
    if np.abs(lengths - 1).max() > 1e-2 or abs(row @ column) > 1e-2:
        raise ScanError(
            f"{one.path.name} states the impossible orientation {orientation.tolist()};"
            " export the series from its original source"
        )
    normal = np.cross(row, column)
    return np.asarray(normal / np.linalg.norm(normal))


def read_series(files: Sequence[Path]) -> sitk.Image:
    """Read the ordered files of a series into one image in float32, with their stated geometry.

    Raises:
        ScanError: the pixels of a file can't be decoded, or are fewer than the header says.
    """
    slices = [read_slice(path) for path in files]
    for one in slices:
        check_pixels(one.path, one.pixel_bytes)
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
    slices = frames_of(slices[0]) if len(slices) == 1 else slices
    if len(slices) > 1:
        first, last, normal = place_of(slices[0]), place_of(slices[-1]), normal_of(slices[0])
        step = float((last.position - first.position) @ normal) / (len(slices) - 1)
        if step < 0:  # frames from the last position to the first
            step, normal = -step, -normal
        image.SetDirection(np.stack([*first.orientation, normal], axis=1).ravel().tolist())
        image.SetSpacing((float(first.spacing[1]), float(first.spacing[0]), step))
        image.SetOrigin(first.position.tolist())
    return image
