"""How organs differ between patients: place, size, tilt and course."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from tsfm_pipeline.phantom.shapes import Ellipsoid, Point, Solid, as_point, tube


class Variation:
    """Draws one patient's organs around their usual place and shape.

    Attributes:
        rng: source of every difference.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def egg(
        self, centre: Point, semi_axes: Point, angles: Point = (0.0, 0.0, 0.0), shift: float = 3.0
    ) -> Ellipsoid:
        """Return an ellipsoid shifted by up to `shift` mm, +-9 % in size, +-6 degrees in tilt."""
        rng = self.rng
        return Ellipsoid(
            centre=as_point(np.add(centre, rng.uniform(-shift, shift, 3))),
            semi_axes=as_point(np.multiply(semi_axes, rng.uniform(0.91, 1.09, 3))),
            angles=as_point(np.add(angles, rng.uniform(-6, 6, 3))),
        )

    def hose(
        self, points: ArrayLike, radii: float | Sequence[float], wander: float = 2.5
    ) -> tuple[Solid, ...]:
        """Return a tube whose way points wander by up to `wander` mm, +-8 % thick."""
        way = np.asarray(points, dtype=float)
        way = way + self.rng.uniform(-wander, wander, way.shape)
        thickness = self.rng.uniform(0.92, 1.08)
        return tube(way, (np.broadcast_to(radii, (len(way),)) * thickness).tolist())
