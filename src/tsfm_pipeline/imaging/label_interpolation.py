"""Linear interpolation of label maps by the one-hot rule, at the cost of one label.

The rule (nnU-Net v1.7.1, batchgenerators' resize_segmentation of order 1): every label is
interpolated as a 0/1 volume and painted where that reaches one half, in ascending order. Most new
voxels lie between old voxels of one and the same label, which is then theirs. Only at borders is
anything computed, from the eight old voxels around. So neither time nor memory depends on the
number of labels.

Array names carry their axes: z, y, x voxels; K corners, N voxels.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsfm_pipeline.imaging.labels import BACKGROUND

_SLAB_VOXELS = 1 << 23
_BORDER_VOXELS = 1 << 12  # at once: what is computed for them stays in the processor's cache


@dataclass(frozen=True)
class Taps:
    """Between which two old voxels each new one lies, along one axis.

    Attributes:
        lower: (new,) index of the first one.
        upper: (new,) index of the second one; that of the first where it does not count.
        weights: (2, new) of either.
    """

    lower: NDArray[np.intp]
    upper: NDArray[np.intp]
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, operator: NDArray[np.float64]) -> "Taps":
        """Read them off a (new, old) matrix of linear interpolation."""
        new, old = operator.shape
        lower = (operator != 0).argmax(axis=1)
        upper = np.minimum(lower + 1, old - 1)
        rows = np.arange(new)
        first = operator[rows, lower]
        second = np.where(upper > lower, operator[rows, upper], 0.0)
        return cls(lower, np.where(second > 0, upper, lower), np.stack([first, second]))

    def part(self, rows: slice) -> "Taps":
        """Return those of some new voxels."""
        return Taps(self.lower[rows], self.upper[rows], self.weights[:, rows])

    def above(self, start: int) -> "Taps":
        """Return the same with old voxels counted from `start`."""
        return Taps(self.lower - start, self.upper - start, self.weights)


def interpolate_labels(labels_ZYX: NDArray[np.uint8], taps: tuple[Taps, ...]) -> NDArray[np.uint8]:
    """Interpolate a label map, slab by slab along z.

    Args:
        labels_ZYX: label integers; 255 (OUTSIDE, nnU-Net's -1) comes first in the order.
        taps: one per axis; they state the new shape.

    Returns:
        The label of highest order among those that reach one half, else background.
    """
    new_shape = tuple(len(along.lower) for along in taps)
    resampled_ZYX = np.empty(new_shape, np.uint8)
    planes = max(1, _SLAB_VOXELS // (new_shape[1] * new_shape[2]))
    for start in range(0, new_shape[0], planes):
        slab = slice(start, start + planes)
        along_z = taps[0].part(slab)
        first, last = along_z.lower[0], along_z.upper[-1]
        # One is added, so that OUTSIDE becomes 0 and the order that of the numbers.
        ranks_ZYX = labels_ZYX[first : last + 1] + np.uint8(1)
        ranks_ZYX = _interpolate_slab(ranks_ZYX, (along_z.above(int(first)), taps[1], taps[2]))
        np.subtract(ranks_ZYX, np.uint8(1), out=resampled_ZYX[slab])
    return resampled_ZYX


def _interpolate_slab(ranks_ZYX: NDArray[np.uint8], taps: tuple[Taps, ...]) -> NDArray[np.uint8]:
    """Take over what lies between equals; decide the rest voxel by voxel."""
    lowest_ZYX, highest_ZYX = ranks_ZYX, ranks_ZYX
    for axis, along in enumerate(taps):
        if (along.upper > along.lower).any():
            lowest_ZYX = _with_next(np.minimum, lowest_ZYX, axis)
            highest_ZYX = _with_next(np.maximum, highest_ZYX, axis)
    for axis, along in enumerate(taps):
        lowest_ZYX = np.take(lowest_ZYX, along.lower, axis=axis)
        highest_ZYX = np.take(highest_ZYX, along.lower, axis=axis)
    border = np.flatnonzero(lowest_ZYX != highest_ZYX)
    for start in range(0, len(border), _BORDER_VOXELS):
        part = border[start : start + _BORDER_VOXELS]
        voxels = np.unravel_index(part, lowest_ZYX.shape)
        lowest_ZYX.reshape(-1)[part] = _decide(ranks_ZYX, taps, voxels)
    return lowest_ZYX


def _with_next(choose: np.ufunc, values_ZYX: NDArray[np.uint8], axis: int) -> NDArray[np.uint8]:
    """Combine each voxel with the next along an axis; the last one stays."""
    chosen = values_ZYX.copy()
    moved, moved_chosen = np.moveaxis(values_ZYX, axis, 0), np.moveaxis(chosen, axis, 0)
    choose(moved[:-1], moved[1:], out=moved_chosen[:-1])
    return chosen


def _decide(
    ranks_ZYX: NDArray[np.uint8], taps: tuple[Taps, ...], voxels: tuple[NDArray[np.intp], ...]
) -> NDArray[np.int16]:
    """Return the rank of some new voxels.

    Weights are multiplied and added in the order of scipy's zoom, in float64: where a label lies
    half-way by construction, the last bit decides as it does there.
    """
    axes = [
        (along.lower[index], along.upper[index], along.weights[:, index])
        for along, index in zip(taps, voxels, strict=True)
    ]
    ranks_KN, weights_KN = [], []
    for corner in itertools.product((0, 1), repeat=3):
        places, weight_N = [], np.ones(len(voxels[0]))
        for side, (lower, upper, weights) in zip(corner, axes, strict=True):
            places.append(upper if side else lower)
            weight_N = weight_N * weights[side]
        ranks_KN.append(ranks_ZYX[tuple(places)])
        weights_KN.append(weight_N)
    found_KN = np.stack(ranks_KN)
    scores_KN = np.zeros(found_KN.shape)
    for rank_N, weight_N in zip(ranks_KN, weights_KN, strict=True):
        scores_KN += np.where(found_KN == rank_N, weight_N, 0.0)
    reached_N = np.where(scores_KN >= 0.5, found_KN.astype(np.int16), -1).max(axis=0)
    return np.asarray(np.where(reached_N < 0, BACKGROUND + 1, reached_N))
