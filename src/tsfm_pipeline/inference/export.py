"""From probabilities on the stored grid to a label map on the case's original grid."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.imaging.resampling import resample_scores
from tsfm_pipeline.store.record import CaseRecord

THRESHOLD = 0.5


def export_case(
    probabilities_KZYX: NDArray[np.float32],
    record: CaseRecord,
    regions: Sequence[str],
    table: LabelTable,
) -> NDArray[np.uint8]:
    """Undo resampling and crop, and collapse overlapping regions to one label map.

    One region at a time is resampled linearly to the cropped original grid and painted where its
    probability exceeds 0.5, outer regions first (organ, cyst, tumour), so that only one region
    exists at full resolution at any time. After nnU-Net v1.7.1
    `inference/segmentation_export.py:save_segmentation_nifti_from_softmax`.

    Args:
        probabilities_KZYX: one volume per region, on the stored grid of `record`.
        record: where the stored grid lies in the original one.
        regions: names of the K regions, in order.
        table: says what a region contains; a painted voxel gets its deciding target's integer.

    Returns:
        Fused label integers (z, y, x) on the whole canonical grid before crop and resampling.
    """
    labels_crop = np.zeros(record.crop_shape, dtype=np.uint8)
    for region in table.collapse_order(regions):
        scores_ZYX = probabilities_KZYX[regions.index(region)]
        # Linear interpolation stays between its inputs: such a region cannot appear anywhere.
        if scores_ZYX.max() <= THRESHOLD:
            continue
        (full_ZYX,) = resample_scores(
            scores_ZYX[None], record.crop_shape, record.geometry.spacing, record.uncropped_spacing
        )
        labels_crop[full_ZYX > THRESHOLD] = table.region_ids(region)[0]
    labels = np.zeros(record.uncropped_shape, dtype=np.uint8)
    box = tuple(
        slice(low, low + size)
        for low, size in zip(record.crop_lower, record.crop_shape, strict=True)
    )
    labels[box] = labels_crop
    return labels
