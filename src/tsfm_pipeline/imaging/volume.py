"""Medical image files: read into canonical orientation, written back in the file's own.

Arrays are (z, y, x) or (c, z, y, x). What can't be read right is refused with the file's name and
a remedy, never guessed.
"""

import gzip
import logging
import os
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from tsfm_pipeline.imaging.geometry import (
    Geometry,
    Reorientation,
    canonical_reorientation,
)

POSITION_TOLERANCE_MM = 1e-2
DIRECTION_TOLERANCE = 1e-3

_log = logging.getLogger(__name__)


class VolumeError(ValueError):
    """An image or label file that can't be used as it is."""


@dataclass(frozen=True)
class ImageVolume:
    """An image in canonical orientation, and the way back to its file.

    Attributes:
        array: (c, z, y, x) float32, canonical; NaN and infinities replaced by 0.
        geometry: the canonical grid.
        file_geometry: the grid as the file states it.
        reorientation: turns the file's array into the canonical one.
    """

    array: NDArray[np.float32]
    geometry: Geometry
    file_geometry: Geometry
    reorientation: Reorientation


def read_image(paths: Sequence[Path]) -> ImageVolume:
    """Read one file per channel into one canonical volume.

    Raises:
        VolumeError: a file is missing, truncated, no 3-D scalar image, or of another shape than
            the first channel.
    """
    first = read_geometry(paths[0])
    reorientation = canonical_reorientation(first)
    geometry = reorientation.apply_to_geometry(first)
    array = np.empty((len(paths), *geometry.shape), np.float32)
    for channel, path in zip(array, paths, strict=True):
        values, file_geometry = _read(path)
        if file_geometry.shape != first.shape:
            raise VolumeError(
                f"{path}: shape {file_geometry.shape} (z, y, x) differs from"
                f" {first.shape} of {paths[0]}; the channels of a case must share one grid"
            )
        _warn_if_displaced(path, file_geometry, paths[0], first)
        channel[...] = reorientation.apply(values)
        if not np.isfinite(channel.sum(dtype=np.float64)):
            broken = ~np.isfinite(channel)
            _log.warning("%s: %d NaN or infinite voxels set to 0", path, int(broken.sum()))
            channel[broken] = 0.0
    return ImageVolume(array, geometry, first, reorientation)


def read_geometry(path: Path) -> Geometry:
    """Read a file's grid from its header alone; raise VolumeError as `read_image` does."""
    return _file_geometry(path, _open(path))


def read_label(path: Path, like: ImageVolume) -> NDArray[np.generic]:
    """Read a label file as (z, y, x) on the canonical grid of its image, in its own number type.

    Each file is turned by its own header. Where that does not put the label on the image's grid,
    voxels are paired as they are stored, with a warning: label files with a careless header are
    common, and nnU-Net pairs them so.

    Raises:
        VolumeError: unreadable as an image, or its shape is not the image's.
    """
    values, file_geometry = _read(path)
    reorientation = canonical_reorientation(file_geometry)
    canonical = reorientation.apply_to_geometry(file_geometry)
    if canonical.shape == like.geometry.shape and not _displacement(canonical, like.geometry):
        return np.ascontiguousarray(reorientation.apply(values))
    if file_geometry.shape != like.file_geometry.shape:
        raise VolumeError(
            f"{path}: label shape {file_geometry.shape} differs from the image's"
            f" {like.file_geometry.shape} (z, y, x); export the label on the image's grid"
        )
    _warn_if_displaced(path, file_geometry, "its image", like.file_geometry)
    return np.ascontiguousarray(like.reorientation.apply(values))


def write_label(
    path: Path, labels_ZYX: NDArray[np.integer], like: tuple[Geometry, Reorientation]
) -> None:
    """Write a canonical label map on a file's own grid; the file appears complete or not at all.

    Args:
        path: the file; its suffix decides the format (.nii.gz).
        labels_ZYX: canonical, uncropped.
        like: `file_geometry` and `reorientation` of the image.
    """
    geometry, reorientation = like
    image = sitk.GetImageFromArray(np.ascontiguousarray(reorientation.invert(labels_ZYX)))
    image.SetSpacing(geometry.spacing[::-1])
    image.SetOrigin(geometry.origin)
    image.SetDirection([value for row in geometry.direction for value in row])
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}{path.name}")
    try:
        sitk.WriteImage(image, str(temporary), useCompression=True)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path) -> tuple[NDArray, Geometry]:
    reader = _open(path)
    geometry = _file_geometry(path, reader)
    _check_complete(path, reader)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    return sitk.GetArrayFromImage(image).reshape(geometry.shape), geometry


def _open(path: Path) -> sitk.ImageFileReader:
    if not path.is_file():
        raise VolumeError(f"{path}: no such file; check the download")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    return reader


def _unreadable(path: Path, error: RuntimeError) -> VolumeError:
    reason = str(error).strip().splitlines()[-1]
    if "orthonormal" in str(error):
        return VolumeError(
            f"{path}: the axes in its header are not at right angles, so SimpleITK refuses it;"
            f" correct the header (sform and qform) or resample the image onto a right-angled grid"
        )
    return VolumeError(
        f"{path}: unreadable, damaged or not a medical image file"
        f" ({path.stat().st_size} bytes; {reason}); download or export it again"
    )


def _file_geometry(path: Path, reader: sitk.ImageFileReader) -> Geometry:
    size = reader.GetSize()
    if reader.GetNumberOfComponents() != 1:
        raise VolumeError(
            f"{path}: {reader.GetNumberOfComponents()} values per voxel (a colour or vector"
            " image); give one file per channel with one value per voxel"
        )
    if len(size) < 3 or any(extra != 1 for extra in size[3:]):
        raise VolumeError(
            f"{path}: size {size} (x, y, z, ...) is not one 3-D volume; give one file per channel"
        )
    if min(size) < 1:
        raise VolumeError(f"{path}: size {size} (x, y, z) has an empty axis; export it again")
    columns = np.asarray(reader.GetDirection()).reshape(len(size), len(size))[:3, :3]
    spacing, origin = reader.GetSpacing(), reader.GetOrigin()
    return Geometry(
        shape=(size[2], size[1], size[0]),
        spacing=(spacing[2], spacing[1], spacing[0]),
        origin=(origin[0], origin[1], origin[2]),
        direction=tuple(tuple(float(v) for v in row) for row in columns),  # type: ignore[arg-type]
    )


def _check_complete(path: Path, reader: sitk.ImageFileReader) -> None:
    """Refuse a truncated NIfTI file, which SimpleITK would fill up without a word."""
    if not reader.HasMetaDataKey("vox_offset"):
        return
    voxels = int(np.prod(reader.GetSize()))
    expected = int(float(reader.GetMetaData("vox_offset")))
    expected += voxels * int(reader.GetMetaData("bitpix")) // 8
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(-4, os.SEEK_END)
        stated = int.from_bytes(file.read(4), "little")
    if packed and stated == expected % 2**32:  # gzip ends with the size of its content
        return
    found = _unpacked_bytes(path) if packed else path.stat().st_size
    if found < expected:
        raise VolumeError(
            f"{path}: truncated, {found} of {expected} bytes; download or export it again"
        )


def _unpacked_bytes(path: Path) -> int:
    """Count what a gzip file holds up to its end or to where it breaks off."""
    total = 0
    try:
        with gzip.open(path) as stream:
            while block := stream.read1(1 << 16):
                total += len(block)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        pass
    return total


def _displacement(one: Geometry, other: Geometry) -> str:
    """Describe how two grids of one shape differ beyond tolerance; empty where they agree."""
    parts = []
    for name, tolerance in (
        ("spacing", POSITION_TOLERANCE_MM),
        ("origin", POSITION_TOLERANCE_MM),
        ("direction", DIRECTION_TOLERANCE),
    ):
        first, second = getattr(one, name), getattr(other, name)
        if np.abs(np.subtract(first, second)).max() > tolerance:
            parts.append(f"{name} {_rounded(first)} against {_rounded(second)}")
    return ", ".join(parts)


def _rounded(values: object) -> object:
    return np.round(np.asarray(values, float), 4).tolist()


def _warn_if_displaced(path: Path, grid: Geometry, name: Path | str, other: Geometry) -> None:
    difference = _displacement(grid, other)
    if difference:
        _log.warning(
            "%s: its header differs from %s: %s; voxels are paired", path, name, difference
        )
