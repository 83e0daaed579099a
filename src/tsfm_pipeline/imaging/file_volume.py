"""What every file format gives: voxels as they are stored, a checked grid, and what was repaired.

Arrays are (z, y, x); affines map voxel (x, y, z) to LPS world points in mm (x, y, z).
"""

import math
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tsfm_pipeline.imaging.geometry import Geometry

POSITION_TOLERANCE_MM = 1e-2
DIRECTION_TOLERANCE = 1e-3
LARGEST_SPACING_MM = 100.0
RIGHT_ANGLE_TOLERANCE = 1e-4
"""Cosine between two axes above which a repair is recorded; SimpleITK refuses from about 2e-4."""
LARGEST_REPAIRED_ANGLE = 1.0
"""Degrees off a right angle above which axes count as sheared (a tilted gantry: 10 to 25)."""


class VolumeError(ValueError):
    """An image or label file that can't be used as it is."""


@dataclass(frozen=True)
class FileVolume:
    """One file as it is stored.

    Attributes:
        values: (z, y, x) in the file's number type, rescaled where its header says so.
        geometry: its grid.
        repairs: what its header or voxels had wrong and how that was put right.
    """

    values: NDArray[np.generic]
    geometry: Geometry
    repairs: tuple[str, ...]


def volume_files(path: Path) -> list[Path]:
    """Return the files of a volume: of a MetaImage header (.mhd), that with its voxels, too.

    No file is opened: the voxels lie beside the header, as .raw or .zraw of the same name.
    """
    if path.suffix.lower() != ".mhd":
        return [path]
    return [path, *filter(Path.is_file, map(path.with_suffix, (".raw", ".zraw")))]


def special_kind(path: Path) -> str:
    """Say what a path is that is neither a file nor a folder; empty for these.

    Such a thing can hang whoever opens it (a pipe), or never end (a device).

    Raises:
        OSError: there is nothing, or it can't be looked at.
    """
    mode = path.stat().st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return ""
    if stat.S_ISFIFO(mode):
        return "a pipe"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def check_regular(path: Path) -> None:
    """Raise VolumeError for what must not be opened as a file; an OSError passes through."""
    if kind := special_kind(path):
        raise VolumeError(f"{path}: {kind}, not a file; put the file there, or remove it")


def read_bytes(path: Path) -> bytes:
    """Read a whole file; raise VolumeError, caused by an OSError, where that can't be done."""
    try:
        check_regular(path)
        return path.read_bytes()
    except OSError as error:
        raise unreachable(path, error) from error


def unreachable(path: Path, error: OSError) -> VolumeError:
    """Say that a file can't be opened or read."""
    if isinstance(error, FileNotFoundError):
        return VolumeError(f"{path}: no such file; check the download")
    return VolumeError(f"{path}: {error.strerror}; check the download and the file's permissions")


def check_shape(path: Path, size: Sequence[int]) -> tuple[int, int, int]:
    """Return the (x, y, z) voxels of a size (x, y, z, ...) whose further axes hold one volume.

    Raises:
        VolumeError: fewer than three axes, an empty one, or more than one volume.
    """
    if len(size) < 3 or any(extra > 1 for extra in size[3:]):
        raise VolumeError(
            f"{path}: size {tuple(size)} (x, y, z, ...) is not one 3-D volume; give one file per"
            " channel"
        )
    if min(size) < 1:
        raise VolumeError(
            f"{path}: size {tuple(size)} (x, y, z) has an empty axis; export it again"
        )
    return size[0], size[1], size[2]


def smallest_plane(size: tuple[int, int, int]) -> int:
    """Return the voxels of the smallest plane across an axis of a size."""
    return math.prod(size) // max(size)


def surplus_note(
    path: Path, surplus: int, size: tuple[int, int, int], voxel_bytes: int
) -> tuple[str, ...]:
    """Note some bytes behind the last voxel, as writers that pad leave; refuse a plane of them.

    With as many as one more plane has, along whichever axis, the size in the header may be that of
    another image: then all voxels lie in the wrong place, or a part of the scan is left out.

    Args:
        path: for the message.
        surplus: bytes, unpacked, behind those of the voxels.
        size: voxels (x, y, z) that the header states.
        voxel_bytes: of one voxel.

    Raises:
        VolumeError: there are as many as in a plane.
    """
    if surplus <= 0:
        return ()
    if surplus >= smallest_plane(size) * voxel_bytes:
        raise VolumeError(
            f"{path}: its header claims {size} voxels (x, y, z), but at least {surplus} bytes"
            " follow them, enough for another plane of voxels; correct the size in the header, or"
            " export it again"
        )
    return (f"{surplus} bytes behind the last voxel left out",)


def check_spacing(path: Path, spacing_xyz: ArrayLike) -> None:
    """Raise VolumeError unless a spacing in mm is one that voxels can have."""
    spacing = np.asarray(spacing_xyz, float)
    if not ((spacing > 0) & (spacing <= LARGEST_SPACING_MM)).all():
        raise VolumeError(
            f"{path}: spacing {_rounded(spacing)} mm (x, y, z) is not above 0 and at most"
            f" {LARGEST_SPACING_MM:g}; correct the header or leave the case out"
        )


def grid_of(
    path: Path,
    size: Sequence[int],
    affine_lps: NDArray[np.float64],
    stated: ArrayLike | None = None,
) -> tuple[Geometry, tuple[str, ...]]:
    """Build the grid of an affine, with axes made right-angled by the nearest rotation.

    The nearest rotation is the orthogonal factor of the polar decomposition of the direction
    cosines. It corrects headers written with few digits. Shear is never dropped: it is refused.

    Args:
        path: for messages.
        size: voxels (x, y, z).
        affine_lps: 4x4.
        stated: spacing in mm (x, y, z) that the header names besides; taken where it agrees with
            the affine, of which it then is the less rounded form.

    Returns:
        The grid, and a text for each repair.

    Raises:
        VolumeError: a spacing that is no size of a voxel, or sheared axes.
    """
    columns = affine_lps[:3, :3]
    spacing = np.linalg.norm(columns, axis=0)
    check_spacing(path, spacing)
    if not np.isfinite(affine_lps).all():
        raise VolumeError(
            f"{path}: origin {_rounded(affine_lps[:3, 3])} in its header; correct the header or"
            " leave the case out"
        )
    if stated is not None and np.allclose(stated, spacing, rtol=1e-4, atol=0):
        spacing = np.asarray(stated, float)
    cosines = columns / np.linalg.norm(columns, axis=0)
    left, _, right = np.linalg.svd(cosines)
    overlap = np.abs(cosines.T @ cosines - np.diag((cosines**2).sum(axis=0))).max()
    degrees = float(np.degrees(np.arcsin(min(1.0, overlap))))
    if degrees > LARGEST_REPAIRED_ANGLE:
        raise VolumeError(
            f"{path}: sheared, two axes of its header are {degrees:.1f} degrees off a right angle"
            " (a tilted gantry, or a wrong sform); resample it onto a right-angled grid, or"
            " correct the header"
        )
    repairs: tuple[str, ...] = ()
    if overlap > RIGHT_ANGLE_TOLERANCE:
        repairs = (f"axes up to {degrees:.2g} degrees off a right angle made right-angled",)
    row_x, row_y, row_z = (tuple(float(value) for value in row) for row in left @ right)
    sx, sy, sz = (float(value) for value in spacing)
    ox, oy, oz = (float(value) for value in affine_lps[:3, 3])
    x, y, z = size
    return (
        Geometry(
            shape=(z, y, x),
            spacing=(sz, sy, sx),
            origin=(ox, oy, oz),
            direction=(row_x, row_y, row_z),  # type: ignore[arg-type]
        ),
        repairs,
    )


def grid_difference(one: Geometry, other: Geometry) -> str:
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
