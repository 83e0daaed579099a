"""From probabilities on the stored grid to a label map on the case's original grid.

Shape letters: K regions, Z Y X voxels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsfm_pipeline.imaging.geometry import Triple, TripleFloat
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.imaging.resampling import resample_scores
from tsfm_pipeline.store.record import CaseRecord

THRESHOLD = 0.5


@dataclass(frozen=True)
class OriginalGrid:
    """Where a prepared volume lies in the canonical grid of its file.

    Attributes:
        spacing: mm (z, y, x) of the prepared grid.
        crop_lower: first voxel (z, y, x) of the nonzero box on the canonical grid.
        crop_shape: voxels (z, y, x) of that box before resampling.
        uncropped_shape: voxels (z, y, x) of the canonical grid.
        uncropped_spacing: mm (z, y, x) of the canonical grid.
    """

    spacing: TripleFloat
    crop_lower: Triple
    crop_shape: Triple
    uncropped_shape: Triple
    uncropped_spacing: TripleFloat

    @classmethod
    def of(cls, record: CaseRecord) -> "OriginalGrid":
        """Return the original grid of a stored case."""
        return cls(
            spacing=record.geometry.spacing,
            crop_lower=record.crop_lower,
            crop_shape=record.crop_shape,
            uncropped_shape=record.uncropped_shape,
            uncropped_spacing=record.uncropped_spacing,
        )

    @classmethod
    def stored(cls, record: CaseRecord) -> "OriginalGrid":
        """Return the stored grid itself, as the original of nothing cropped or resampled."""
        shape, spacing = record.geometry.shape, record.geometry.spacing
        return cls(spacing, (0, 0, 0), shape, shape, spacing)


def export_case(
    probabilities_KZYX: NDArray[np.floating],
    grid: OriginalGrid,
    regions: Sequence[str],
    table: LabelTable,
) -> NDArray[np.uint8]:
    """Undo resampling and crop, and collapse overlapping regions to one label map.

    Region by region, outer ones first (organ, cyst, tumour), and slab by slab the probabilities
    are resampled linearly and painted where they exceed 0.5. After nnU-Net v1.7.1
    `inference/segmentation_export.py:save_segmentation_nifti_from_softmax`, but besides the input
    only the label map and one slab of one region exist, however many regions and slices there are.

    Args:
        probabilities_KZYX: one volume per region, on the prepared grid, in any floating type.
        grid: where the prepared grid lies in the original one.
        regions: names of the K regions, in order.
        table: says what a region contains; a painted voxel gets its deciding target's integer.

    Returns:
        Fused label integers (z, y, x) on the whole canonical grid before crop and resampling.
    """
    labels_ZYX = np.zeros(grid.uncropped_shape, dtype=np.uint8)
    z, y, x = (
        slice(low, low + size) for low, size in zip(grid.crop_lower, grid.crop_shape, strict=True)
    )
    crop_ZYX = labels_ZYX[z, y, x]
    for region in table.collapse_order(regions):
        value = table.region_ids(region)[0]
        for box, scores_ZYX in resample_scores(
            probabilities_KZYX[regions.index(region)],
            grid.crop_shape,
            grid.spacing,
            grid.uncropped_spacing,
            above=THRESHOLD,
        ):
            np.copyto(crop_ZYX[box], np.uint8(value), where=scores_ZYX > THRESHOLD)
    return labels_ZYX
