"""Pairs of masks that the metrics are compared on; numpy only, for any environment."""

import numpy as np

Pair = tuple[np.ndarray, np.ndarray, tuple[float, float, float]]


def mask_pairs() -> dict[str, Pair]:
    """Return name -> (reference, prediction, spacing in mm along z, y, x)."""
    shape = (24, 40, 36)
    empty = np.zeros(shape, bool)
    one_voxel, two_on = empty.copy(), empty.copy()
    one_voxel[12, 20, 18] = True
    two_on[14, 20, 18] = True
    box, longer_box = empty.copy(), empty.copy()
    box[6:14, 8:25, 10:22] = True
    longer_box[6:18, 8:25, 10:22] = True
    at_the_edge, whole_side = empty.copy(), empty.copy()
    at_the_edge[:10, :12, 5:20] = True
    whole_side[:8] = True
    rng = np.random.default_rng(5)
    speckle = rng.random(shape) < 0.02
    rough = _ball(shape, (12, 20, 18), 9, (1, 1, 1)) ^ (rng.random(shape) < 0.05)
    isotropic, fine, thick = (1.0, 1.0, 1.0), (1.5, 0.8, 0.8), (5.0, 0.7, 0.9)
    ball = {mm: _ball(shape, (12, 20, 18), 12, mm) for mm in (isotropic, fine, thick)}
    moved = {mm: _ball(shape, (12, 20 + 2 / mm[1], 17), 11, mm) for mm in (isotropic, fine, thick)}
    return {
        "voxels two apart": (one_voxel, two_on, isotropic),
        "voxels two mm apart": (one_voxel, two_on, (1.0, 3.0, 3.0)),
        "balls": (ball[isotropic], moved[isotropic], isotropic),
        "balls, fine": (ball[fine], moved[fine], fine),
        "balls, thick slices": (ball[thick], moved[thick], thick),
        "boxes": (box, longer_box, isotropic),
        "boxes, thick slices": (box, longer_box, thick),
        "at the edge": (at_the_edge, whole_side, fine),
        "equal": (box, box, fine),
        "rough": (ball[isotropic], rough, isotropic),
        "speckle": (ball[fine], speckle, fine),
        "nothing predicted": (box, empty, isotropic),
        "nothing there": (empty, box, isotropic),
        "both empty": (empty, empty, isotropic),
    }


def _ball(
    shape: tuple[int, int, int],
    centre: tuple[float, float, float],
    radius_mm: float,
    spacing: tuple[float, float, float],
) -> np.ndarray:
    grid = np.indices(shape).reshape(3, -1).T
    mm = (grid - centre) * spacing
    return ((mm**2).sum(axis=1) <= radius_mm**2).reshape(shape)
