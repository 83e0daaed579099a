"""Medical image files: read into canonical orientation, written back in the file's own.

Arrays are (z, y, x) or (c, z, y, x). What can't be read right is refused with the file's name and
a remedy, never guessed.
"""

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from tsfm_pipeline.imaging.file_volume import (
    FileVolume,
    VolumeError,
    grid_difference,
    read_bytes,
)
from tsfm_pipeline.imaging.geometry import (
    Geometry,
    Reorientation,
    canonical_reorientation,
)
from tsfm_pipeline.imaging.itk_file import itk_geometry, read_itk
from tsfm_pipeline.imaging.nifti import decode_nifti, is_nifti, nifti_geometry
from tsfm_pipeline.imaging.nifti_writing import write_nifti

__all__ = [
    "ImageVolume",
    "LabelVolume",
    "Load",
    "VolumeError",
    "read_geometry",
    "read_image",
    "read_label",
    "read_label_volume",
    "write_label",
]

Load = Callable[[Path], bytes]
"""Gives the bytes of a file, for a caller that digests the very bytes that are decoded."""

NEARLY = 0.1
"""Of an image's diagonal: by a header that puts a turned file this near, it is no careless one."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageVolume:
    """An image in canonical orientation, and the way back to its file.

    Attributes:
        array: (c, z, y, x) float32, canonical; NaN and infinities replaced by 0.
        geometry: the canonical grid.
        file_geometry: the grid as the file states it.
        reorientation: turns the file's array into the canonical one.
        repairs: what was wrong with a file and how it was put right, each with the file's name.
    """

    array: NDArray[np.float32]
    geometry: Geometry
    file_geometry: Geometry
    reorientation: Reorientation
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelVolume:
    """A label file on the canonical grid of its image.

    Attributes:
        array: (z, y, x) in the file's number type.
        repairs: how the file was brought onto that grid, where its header does not say it so.
    """

    array: NDArray[np.generic]
    repairs: tuple[str, ...] = ()


def read_image(paths: Sequence[Path], load: Load = read_bytes) -> ImageVolume:
    """Read one file per channel into one canonical volume; each repair is logged, too.

    Args:
        paths: the files, in channel order.
        load: gives the bytes of a NIfTI file.

    Raises:
        VolumeError: a file is missing, damaged, truncated, no 3-D scalar image, of another shape
            than the first channel, or with a grid that can't be used or is nearly the first's.
    """
    stored = _read(paths[0], load)
    first = stored.geometry
    reorientation = canonical_reorientation(first)
    geometry = reorientation.apply_to_geometry(first)
    array = np.empty((len(paths), *geometry.shape), np.float32)
    repairs: list[str] = []
    for number, path in enumerate(paths):
        if number:
            stored = _read(path, load)
        turn, notes = _turn(path, stored.geometry, paths[0], first, reorientation)
        if turn is None:
            raise VolumeError(
                f"{path}: shape {stored.geometry.shape} (z, y, x) differs from"
                f" {first.shape} of {paths[0]}; the channels of a case must share one grid"
            )
        repairs += (f"{path}: {repair}" for repair in (*stored.repairs, *notes))
        channel = array[number]
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, and then 0
            channel[...] = turn.apply(stored.values)
        if not np.isfinite(channel.sum(dtype=np.float64)):
            broken = ~np.isfinite(channel)
            repairs.append(f"{path}: {int(broken.sum())} NaN or infinite voxels set to 0")
            channel[broken] = 0.0
    for repair in repairs:
        _log.warning("%s", repair)
    return ImageVolume(array, geometry, first, reorientation, tuple(repairs))


def read_geometry(path: Path) -> Geometry:
    """Read a file's grid from its header alone; raise VolumeError as `read_image` does."""
    return nifti_geometry(path) if is_nifti(path) else itk_geometry(path)


def read_label(path: Path, like: ImageVolume) -> NDArray[np.generic]:
    """Read a label file as `read_label_volume` does; repairs are logged."""
    label = read_label_volume(path, like)
    for repair in label.repairs:
        _log.warning("%s: %s", path, repair)
    return label.array


def read_label_volume(path: Path, like: ImageVolume, load: Load = read_bytes) -> LabelVolume:
    """Read a label file as (z, y, x) on the canonical grid of its image, in its own number type.

    Each file is turned by its own header. Where that does not put the label within half a voxel of
    the image's grid, voxels are paired as they are stored, which is recorded: label files with a
    careless header are common, and nnU-Net pairs them so. A label whose header needs the same
    repair as its image's comes to lie on the image, so nothing is recorded for it.

    Raises:
        VolumeError: unreadable as an image, its shape is not the image's, or it has other axes and
            its header is nearly right: its voxels, paired as they are stored, would be mirrored.
    """
    stored = _read(path, load)
    turn, notes = _turn(path, stored.geometry, "its image", like.file_geometry, like.reorientation)
    if turn is None:
        raise VolumeError(
            f"{path}: label shape {stored.geometry.shape} differs from the image's"
            f" {like.file_geometry.shape} (z, y, x); export the label on the image's grid"
        )
    return LabelVolume(np.ascontiguousarray(turn.apply(stored.values)), notes)


def write_label(
    path: Path, labels_ZYX: NDArray[np.integer], like: tuple[Geometry, Reorientation]
) -> None:
    """Write a canonical label map on a file's own grid; the file appears complete or not at all.

    Args:
        path: the file; its suffix decides the format (.nii.gz).
        labels_ZYX: canonical, uncropped.
        like: `file_geometry` and `reorientation` of the image.

    Raises:
        OSError: it can't be written.
    """
    geometry, reorientation = like
    image = sitk.GetImageFromArray(np.ascontiguousarray(reorientation.invert(labels_ZYX)))
    image.SetSpacing(geometry.spacing[::-1])
    image.SetOrigin(geometry.origin)
    image.SetDirection([value for row in geometry.direction for value in row])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, image)


def _read(path: Path, load: Load) -> FileVolume:
    return decode_nifti(load(path), path) if is_nifti(path) else read_itk(path)


def _turn(
    path: Path, grid: Geometry, name: Path | str, other: Geometry, other_turn: Reorientation
) -> tuple[Reorientation | None, tuple[str, ...]]:
    """Find what puts a file's voxels onto the canonical grid of another file.

    It is the file's own reorientation where its grid then agrees with the other's within the
    tolerances or half a voxel, else the other's where they have one shape; None where they have
    not.

    Returns:
        The reorientation, and what the headers disagree about.

    Raises:
        VolumeError: the axes differ and the file's own reorientation puts it near the other.
    """
    own = canonical_reorientation(grid)
    canonical, wanted = own.apply_to_geometry(grid), other_turn.apply_to_geometry(other)
    if own != other_turn and canonical.shape == wanted.shape:
        difference = grid_difference(canonical, wanted)
        apart = _corners_apart(canonical, wanted)
        if not difference or apart < 0.5 * min(wanted.spacing):
            return own, (f"its header differs from {name}: {difference}",) if difference else ()
        if apart < NEARLY * np.linalg.norm(np.multiply(wanted.shape, wanted.spacing)):
            raise VolumeError(
                f"{path}: its axes are stored in another order or direction than those of {name},"
                f" and turned by its header it lies up to {apart:.2f} mm beside it: {difference};"
                " correct its header, or export it on that grid"
            )
    if grid.shape != other.shape:
        return None, ()
    difference = grid_difference(grid, other)
    if not difference:
        return other_turn, ()
    return other_turn, (f"its header differs from {name}: {difference}; voxels are paired",)


def _corners_apart(one: Geometry, other: Geometry) -> float:
    """Return how far in mm a corner of a grid lies from that of another of its shape, at most."""
    corners_zyx = np.array(list(itertools.product(*((0, side - 1) for side in one.shape))))
    apart = one.index_to_world(corners_zyx) - other.index_to_world(corners_zyx)
    return float(np.linalg.norm(apart, axis=1).max())
