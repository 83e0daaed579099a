"""From a planned case to a patient on a scanner's table: anatomy and file grid, by seed."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from tsfm_pipeline.imaging.geometry import Geometry
from tsfm_pipeline.phantom.anatomy import Anatomy, random_waves
from tsfm_pipeline.phantom.head import build_head
from tsfm_pipeline.phantom.lesions import add_lesions
from tsfm_pipeline.phantom.plan import PhantomCase, View
from tsfm_pipeline.phantom.shapes import as_point
from tsfm_pipeline.phantom.torso import build_torso

_WORLD_AXIS = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
"""Axis code -> LPS world axis and sign."""


@dataclass(frozen=True)
class ScannedPatient:
    """A patient and the grid of the file, both in world coordinates (LPS, mm).

    Attributes:
        anatomy: what is where.
        geometry: the file's own grid, in the file's orientation.
        gain: unit of an MR image.
        seed: number from which everything about the case follows.
    """

    anatomy: Anatomy
    geometry: Geometry
    gain: float
    seed: int


def scan_patient(case: PhantomCase, seed: int, spacing_scale: float) -> ScannedPatient:
    """Draw the patient and the grid of a case.

    Args:
        case: what is planned.
        seed: of the whole phantom set.
        spacing_scale: multiplies the view's voxel spacing.
    """
    case_seed = int.from_bytes(hashlib.sha256(f"{seed}/{case.patient}".encode()).digest()[:6])
    rng = np.random.default_rng(case_seed)
    view = case.view
    if view.body == "head":
        anatomy = Anatomy(build_head(rng), waves=random_waves(rng, 2.0))
    else:
        with_uterus = view.breasts or bool(rng.random() < 0.5)
        organs = build_torso(rng, view.breasts, with_uterus)
        counts = {name: int(rng.integers(a, b + 1)) for name, (a, b) in view.lesions.items()}
        anatomy = Anatomy(
            add_lesions(Anatomy(organs), counts, rng),
            scale=as_point(rng.uniform(0.94, 1.05, 3)),
            waves=random_waves(rng, 2.5),
        )
    geometry = _file_geometry(view, anatomy, spacing_scale, rng)
    start = view.origin or as_point(np.round(rng.uniform(-300, 300, 3), 2))
    move = as_point(np.subtract(start, geometry.origin))
    return ScannedPatient(
        anatomy=replace(anatomy, position=move),
        geometry=replace(geometry, origin=start),
        gain=float(10 ** rng.uniform(*view.gain)),
        seed=case_seed,
    )


def _file_geometry(
    view: View, anatomy: Anatomy, spacing_scale: float, rng: np.random.Generator
) -> Geometry:
    """Return the grid in the file's orientation, the body frame's origin at world (0, 0, 0)."""
    pixel = round(rng.uniform(*view.pixel_spacing) * spacing_scale, 3)
    spacing = (pixel, pixel, round(rng.uniform(*view.slice_spacing) * spacing_scale, 2))
    slack = 0.0 if view.body == "head" else 5.0
    lower = np.multiply(view.lower, anatomy.scale) + rng.uniform(-slack, slack, 3)
    extent = np.multiply(np.subtract(view.upper, view.lower), anatomy.scale)
    count = np.rint(extent / spacing).astype(int)
    first = lower + 0.5 * np.asarray(spacing)  # the field of view starts at a voxel's edge
    codes = str(rng.choice(view.orientations))
    shape, steps, direction, origin = [0] * 3, [0.0] * 3, np.zeros((3, 3)), first.copy()
    for index_axis, code in enumerate(codes):
        world, sign = _WORLD_AXIS[code]
        shape[2 - index_axis] = int(count[world])
        steps[2 - index_axis] = spacing[world]
        direction[world, index_axis] = sign
        if sign < 0:
            origin[world] += (count[world] - 1) * spacing[world]
    rows = direction.tolist()
    return Geometry(
        shape=(shape[0], shape[1], shape[2]),
        spacing=(steps[0], steps[1], steps[2]),
        origin=as_point(origin),
        direction=(as_point(rows[0]), as_point(rows[1]), as_point(rows[2])),
    )
