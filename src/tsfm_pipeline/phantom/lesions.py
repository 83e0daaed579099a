"""Lesions: masses of varied size and place inside the organs of a patient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsfm_pipeline.phantom.anatomy import Anatomy, Structure
from tsfm_pipeline.phantom.shapes import Common, Ellipsoid, Solid, as_point


@dataclass(frozen=True)
class LesionKind:
    """How one kind of lesion grows.

    Attributes:
        hosts: structures it may start in.
        radius: range of its mean radius, mm.
        depth: how far below its host's surface the centre lies at least, as a part of the radius.
        inside: whether it is cut at its host's surface.
    """

    hosts: tuple[str, ...]
    radius: tuple[float, float]
    depth: float
    inside: bool = False


LUNG_LOBES = (
    "lung_upper_lobe_left",
    "lung_lower_lobe_left",
    "lung_upper_lobe_right",
    "lung_middle_lobe_right",
    "lung_lower_lobe_right",
)
KINDS: Mapping[str, LesionKind] = {
    "kidney_cyst": LesionKind(("kidney_right", "kidney_left"), (9, 12), 0.2),
    "kidney_tumor": LesionKind(("kidney_right", "kidney_left"), (12, 18), 0.2),
    "liver_tumor": LesionKind(("liver",), (10, 22), 0.6, inside=True),
    "lung_tumor": LesionKind(LUNG_LOBES, (10, 19), 0.5),
    "pancreas_tumor": LesionKind(("pancreas",), (11, 16), 0.5),
    "colon_tumor": LesionKind(("colon",), (12, 18), 0.4),
    "breast_tumor": LesionKind(("breast_gland",), (10, 17), 0.3),
}


def add_lesions(
    anatomy: Anatomy, counts: Mapping[str, int], rng: np.random.Generator
) -> tuple[Structure, ...]:
    """Return the patient's structures with lesions painted last.

    Args:
        anatomy: patient without warp, size and position (body frame = world).
        counts: lesions to place per kind of `KINDS`.
        rng: source of size and place.
    """
    grown = list(anatomy.structures)
    for name, kind in KINDS.items():
        for _ in range(counts.get(name, 0)):
            grown.append(_lesion(name, kind, anatomy, rng))
    return tuple(grown)


def _lesion(name: str, kind: LesionKind, anatomy: Anatomy, rng: np.random.Generator) -> Structure:
    numbers = [
        number
        for number, structure in enumerate(anatomy.structures, start=1)
        if structure.name in kind.hosts
    ]
    number = int(rng.choice(numbers))
    host = anatomy.structures[number - 1]
    radius = rng.uniform(*kind.radius)
    centre = _place(anatomy, number, kind.depth * radius, rng)
    body = Ellipsoid(
        as_point(centre),
        as_point(radius * rng.uniform(0.85, 1.15, 3)),
        as_point(rng.uniform(-40, 40, 3)),
    )
    bulge = Ellipsoid(
        as_point(centre + rng.normal(size=3) * 0.35 * radius),
        as_point(radius * rng.uniform(0.6, 0.8, 3)),
    )
    parts: Sequence[Solid] = (body, bulge)
    if kind.inside:
        parts = tuple(Common((part, solid)) for part in parts for solid in host.parts)
    return Structure(name, tuple(parts), (name, *host.targets))


def _place(
    anatomy: Anatomy, number: int, depth: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw a point that shows structure `number` and lies `depth` mm below its surface.

    Where the structure is thinner than that, the deepest of the drawn points is taken.
    """
    parts = anatomy.structures[number - 1].parts
    points = np.empty((96, 3))
    for row, part in enumerate(rng.integers(len(parts), size=len(points))):
        points[row] = rng.uniform(*parts[part].bounds)
    seen = anatomy.structure_at(points) == number
    points = points[seen] if seen.any() else points
    surface = np.min([part.distance(*points.T) for part in parts], axis=0)
    deep = np.flatnonzero(surface <= -depth)
    row = int(deep[0]) if deep.size else int(np.argmin(surface))
    return np.asarray(points[row])
