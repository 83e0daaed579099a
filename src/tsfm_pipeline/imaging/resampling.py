"""Resampling as matrix products: nnU-Net v1's results, many times faster.

Spline interpolation along one axis is linear in the voxel values, so it is a matrix that depends
on the two sizes only. The matrices come from scipy's own zoom applied to unit vectors, and a
volume is resampled by one product per axis. The rules (when to treat the coarse axis apart, what
happens to labels) are those of nnU-Net v1.7.1, preprocessing.py:resample_patient.

Array names carry their axes: C channels, K scores, then z, y, x voxels. Spacings are mm (z, y, x).
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from tsfm_pipeline.imaging.blas_threads import one_thread
from tsfm_pipeline.imaging.geometry import Triple, TripleFloat
from tsfm_pipeline.imaging.label_interpolation import Taps, interpolate_labels

SEPARATE_Z_ANISOTROPY = 3.0
CUBIC, LINEAR = 3, 1

Box = tuple[slice, slice, slice]

_NEGLIGIBLE = 1e-9
_OUTPUT_BLOCK = 64
_SLAB = 16


def resampled_shape(shape: Triple, spacing: TripleFloat, target_spacing: TripleFloat) -> Triple:
    """Return the voxels (z, y, x) that a grid has at another spacing, at least 1 each."""
    sizes = [
        max(1, int(np.rint(old / new * size)))
        for size, old, new in zip(shape, spacing, target_spacing, strict=True)
    ]
    return (sizes[0], sizes[1], sizes[2])


def separate_axis(file_spacing: TripleFloat, other_spacing: TripleFloat) -> int | None:
    """Return the axis to resample apart by nearest neighbour, or None.

    It is the coarsest axis of the file's spacing when that is more than 3 times the finest, else
    the same of the other spacing. Two or three coarsest axes of equal spacing: none.
    """
    for spacing in (file_spacing, other_spacing):
        if max(spacing) / min(spacing) > SEPARATE_Z_ANISOTROPY:
            coarsest = [axis for axis in range(3) if spacing[axis] == max(spacing)]
            return coarsest[0] if len(coarsest) == 1 else None
    return None


def resample_image(
    image_CZYX: NDArray[np.floating],
    new_shape: Triple,
    spacing: TripleFloat,
    target_spacing: TripleFloat,
) -> NDArray[np.float32]:
    """Resample channels by cubic splines, limited to each channel's own range of values.

    Args:
        image_CZYX: intensities.
        new_shape: voxels (z, y, x) wanted, usually `resampled_shape`.
        spacing: mm (z, y, x) of the image.
        target_spacing: mm (z, y, x) wanted.

    Returns:
        The image over the same physical extent; with a separate axis each of its slices is
        resampled in its plane and limited to its own range, then slices are repeated or dropped.
    """
    axis = separate_axis(spacing, target_spacing)
    resampled_CZYX = np.empty((len(image_CZYX), *new_shape), np.float32)
    for channel_ZYX, out_ZYX in zip(image_CZYX, resampled_CZYX, strict=True):
        _resample_values(np.asarray(channel_ZYX, np.float32), axis, CUBIC, out_ZYX)
    return resampled_CZYX


def resample_scores(
    scores_ZYX: NDArray[np.floating],
    new_shape: Triple,
    spacing: TripleFloat,
    file_spacing: TripleFloat,
    above: float,
) -> Iterator[tuple[Box, NDArray[np.float32]]]:
    """Resample a region's scores linearly to a file's spacing, where they can exceed a bound.

    Slab by slab along z, and in each slab only within the box that voxels above the bound reach:
    a linear interpolation lies between its inputs. So neither time nor memory is spent on what
    the region does not touch, and never a volume at full resolution.

    Args:
        scores_ZYX: scores on the stored grid, in any floating type.
        new_shape: voxels (z, y, x) of the crop before preparation.
        spacing: mm (z, y, x) of the scores.
        file_spacing: mm (z, y, x) of the file; it decides first about the separate axis, as it
            did in preparation (nnU-Net v1 segmentation_export.py).
        above: the bound.

    Yields:
        Boxes of the new grid, first slab first, with the scores in them; everywhere else the
        resampled scores are at most `above`.
    """
    axis = separate_axis(file_spacing, spacing)
    operators = []
    for along, (old, new) in enumerate(zip(scores_ZYX.shape, new_shape, strict=True)):
        nearest = along == axis or old == new
        matrix = np.eye(old)[_nearest_index(old, new)] if nearest else _operator(old, new, LINEAR)
        operators.append(matrix.astype(np.float32))
    for first in range(0, new_shape[0], _SLAB):
        slab = operators[0][first : first + _SLAB]
        planes = _span(slab.any(axis=0))
        slab_ZYX = np.asarray(scores_ZYX[planes], np.float32)
        high_YX: NDArray[np.bool_] = np.any(slab_ZYX > above, axis=0)
        if not high_YX.any():
            continue
        reaches = [
            operators[along][:, _span(high_YX.any(axis=2 - along))].any(axis=1) for along in (1, 2)
        ]
        if not all(rows.any() for rows in reaches):
            continue  # a coarser file: what is high lies between its points
        parts, reached, source = {0: slab[:, planes]}, list(map(_span, reaches)), []
        for along, rows in zip((1, 2), reached, strict=True):
            source.append(_span(operators[along][rows].any(axis=0)))
            parts[along] = operators[along][rows, source[-1]]
        changed = {i: part for i, part in parts.items() if new_shape[i] != scores_ZYX.shape[i]}
        scores = _apply(changed, np.ascontiguousarray(slab_ZYX[:, source[0], source[1]]))
        yield (slice(first, first + len(slab)), reached[0], reached[1]), scores


def resample_labels(
    labels_ZYX: NDArray[np.uint8],
    new_shape: Triple,
    spacing: TripleFloat,
    target_spacing: TripleFloat,
) -> NDArray[np.uint8]:
    """Resample a label map: each label linearly as 0/1, taken where it reaches one half.

    Labels are painted in ascending order, OUTSIDE (nnU-Net's -1) first, so at a tie the higher
    wins. Where no label reaches one half it is background. With a separate axis this happens in
    each slice, and slices are then repeated or dropped.
    """
    if labels_ZYX.shape == new_shape:
        return labels_ZYX.copy()
    axis = separate_axis(spacing, target_spacing)
    if axis is not None and new_shape[axis] < labels_ZYX.shape[axis]:
        labels_ZYX = _nearest(labels_ZYX, new_shape[axis], axis)
    taps = []
    for along in range(3):
        old = labels_ZYX.shape[along]
        new = old if along == axis else new_shape[along]
        taps.append(Taps.of(np.eye(old) if new == old else _operator(old, new, LINEAR)))
    resampled_ZYX = interpolate_labels(labels_ZYX, tuple(taps))
    return resampled_ZYX if axis is None else _nearest(resampled_ZYX, new_shape[axis], axis)


def _resample_values(
    values_ZYX: NDArray[np.float32], axis: int | None, order: int, out_ZYX: NDArray[np.float32]
) -> None:
    """Resample one volume to the shape of `out_ZYX`, limited to its range.

    The range is that of the volume, or of each slice along a separate axis.
    """
    new_shape = out_ZYX.shape
    if values_ZYX.shape == new_shape:
        out_ZYX[...] = values_ZYX
        return
    if axis is not None and new_shape[axis] < values_ZYX.shape[axis]:
        # The two steps commute; slices that will be dropped are not worth resampling.
        values_ZYX = _nearest(values_ZYX, new_shape[axis], axis)
    in_range = None if axis is None else tuple(other for other in range(3) if other != axis)
    lower = values_ZYX.min(axis=in_range, keepdims=True)
    upper = values_ZYX.max(axis=in_range, keepdims=True)
    operators = {
        along: _operator(values_ZYX.shape[along], new_shape[along], order).astype(np.float32)
        for along in range(3)
        if along != axis and new_shape[along] != values_ZYX.shape[along]
    }
    values_ZYX = np.ascontiguousarray(values_ZYX)
    if axis is None or new_shape[axis] == values_ZYX.shape[axis]:
        _apply(operators, values_ZYX, out_ZYX)
        np.clip(out_ZYX, lower, upper, out=out_ZYX)
        return
    resampled_ZYX = _apply(operators, values_ZYX)
    resampled_ZYX = np.clip(resampled_ZYX, lower, upper, out=resampled_ZYX if operators else None)
    index = _nearest_index(values_ZYX.shape[axis], new_shape[axis])
    np.take(resampled_ZYX, index, axis=axis, out=out_ZYX, mode="clip")


@lru_cache(maxsize=32)
def _operator(old: int, new: int, order: int) -> NDArray[np.float64]:
    """Return the (new, old) matrix of spline interpolation along one axis, edges extended.

    It equals skimage.transform.resize(order=order, mode="edge", anti_aliasing=False) of that
    axis. Weights of a cubic spline fall to a quarter per voxel; those below 1e-9 are made 0.
    """
    columns = [
        ndimage.zoom(unit, new / old, order=order, mode="nearest", grid_mode=True)
        for unit in np.eye(old)
    ]
    matrix = np.stack(columns, axis=1)
    matrix[np.abs(matrix) < _NEGLIGIBLE] = 0.0
    matrix.setflags(write=False)
    return matrix


def _apply(
    operators: dict[int, NDArray], volume_ZYX: NDArray, out_ZYX: NDArray | None = None
) -> NDArray:
    """Multiply a contiguous volume by one matrix per axis, the most shrinking axis first.

    The last product goes to `out_ZYX` where that is given.
    """
    by_growth = sorted(
        operators, key=lambda axis: operators[axis].shape[0] / operators[axis].shape[1]
    )
    with one_thread():
        for axis in by_growth:
            target = out_ZYX if axis == by_growth[-1] else None
            volume_ZYX = _multiply(operators[axis], volume_ZYX, axis, target)
    if out_ZYX is not None and not operators:
        out_ZYX[...] = volume_ZYX
    return volume_ZYX


def _multiply(
    operator: NDArray, volume_ZYX: NDArray, axis: int, out_ZYX: NDArray | None
) -> NDArray:
    """Multiply along one axis, in blocks of rows so that only the matrix' band is computed."""
    new, old = operator.shape
    shape = (*volume_ZYX.shape[:axis], new, *volume_ZYX.shape[axis + 1 :])
    result = np.empty(shape, volume_ZYX.dtype) if out_ZYX is None else out_ZYX
    last = axis == 2
    source = (
        volume_ZYX.reshape(-1, old) if last else volume_ZYX.reshape(-1, old, _rest(shape, axis))
    )
    target = result.reshape(-1, new) if last else result.reshape(-1, new, _rest(shape, axis))
    for start in range(0, new, _OUTPUT_BLOCK):
        rows = slice(start, min(start + _OUTPUT_BLOCK, new))
        band = _span(operator[rows].any(axis=0))
        part = operator[rows, band]
        if last:
            np.matmul(source[:, band], part.T, out=target[:, rows])
        else:
            np.matmul(part, source[:, band], out=target[:, rows])
    return result


def _rest(shape: tuple[int, ...], axis: int) -> int:
    return int(np.prod(shape[axis + 1 :]))


def _span(found: ArrayLike) -> slice:
    """Return the slice from the first to the last true element."""
    where = np.flatnonzero(found)
    return slice(int(where[0]), int(where[-1]) + 1)


def _nearest(volume_ZYX: NDArray, size: int, axis: int) -> NDArray:
    """Repeat or drop slices: order 0 with half-pixel centres, as scipy's map_coordinates."""
    old = volume_ZYX.shape[axis]
    if old == size:
        return volume_ZYX
    return np.asarray(np.take(volume_ZYX, _nearest_index(old, size), axis=axis))


def _nearest_index(old: int, size: int) -> NDArray[np.intp]:
    centres = old / size * (np.arange(size) + 0.5) - 0.5
    return np.asarray(np.clip(np.floor(centres + 0.5).astype(np.intp), 0, old - 1))
