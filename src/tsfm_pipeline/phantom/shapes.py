"""Analytic solids: signed distances in mm, negative inside.

Every solid takes broadcastable coordinates x, y, z (body frame, mm) and has a bounding box, so
that painting a grid only visits the voxels near it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

Field = NDArray[np.floating]
Point = tuple[float, float, float]
FAR = 1.0e4
"""mm; the bound of an unbounded solid."""


class Solid(Protocol):
    """What a part of a structure can do."""

    @property
    def bounds(self) -> tuple[Point, Point]:
        """Lower and upper corner (x, y, z) of a box around the solid, in mm."""
        ...

    def distance(self, x: Field, y: Field, z: Field) -> Field:
        """Signed distance to the surface in mm (approximate), negative inside."""
        ...


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid, or an elliptic cylinder where a semi-axis is FAR.

    Attributes:
        centre: world-axis coordinates (x, y, z), mm.
        semi_axes: half lengths along the turned axes, mm.
        angles: turns about x, y, z in degrees, applied in that order.
    """

    centre: Point
    semi_axes: Point
    angles: Point = (0.0, 0.0, 0.0)

    @cached_property
    def rotation(self) -> NDArray[np.float64]:
        """3x3 matrix whose columns are the turned axes."""
        a, b, c = np.deg2rad(self.angles)
        about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
        about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
        about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
        return np.asarray(about_z @ about_y @ about_x)

    @cached_property
    def bounds(self) -> tuple[Point, Point]:
        """Axis-aligned box of the turned ellipsoid."""
        half = np.sqrt(((self.rotation * np.asarray(self.semi_axes)) ** 2).sum(axis=1))
        return as_point(np.asarray(self.centre) - half), as_point(np.asarray(self.centre) + half)

    def distance(self, x: Field, y: Field, z: Field) -> Field:
        """First-order distance |q/r| (|q/r| - 1) / |q/r^2| with q in the turned frame."""
        offsets = (x - self.centre[0], y - self.centre[1], z - self.centre[2])
        near: Field = np.zeros((), dtype=x.dtype)
        slope: Field = np.zeros((), dtype=x.dtype)
        rotation = self.rotation.astype(x.dtype)
        for axis, radius in enumerate(self.semi_axes):
            if np.any(self.angles):
                along = sum(rotation[k, axis] * offsets[k] for k in range(3))
            else:
                along = offsets[axis]
            scaled = along * (1.0 / radius)
            near = near + scaled**2
            slope = slope + (scaled * (1.0 / radius)) ** 2
        root = np.sqrt(near)
        return np.where(
            slope > 0, root * (root - 1) / np.sqrt(slope + 1e-12), -min(self.semi_axes)
        ).astype(x.dtype, copy=False)


@dataclass(frozen=True)
class Capsule:
    """A straight piece of tube whose radius changes linearly; lengths in mm."""

    start: Point
    end: Point
    start_radius: float
    end_radius: float

    @cached_property
    def bounds(self) -> tuple[Point, Point]:
        """Box of both end balls."""
        ends = np.array([self.start, self.end])
        radii = np.array([[self.start_radius], [self.end_radius]])
        return as_point((ends - radii).min(axis=0)), as_point((ends + radii).max(axis=0))

    def distance(self, x: Field, y: Field, z: Field) -> Field:
        """Distance to the axis minus the radius there."""
        axis = np.subtract(self.end, self.start)
        length = float(axis @ axis)
        dx, dy, dz = x - self.start[0], y - self.start[1], z - self.start[2]
        along = np.clip((dx * axis[0] + dy * axis[1] + dz * axis[2]) / length, 0.0, 1.0)
        square = (dx - along * axis[0]) ** 2 + (dy - along * axis[1]) ** 2
        square = square + (dz - along * axis[2]) ** 2
        radius = self.start_radius + along * (self.end_radius - self.start_radius)
        return np.asarray(np.sqrt(square) - radius)


@dataclass(frozen=True)
class HalfSpace:
    """Everything on the far side of a plane from its outward unit normal."""

    point: Point
    normal: Point

    @cached_property
    def bounds(self) -> tuple[Point, Point]:
        """Unbounded."""
        return (-FAR, -FAR, -FAR), (FAR, FAR, FAR)

    def distance(self, x: Field, y: Field, z: Field) -> Field:
        """Signed distance along the normal."""
        return np.asarray(
            (x - self.point[0]) * self.normal[0]
            + (y - self.point[1]) * self.normal[1]
            + (z - self.point[2]) * self.normal[2]
        )


@dataclass(frozen=True)
class Common:
    """The part that several solids share (a lobe, a lesion cut at its organ's surface)."""

    solids: tuple[Solid, ...]

    @cached_property
    def bounds(self) -> tuple[Point, Point]:
        """Overlap of the boxes."""
        lower = np.max([solid.bounds[0] for solid in self.solids], axis=0)
        upper = np.min([solid.bounds[1] for solid in self.solids], axis=0)
        return as_point(lower), as_point(upper)

    def distance(self, x: Field, y: Field, z: Field) -> Field:
        """Largest of the distances."""
        result = self.solids[0].distance(x, y, z)
        for solid in self.solids[1:]:
            result = np.maximum(result, solid.distance(x, y, z))
        return result


@dataclass(frozen=True)
class Folded:
    """A solid's inside below a wavy depth: white matter under the folds of the cortex.

    Attributes:
        solid: the outer solid.
        depth: mean depth of the new surface below the old one, mm.
        amplitude: height of the waves, mm.
        wavelength: length of the waves, mm.
    """

    solid: Solid
    depth: float
    amplitude: float
    wavelength: float

    @cached_property
    def bounds(self) -> tuple[Point, Point]:
        """Box of the outer solid."""
        return self.solid.bounds

    def distance(self, x: Field, y: Field, z: Field) -> Field:
        """Outer distance plus depth plus a product-free sum of three waves."""
        k = 2 * np.pi / self.wavelength
        waves = np.sin(k * (x + 0.6 * y)) + np.sin(k * (y - 0.5 * z)) + np.sin(k * (z + 0.7 * x))
        return np.asarray(self.solid.distance(x, y, z) + self.depth + (self.amplitude / 2) * waves)


def tube(points: ArrayLike, radii: float | Sequence[float], pieces: int = 4) -> tuple[Solid, ...]:
    """Capsules along a cubic spline through `points` (n, 3) in mm.

    Args:
        points: way points (x, y, z).
        radii: one radius, or one per way point, in mm.
        pieces: capsules between neighbouring way points.
    """
    way = np.asarray(points, dtype=float)
    radius = np.broadcast_to(np.asarray(radii, dtype=float), (len(way),))
    knots = np.arange(len(way))
    fine = np.linspace(0, len(way) - 1, pieces * (len(way) - 1) + 1)
    path = CubicSpline(knots, way)(fine)
    widths = np.interp(fine, knots, radius)
    return tuple(
        Capsule(as_point(path[i]), as_point(path[i + 1]), float(widths[i]), float(widths[i + 1]))
        for i in range(len(fine) - 1)
    )


def as_point(values: ArrayLike) -> Point:
    """Three plain floats."""
    x, y, z = np.asarray(values, dtype=float).tolist()
    return (x, y, z)
