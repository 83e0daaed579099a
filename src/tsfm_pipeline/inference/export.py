"""From probabilities on the stored grid to a label map on the case's original grid."""

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
    """Where a prepared grid lies in the canonical grid of its file.

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
        """Return that of a stored case."""
        return cls(
            spacing=record.geometry.spacing,
            crop_lower=record.crop_lower,
            crop_shape=record.crop_shape,
            uncropped_shape=record.uncropped_shape,
            uncropped_spacing=record.uncropped_spacing,
        )


def export_case(
    probabilities_KZYX: NDArray[np.float32],
    grid: OriginalGrid,
    regions: Sequence[str],
    table: LabelTable,
) -> NDArray[np.uint8]:
    """Undo resampling and crop, and collapse overlapping regions to one label map.

    One region at a time is resampled linearly to the cropped original grid and painted where its
    probability exceeds 0.5, outer regions first (organ, cyst, tumour), so that only one region
    exists at full resolution at any time. After nnU-Net v1.7.1
    `inference/segmentation_export.py:save_segmentation_nifti_from_softmax`.

    Args:
        probabilities_KZYX: one volume per region, on the prepared grid.
        grid: where the prepared grid lies in the original one.
        regions: names of the K regions, in order.
        table: says what a region contains; a painted voxel gets its deciding target's integer.

    Returns:
        Fused label integers (z, y, x) on the whole canonical grid before crop and resampling.
    """
    labels_crop = np.zeros(grid.crop_shape, dtype=np.uint8)
    for region in table.collapse_order(regions):
        scores_ZYX = probabilities_KZYX[regions.index(region)]
        # Linear interpolation stays between its inputs: such a region cannot appear anywhere.
        if scores_ZYX.max() <= THRESHOLD:
            continue
        (full_ZYX,) = resample_scores(
            scores_ZYX[None], grid.crop_shape, grid.spacing, grid.uncropped_spacing
        )
        labels_crop[full_ZYX > THRESHOLD] = table.region_ids(region)[0]
    labels = np.zeros(grid.uncropped_shape, dtype=np.uint8)
    box = tuple(
        slice(low, low + size) for low, size in zip(grid.crop_lower, grid.crop_shape, strict=True)
    )
    labels[box] = labels_crop
    return labels
