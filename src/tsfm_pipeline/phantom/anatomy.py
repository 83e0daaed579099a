"""A patient: named structures of analytic solids, and what is at a world point.

The body frame is in toy proportions, mm, with x to the patient's left, y to the back and z to
the head (LPS), like world coordinates. A patient's own size, a smooth warp and the place on the
scanner's table lie between the body frame and the world.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tsfm_pipeline.phantom.shapes import Field, Point, Solid


@dataclass(frozen=True)
class Structure:
    """One thing in a body.

    Attributes:
        name: what it is made of, the key of its contrast; several structures may share it.
        parts: solids whose union it is.
        targets: names in the fused label table it may be annotated as, the narrowest first: a
            tumour of the right kidney is ("kidney_tumor", "kidney_right", "kidney"). A dataset
            that does not label the tumour sees the organ.
    """

    name: str
    parts: tuple[Solid, ...]
    targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wave:
    """One component of the warp: displacement `amplitude * sin(frequency . p + phase)`, mm."""

    amplitude: Point
    frequency: Point
    phase: float


@dataclass(frozen=True)
class Anatomy:
    """A patient.

    Attributes:
        structures: in painting order, later ones cover earlier ones.
        scale: the patient's size along x, y, z relative to the body frame.
        waves: the smooth warp of the body frame.
        position: world point (x, y, z) of the body frame's origin, in mm.
    """

    structures: tuple[Structure, ...]
    scale: Point = (1.0, 1.0, 1.0)
    waves: tuple[Wave, ...] = ()
    position: Point = (0.0, 0.0, 0.0)
    reach: float = field(init=False)

    def __post_init__(self) -> None:
        """Work out how far the warp can move a point, mm."""
        reach = sum(float(np.max(np.abs(wave.amplitude))) for wave in self.waves)
        object.__setattr__(self, "reach", reach)

    def to_body(self, x: Field, y: Field, z: Field) -> tuple[Field, Field, Field]:
        """Turn broadcastable world coordinates (mm) into warped body-frame coordinates."""
        u = (x - self.position[0]) / self.scale[0]
        v = (y - self.position[1]) / self.scale[1]
        w = (z - self.position[2]) / self.scale[2]
        moved = [u, v, w]
        for wave in self.waves:
            kx, ky, kz = wave.frequency
            swing = np.sin(kx * u + ky * v + kz * w + wave.phase)
            moved = [
                m + amplitude * swing for m, amplitude in zip(moved, wave.amplitude, strict=True)
            ]
        return moved[0], moved[1], moved[2]

    def structure_at(self, points_xyz: ArrayLike) -> NDArray[np.int16]:
        """Return the number of the structure at (N, 3) world points: 0 air, else index + 1."""
        points = np.asarray(points_xyz, dtype=float)
        u, v, w = self.to_body(points[:, 0], points[:, 1], points[:, 2])
        found = np.zeros(len(points), dtype=np.int16)
        for number, structure in enumerate(self.structures, start=1):
            for part in structure.parts:
                lower, upper = part.bounds
                near = np.flatnonzero(
                    (u >= lower[0]) & (u <= upper[0])
                    & (v >= lower[1]) & (v <= upper[1])
                    & (w >= lower[2]) & (w <= upper[2])
                )  # fmt: skip
                if near.size:
                    found[near[part.distance(u[near], v[near], w[near]) < 0]] = number
        return found

    def annotation(self, annotated: Collection[str]) -> tuple[str, ...]:
        """Return what a dataset that annotates these targets calls air and each structure.

        Item 0 is air, item i structure i; "" is background.
        """
        names = [""]
        for structure in self.structures:
            names.append(next((name for name in structure.targets if name in annotated), ""))
        return tuple(names)

    def targets_at(self, points_xyz: ArrayLike, annotated: Collection[str]) -> list[str]:
        """Return the true fused target at (N, 3) world points for a dataset ("" background)."""
        names = self.annotation(annotated)
        return [names[number] for number in self.structure_at(points_xyz)]


def random_waves(rng: np.random.Generator, amplitude: float) -> tuple[Wave, ...]:
    """Draw a smooth warp: two waves of 90 to 160 mm, displacing by up to `amplitude` mm each."""
    waves = []
    for _ in range(2):
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        frequency = direction * 2 * np.pi / rng.uniform(90, 160)
        shift = rng.uniform(-amplitude, amplitude, size=3)
        waves.append(
            Wave(
                amplitude=(float(shift[0]), float(shift[1]), float(shift[2])),
                frequency=(float(frequency[0]), float(frequency[1]), float(frequency[2])),
                phase=float(rng.uniform(0, 2 * np.pi)),
            )
        )
    return tuple(waves)
