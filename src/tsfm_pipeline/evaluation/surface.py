"""Surface metrics in mm: normalised surface Dice (NSD) and 95th percentile Hausdorff distance.

One definition, MONAI's: the surface of a mask is its border voxels, those with a face neighbour
outside it (binary erosion with the 6-neighbourhood; beyond the array is outside). A border voxel's
distance is Euclidean, in mm, to the nearest border voxel of the other mask. docs/evaluation.md says
how nnU-Net v1 (medpy) and DeepMind's surface-distance differ.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tsfm_pipeline.imaging.geometry import TripleFloat

ROUNDING_MM = 1e-6
"""Distances are compared up to this, so that rounding does not decide at the tolerance."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances in mm between the border voxels of two masks, in no order.

    Attributes:
        from_reference: of each border voxel of the reference to the prediction's border.
        from_prediction: of each border voxel of the prediction to the reference's border.
            All are infinite where the other mask is empty.
    """

    from_reference: NDArray[np.float64]
    from_prediction: NDArray[np.float64]

    def nsd(self, tolerance_mm: float) -> float:
        """Return the fraction of all border voxels within the tolerance of the other border.

        NaN when both masks are empty, 0 when one is.
        """
        everything = np.concatenate([self.from_reference, self.from_prediction])
        if everything.size == 0:
            return float("nan")
        return float(np.mean(everything <= tolerance_mm + ROUNDING_MM))

    def hd95(self) -> float:
        """Return the larger of the two directed 95th percentiles, linearly interpolated.

        NaN when a mask is empty: there is no distance, and no convention's stand-in is one.
        """
        if not self.from_reference.size or not self.from_prediction.size:
            return float("nan")
        return float(
            max(np.percentile(self.from_reference, 95), np.percentile(self.from_prediction, 95))
        )


def surface_distances(
    reference_ZYX: Mask, prediction_ZYX: Mask, spacing: TripleFloat
) -> SurfaceDistances:
    """Measure the distances between the borders of two masks of one shape.

    A search tree over the border voxels: a distance transform would visit every voxel of the box.

    Args:
        reference_ZYX: the true mask; cropping away what neither mask touches changes nothing.
        prediction_ZYX: the predicted mask.
        spacing: mm (z, y, x).
    """
    reference, prediction = border(reference_ZYX), border(prediction_ZYX)
    shared = np.zeros(np.count_nonzero(reference & prediction))
    only_reference, only_prediction = reference & ~prediction, prediction & ~reference
    return SurfaceDistances(
        np.concatenate([shared, _to_nearest(only_reference, prediction, spacing)]),
        np.concatenate([shared, _to_nearest(only_prediction, reference, spacing)]),
    )


def border(mask_ZYX: Mask) -> Mask:
    """Return the voxels of a mask that have a face neighbour outside it."""
    padded = np.pad(mask_ZYX, 1)
    interior = mask_ZYX.copy()
    for axis, size in enumerate(mask_ZYX.shape):
        for shift in (0, 2):
            neighbours = [slice(1, -1)] * 3
            neighbours[axis] = slice(shift, shift + size)
            interior &= padded[tuple(neighbours)]
    return mask_ZYX & ~interior


def _to_nearest(points: Mask, others: Mask, spacing: TripleFloat) -> NDArray[np.float64]:
    """Return the distance in mm of each point to the nearest other; infinite where none is."""
    if not points.any() or not others.any():
        return np.full(np.count_nonzero(points), np.inf)
    tree = cKDTree(_positions(others, spacing), balanced_tree=False, compact_nodes=False)
    distances, _ = tree.query(_positions(points, spacing))
    return np.asarray(distances)


def _positions(mask: Mask, spacing: TripleFloat) -> NDArray[np.float64]:
    """Return the true voxels' positions in mm (n, 3); many times faster than np.argwhere."""
    voxels = np.unravel_index(np.flatnonzero(mask), mask.shape)
    return np.asarray(np.stack(voxels, axis=1) * spacing)
