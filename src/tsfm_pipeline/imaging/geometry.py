"""Where voxels are: grids in world coordinates, and the canonical orientation.

Arrays are (z, y, x); shapes and spacings in mm follow that order. World points are (x, y, z) in
mm in ITK's LPS convention (x to the patient's left, y to the back, z to the head). A canonical
grid's axes point as near as possible to +z, +y, +x.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import EllipsisType

import numpy as np
from numpy.typing import ArrayLike, NDArray

Triple = tuple[int, int, int]
TripleFloat = tuple[float, float, float]
Matrix = tuple[TripleFloat, TripleFloat, TripleFloat]


@dataclass(frozen=True)
class Geometry:
    """The grid of one volume.

    Attributes:
        shape: voxels along (z, y, x).
        spacing: mm between voxel centres along (z, y, x).
        origin: world point (x, y, z) of voxel (0, 0, 0), in mm.
        direction: 3x3; column j is the world direction of ITK's index axis j (x, y, z).
    """

    shape: Triple
    spacing: TripleFloat
    origin: TripleFloat
    direction: Matrix

    def index_to_world(self, points_zyx: ArrayLike) -> NDArray[np.float64]:
        """Map (..., 3) voxel indices (z, y, x) to world points (x, y, z) in mm."""
        index_xyz = np.asarray(points_zyx, dtype=float)[..., ::-1]
        scaled = index_xyz * np.asarray(self.spacing)[::-1]
        return np.asarray(scaled @ np.asarray(self.direction).T + np.asarray(self.origin))

    def world_to_index(self, points_xyz: ArrayLike) -> NDArray[np.float64]:
        """Map (..., 3) world points (x, y, z) in mm to fractional voxel indices (z, y, x)."""
        offset = np.asarray(points_xyz, dtype=float) - np.asarray(self.origin)
        index_xyz = offset @ np.linalg.inv(np.asarray(self.direction)).T
        return np.asarray((index_xyz / np.asarray(self.spacing)[::-1])[..., ::-1])

    def cropped(self, lower: Triple, shape: Triple) -> "Geometry":
        """Return the grid of the box that starts at voxel `lower` (z, y, x)."""
        return replace(self, shape=shape, origin=_triple(self.index_to_world(lower)))

    def resampled(self, shape: Triple) -> "Geometry":
        """Return the grid of another shape over the same physical extent (edges kept)."""
        old, new = np.asarray(self.shape, float), np.asarray(shape, float)
        spacing = np.asarray(self.spacing) * old / new
        first_centre = 0.5 * old / new - 0.5
        return Geometry(
            shape=shape,
            spacing=_triple(spacing),
            origin=_triple(self.index_to_world(first_centre)),
            direction=self.direction,
        )


def _triple(values: Iterable[float]) -> TripleFloat:
    first, second, third = (float(value) for value in values)
    return first, second, third


@dataclass(frozen=True)
class Reorientation:
    """Axis permutation and flips that turn a file's array into the canonical one.

    Attributes:
        axes: source array axis of each canonical axis (z, y, x).
        flips: whether each canonical axis runs against its source axis.
    """

    axes: Triple
    flips: tuple[bool, bool, bool]

    def apply(self, array: NDArray) -> NDArray:
        """Turn (..., z, y, x) of the file into the canonical array (a view)."""
        lead = array.ndim - 3
        moved = array.transpose(*range(lead), *(lead + axis for axis in self.axes))
        return moved[self._flip()]

    def invert(self, array: NDArray) -> NDArray:
        """Turn a canonical (..., z, y, x) array back into the file's orientation (a view)."""
        lead = array.ndim - 3
        back = (lead + int(axis) for axis in np.argsort(self.axes))
        return array[self._flip()].transpose(*range(lead), *back)

    def _flip(self) -> tuple[EllipsisType | slice, ...]:
        return (..., *(slice(None, None, -1 if flip else 1) for flip in self.flips))

    def apply_to_geometry(self, geometry: Geometry) -> Geometry:
        """Return the canonical grid of a file's grid."""
        corner = np.zeros(3)
        for axis, flip in zip(self.axes, self.flips, strict=True):
            if flip:
                corner[axis] = geometry.shape[axis] - 1
        columns_zyx = np.asarray(geometry.direction)[:, ::-1]
        new_columns_zyx = columns_zyx[:, list(self.axes)] * np.where(self.flips, -1.0, 1.0)
        row_x, row_y, row_z = new_columns_zyx[:, ::-1]
        z, y, x = self.axes
        return Geometry(
            shape=(geometry.shape[z], geometry.shape[y], geometry.shape[x]),
            spacing=(geometry.spacing[z], geometry.spacing[y], geometry.spacing[x]),
            origin=_triple(geometry.index_to_world(corner)),
            direction=(_triple(row_x), _triple(row_y), _triple(row_z)),
        )


def canonical_reorientation(geometry: Geometry) -> Reorientation:
    """Find the permutation and flips that bring a grid nearest to +z, +y, +x.

    The assignment takes the largest remaining direction cosine first, so an oblique grid keeps
    one axis per world axis.
    """
    columns_zyx = np.asarray(geometry.direction)[:, ::-1]
    cosines = columns_zyx[::-1, :]  # rows: world z, y, x; columns: array axes z, y, x
    remaining = np.abs(cosines)
    axes = [0, 0, 0]
    flips = [False, False, False]
    for _ in range(3):
        world, axis = np.unravel_index(int(np.argmax(remaining)), (3, 3))
        axes[world] = int(axis)
        flips[world] = bool(cosines[world, axis] < 0)
        remaining[world, :] = -1.0
        remaining[:, axis] = -1.0
    return Reorientation((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]))
