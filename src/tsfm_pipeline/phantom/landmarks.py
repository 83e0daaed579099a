"""Points of which the right label is known: what a test of the whole road can walk."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsfm_pipeline.phantom.anatomy import Anatomy
from tsfm_pipeline.phantom.patient import ScannedPatient

PER_TARGET = 2
DRAWS = 48
"""Points tried per structure."""


def find_landmarks(
    scanned: ScannedPatient, annotated: tuple[str, ...], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Return up to two points per target (and of background) that lie well inside it.

    Well inside means that every point within half a voxel's diagonal has the same label, so the
    nearest voxel of the file has it too, whatever its orientation.

    Args:
        scanned: the patient and the file's grid.
        annotated: fused targets the case annotates.
        rng: source of the points.

    Returns:
        Rows {"point": [x, y, z] world LPS mm, "target": fused name, "" for background}.
    """
    anatomy = scanned.anatomy
    names = np.array(anatomy.annotation(annotated))
    points = _candidates(anatomy, rng)
    index = scanned.geometry.world_to_index(points)
    inside = ((index >= 1) & (index <= np.asarray(scanned.geometry.shape) - 2)).all(axis=1)
    points = points[inside]
    labels = names[anatomy.structure_at(points)]
    chosen = np.concatenate(
        [rng.permutation(np.flatnonzero(labels == target))[:DRAWS] for target in ("", *annotated)]
    )
    points, labels = points[chosen], labels[chosen]
    radius = 0.5 * float(np.linalg.norm(scanned.geometry.spacing))
    offsets = _sphere(26) * radius
    around = (points[:, None, :] + offsets).reshape(-1, 3)
    same = names[anatomy.structure_at(around)].reshape(len(points), -1) == labels[:, None]
    deep = same.all(axis=1)
    rows: list[dict[str, Any]] = []
    for target in ("", *annotated):
        for point in points[deep & (labels == target)][:PER_TARGET]:
            rows.append({"point": [round(float(v), 3) for v in point], "target": target})
    return rows


def _candidates(anatomy: Anatomy, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw world points in the middle half of the boxes of every structure's parts."""
    drawn = []
    for structure in anatomy.structures:
        for part in rng.integers(len(structure.parts), size=DRAWS):
            lower, upper = np.asarray(structure.parts[part].bounds)
            drawn.append(rng.uniform(0.75 * lower + 0.25 * upper, 0.25 * lower + 0.75 * upper))
    return np.asarray(drawn) * anatomy.scale + anatomy.position


def _sphere(count: int) -> NDArray[np.float64]:
    """Spread points evenly on the unit sphere (a Fibonacci lattice)."""
    steps = np.arange(count) + 0.5
    polar, turn = np.arccos(1 - 2 * steps / count), np.pi * (1 + 5**0.5) * steps
    return np.stack(
        [np.cos(turn) * np.sin(polar), np.sin(turn) * np.sin(polar), np.cos(polar)], axis=1
    )
