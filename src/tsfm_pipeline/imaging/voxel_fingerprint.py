"""Recognise one scan in two files: a digest of its values, and a thumbnail of what it shows.

The digest finds a scan that was stored anew without loss, however it lies in its file. The
thumbnail finds one that was re-spaced, windowed or slightly cropped, if its header says rightly how
it lies. Array names carry their axes: C channels, then z, y, x voxels; N, M thumbnails.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tsfm_pipeline.imaging.intensity import bounding_box

THUMBNAIL = 24
"""Voxels along each edge of a thumbnail."""

AIR_HU = -1024.0
"""Scanners fill the corners of a CT with values below air, which an export may cut off."""

_CLIPPED_PERCENTILES = (0.5, 99.5)
_COMMON_ANATOMY = 1.5
_LEVELS = 1 << 16


@dataclass(frozen=True)
class VoxelFingerprint:
    """What identifies a scan apart from the bytes of its file.

    Attributes:
        digest: equal for two files that hold the same values.
        thumbnail: (z, y, x) float16, THUMBNAIL voxels along each axis, mean 0 and sd 1.
    """

    digest: str
    thumbnail: NDArray[np.float16]


def voxel_fingerprint(image_CZYX: NDArray[np.float32]) -> VoxelFingerprint:
    """Fingerprint the first channel of a canonical, finite image.

    The digest is over the numbers of voxels of each distinct value, in ascending order of the
    values, the lowest left out. It stays the same when axes are swapped or flipped, when the
    number type or the file format changes, under any rescaling that keeps distinct values
    distinct, and when voxels of the lowest value are added around or cropped away. It changes as
    soon as one voxel does. An image of more than 65,536 distinct values is rounded to that many
    levels first; rescaling one may then move a voxel across a level's edge.

    The thumbnail averages the box of all voxels above the lowest value onto 24x24x24 cells, so
    voxel spacing and padding drop out, and standardises them.
    """
    image_ZYX = image_CZYX[0]
    return VoxelFingerprint(_digest(image_ZYX), _thumbnail(image_ZYX))


def thumbnail_correlation(
    one_NZYX: NDArray[np.floating], other_MZYX: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Correlate every thumbnail of one set with every one of another, in one matrix product.

    What all scans of a body part share is smooth, what sets a patient apart is not: each
    thumbnail's blurred self is taken away before.

    Returns:
        (N, M) correlations between -1 and 1; 0 where a thumbnail is empty.
    """
    return np.asarray(_details(one_NZYX) @ _details(other_MZYX).T)


def _digest(image_ZYX: NDArray[np.float32]) -> str:
    lowest, highest = float(image_ZYX.min()), float(image_ZYX.max())
    counts = _whole_number_counts(image_ZYX, lowest, highest)
    if counts is None:
        values, counts = np.unique(image_ZYX, return_counts=True)
        if len(values) > _LEVELS:
            levels = np.rint((values - lowest) * ((_LEVELS - 1) / (highest - lowest)))
            counts = np.bincount(levels.astype(np.int64), weights=counts).astype(np.int64)
    occurring = counts[counts > 0][1:].astype("<i8")
    return hashlib.blake2b(occurring.tobytes(), digest_size=16).hexdigest()


def _whole_number_counts(
    image_ZYX: NDArray[np.float32], lowest: float, highest: float
) -> NDArray[np.int64] | None:
    """Count the values slice by slice, ten times faster than sorting; None unless all are whole."""
    if highest - lowest >= _LEVELS:
        return None
    counts = np.zeros(int(highest - lowest) + 1, np.int64)
    for slice_YX in image_ZYX:
        above = slice_YX - np.float32(lowest)
        whole = above.astype(np.int64)
        if (whole != above).any():
            return None
        counts += np.bincount(whole.ravel(), minlength=len(counts))
    return counts


def _thumbnail(image_ZYX: NDArray[np.float32]) -> NDArray[np.float16]:
    floor = max(float(image_ZYX.min()), AIR_HU)
    above_ZYX = image_ZYX > floor
    empty = np.zeros((THUMBNAIL,) * 3, np.float16)
    if not above_ZYX.any():
        return empty
    lower, shape = bounding_box(above_ZYX)
    box = tuple(slice(start, start + size) for start, size in zip(lower, shape, strict=True))
    image_ZYX = image_ZYX[box]
    low, high = np.percentile(image_ZYX[::2, ::2, ::2], _CLIPPED_PERCENTILES)
    cells = np.clip(image_ZYX, max(low, floor), max(high, floor))
    for axis in range(3):
        weights = _cell_weights(cells.shape[axis], THUMBNAIL)
        cells = np.moveaxis(np.tensordot(weights, cells, axes=(1, axis)), 0, axis)
    cells = cells - cells.mean(dtype=np.float64)
    deviation = float(cells.std())
    return (cells / deviation).astype(np.float16) if deviation > 0 else empty


def _cell_weights(voxels: int, cells: int) -> NDArray[np.float32]:
    """Return the (cells, voxels) matrix that averages voxels over cells of equal length."""
    edges = np.linspace(0, voxels, cells + 1)
    first, last = edges[:-1, None], edges[1:, None]
    voxel = np.arange(voxels)
    overlap = np.clip(np.minimum(last, voxel + 1) - np.maximum(first, voxel), 0, None)
    return (overlap * (cells / voxels)).astype(np.float32)


def _details(thumbnails_NZYX: NDArray[np.floating]) -> NDArray[np.float32]:
    details = thumbnails_NZYX.astype(np.float32)
    blur = (0, _COMMON_ANATOMY, _COMMON_ANATOMY, _COMMON_ANATOMY)
    details = details - ndimage.gaussian_filter(details, blur, mode="nearest")
    rows = details.reshape(len(details), -1)
    rows -= rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, length, out=np.zeros_like(rows), where=length > 0))
