"""Recognise one scan in two files: a digest of its values, and a thumbnail of what it shows.

The digest finds a scan that was stored anew without loss, however it lies in its file. The
thumbnail finds one that was re-spaced, windowed or slightly cropped, if its header says rightly how
it lies. Array names carry their axes: C channels, then z, y, x voxels; N, M thumbnails.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tsfm_pipeline.files import bytes_digest

THUMBNAIL = 24
"""Voxels along each edge of a thumbnail."""

AIR_HU = -1024.0
"""Scanners fill the corners of a CT with values below air, which an export may cut off."""

_CLIPPED_PERCENTILES = (0.5, 99.5)
_ENOUGH = 1 << 18
_BODY_ABOVE = 0.25
_BEYOND = 0.02
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

    The thumbnail averages the box around the body onto 24x24x24 cells, so voxel spacing and the
    air around drop out, and standardises them. It changes little under resampling, rounding,
    noise, clipped air, or the loss of a few outer slices; a soft-tissue window or the loss of a
    tenth of the slices makes another thumbnail.
    """
    image_ZYX = image_CZYX[0]
    return VoxelFingerprint(_voxel_digest(image_ZYX), _thumbnail(image_ZYX))


def thumbnail_correlation(
    one_NZYX: NDArray[np.floating], other_MZYX: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Correlate every thumbnail of one set with every one of another, in one matrix product.

    What all scans of a body part share is smooth, what sets a patient apart is not: each
    thumbnail's blurred self is taken away before.

    Returns:
        (N, M) correlations between -1 and 1; 0 where a thumbnail is empty.
    """
    one = _details(one_NZYX)
    other = one if other_MZYX is one_NZYX else _details(other_MZYX)
    return np.asarray(one @ other.T)


def _voxel_digest(image_ZYX: NDArray[np.float32]) -> str:
    lowest, highest = float(image_ZYX.min()), float(image_ZYX.max())
    counts = _whole_number_counts(image_ZYX, lowest, highest)
    if counts is None:
        values, counts = np.unique(image_ZYX, return_counts=True)
        if len(values) > _LEVELS:
            levels = np.rint((values - lowest) * ((_LEVELS - 1) / (highest - lowest)))
            counts = np.bincount(levels.astype(np.int64), weights=counts).astype(np.int64)
    occurring = counts[counts > 0][1:].astype("<i8")
    return bytes_digest(occurring.tobytes())


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
    empty = np.zeros((THUMBNAIL,) * 3, np.float16)
    floor = max(float(image_ZYX.min()), AIR_HU)
    sample = image_ZYX[::2, ::2, ::2]
    sample = sample[sample > floor]
    if not sample.size:
        return empty
    sample = sample[:: max(1, sample.size // _ENOUGH)]
    low, high = (float(value) for value in np.percentile(sample, _CLIPPED_PERCENTILES))
    cells = np.clip(image_ZYX, low, high)
    body_ZYX = cells > low + _BODY_ABOVE * (high - low)
    if not body_ZYX.any():
        return empty
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        weights = _cell_weights(body_ZYX.sum(axis=others))
        cells = np.moveaxis(np.tensordot(weights, cells, axes=(1, axis)), 0, axis)
    cells = cells - cells.mean(dtype=np.float64)
    deviation = float(cells.std())
    return (cells / deviation).astype(np.float16) if deviation > 0 else empty


def _cell_weights(body_in_plane: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the (THUMBNAIL, planes) matrix that averages planes over cells of equal length.

    The cells span the planes between which all of the body but _BEYOND at either end lies. These
    ends fall between planes, so they hardly move with spacing, noise, table or air around.
    """
    below = np.concatenate([[0.0], np.cumsum(body_in_plane)]) / body_in_plane.sum()
    plane = np.arange(len(body_in_plane))
    ends = np.interp((_BEYOND, 1 - _BEYOND), below, np.arange(len(below)))
    edges = np.linspace(ends[0], ends[1], THUMBNAIL + 1)
    first, last = edges[:-1, None], edges[1:, None]
    overlap = np.clip(np.minimum(last, plane + 1) - np.maximum(first, plane), 0, None)
    return np.asarray(overlap / overlap.sum(axis=1, keepdims=True), np.float32)


def _details(thumbnails_NZYX: NDArray[np.floating]) -> NDArray[np.float32]:
    details: NDArray[np.float32] = thumbnails_NZYX.astype(np.float32)
    blur = (0, _COMMON_ANATOMY, _COMMON_ANATOMY, _COMMON_ANATOMY)
    details = details - ndimage.gaussian_filter(details, blur, mode="nearest")
    rows = details.reshape(len(details), THUMBNAIL**3)
    rows -= rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    np.divide(rows, length, out=rows, where=length > 0)  # an empty one stays 0
    return rows
