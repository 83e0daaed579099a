"""Lesions of a tumour mask: how many there are, how many were found, how many were made up."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

TOUCHING = np.ones((3, 3, 3), bool)
"""Voxels that share a face, an edge or a corner belong to one lesion."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class LesionCounts:
    """Lesions of one case.

    Attributes:
        reference: connected components of the reference.
        detected: those of them that the prediction overlaps by at least one voxel.
        false_positive: connected components of the prediction that overlap no reference voxel.
    """

    reference: int
    detected: int
    false_positive: int


def count_lesions(reference_ZYX: Mask, prediction_ZYX: Mask) -> LesionCounts:
    """Count the lesions of two masks of one shape.

    One voxel of overlap counts, as in the autoPET challenge's false positive and false negative
    volumes: Dice says already how well a lesion is outlined.
    """
    both = reference_ZYX & prediction_ZYX
    reference, detected = _components(reference_ZYX, both)
    predicted, overlapping = _components(prediction_ZYX, both)
    return LesionCounts(reference, detected, predicted - overlapping)


def _components(mask_ZYX: Mask, both_ZYX: Mask) -> tuple[int, int]:
    """Count the components of a mask, and those of them that contain a voxel of both masks."""
    if not mask_ZYX.any():
        return 0, 0
    (box,) = ndimage.find_objects(mask_ZYX.view(np.uint8))
    labelled, count = ndimage.label(mask_ZYX[box], TOUCHING)
    return int(count), len(np.unique(labelled[both_ZYX[box]]))
