"""What no scanner makes: grids and voxels that are refused before anything is made of them.

One rule for both ways in, screening of a pool and segmenting scans of one's own. A wrong spacing
would be resampled to something huge, or to organs of the wrong size; a wild voxel leaves nothing
of an image that is normalised by its spread.
"""

import math

import numpy as np
from numpy.typing import NDArray

from tsfm_pipeline.imaging.geometry import Geometry
from tsfm_pipeline.imaging.volume import ImageVolume

SMALLEST_SPACING_MM, LARGEST_SPACING_MM = 0.01, 30.0
"""Micro-CT begins at 0.01 mm; the thickest slices of clinical scans have about 10 mm."""
LARGEST_EXTENT_MM = 2500.0
"""Along one axis: longer than any patient."""
LARGEST_VOLUME_MM3 = 2e9
"""Two cubic metres: a whole-body scan has one."""
LARGEST_VALUE = {"CT": 1e5, "MR": 1e8}
"""CT: far beyond metal, which 16-bit files cut off at 32,767 at the latest. MR: raw maxima reach
3e6; from about 1e8 on a single voxel leaves less than 0.1 between all others as z-scores."""
RIGHT_ANGLE_TOLERANCE = 1e-2


def grid_fault(geometry: Geometry) -> str:
    """Return what is wrong with a grid, as `reason; remedy`; empty for one that can be."""
    spacing, shape = geometry.spacing, geometry.shape
    numbers = np.array([*spacing, *geometry.origin, *np.ravel(geometry.direction)])
    cosines = np.asarray(geometry.direction)
    if not np.isfinite(numbers).all():
        return (
            "its header has a spacing, origin or direction that is not a number; correct the header"
        )
    wrong = [
        f"{step:g} mm between voxels, {size} of them"
        for step, size in zip(spacing, shape, strict=True)
        if not SMALLEST_SPACING_MM <= step <= LARGEST_SPACING_MM or step * size > LARGEST_EXTENT_MM
    ]
    if wrong:
        return f"its header states {' and '.join(wrong)}; correct the spacing"
    cubic_mm = math.prod(spacing) * math.prod(shape)
    if cubic_mm > LARGEST_VOLUME_MM3:
        return (
            f"its header states {shape} voxels of {spacing} mm (z, y, x), {cubic_mm / 1e9:.1f}"
            " cubic metres; correct the spacing"
        )
    if np.abs(cosines.T @ cosines - np.eye(3)).max() > RIGHT_ANGLE_TOLERANCE:
        return (
            f"its axes {cosines.round(3).tolist()} are not at right angles; correct the header, or"
            " resample the image onto a right-angled grid"
        )
    return ""


def values_fault(values_ZYX: NDArray[np.float32], modality: str) -> str:
    """Return what is wrong with a channel's finite voxels, as `reason; remedy`; empty if nothing.

    Args:
        values_ZYX: in HU for CT.
        modality: CT or MR.
    """
    low, high = float(values_ZYX.min()), float(values_ZYX.max())
    if low == high:
        return (
            f"every voxel is {low:g}, the image is empty; download it again, or leave the case out"
        )
    largest = max(-low, high)
    if largest <= LARGEST_VALUE[modality]:
        return ""
    if modality == "CT":
        return (
            f"a voxel has {largest:g}, which is no CT in HU; correct slope and intercept in the"
            " header, or export it again"
        )
    return (
        f"a voxel has {largest:g}, beside which all others would be one; correct or cut off such"
        " voxels, or export it again"
    )


def image_fault(image: ImageVolume, modality: str) -> tuple[int, str] | None:
    """Return the first channel with a fault and `reason; remedy`; None for a plausible image."""
    if fault := grid_fault(image.geometry):
        return 0, fault
    for number, channel_ZYX in enumerate(image.array):
        if fault := values_fault(channel_ZYX, modality):
            return number, fault
    return None
