"""Intensities: the nonzero mask and its box, CT statistics, and normalisation as in nnU-Net v1.

Taken from nnU-Net v1.7.1: preprocessing/cropping.py, experiment_planning/DatasetAnalyzer.py and
preprocessing.py:GenericPreprocessor.resample_and_normalize.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.imaging.geometry import Triple

MR_EPSILON = 1e-8
AIR_HU = -900.0
"""CT numbers up to here are air; lung tissue lies around -800 HU."""


class IntensityError(ValueError):
    """Intensities from which nothing can be computed."""


class CtStatistics(FrozenModel):
    """Foreground statistics of a set of CT cases, in HU.

    Attributes:
        lower: 0.5th percentile.
        upper: 99.5th percentile.
        mean: mean.
        sd: population standard deviation.
    """

    lower: float
    upper: float
    mean: float
    sd: float = Field(gt=0)


def ct_statistics(samples: Iterable[NDArray[np.floating]]) -> CtStatistics:
    """Pool the foreground samples of cases (arrays of any shape, in HU) into one statistic.

    Raises:
        IntensityError: there is no sample, or all samples are equal.
    """
    pooled = np.concatenate([np.ravel(sample) for sample in samples] or [np.empty(0)])
    pooled = pooled.astype(np.float64)
    if pooled.size == 0 or pooled.min() == pooled.max():
        raise IntensityError(
            f"CT statistics need foreground voxels of different intensity; {pooled.size} were"
            " given. Check that the training cases have labelled voxels."
        )
    lower, upper = np.percentile(pooled, (0.5, 99.5))
    return CtStatistics(
        lower=float(lower), upper=float(upper), mean=float(pooled.mean()), sd=float(pooled.std())
    )


def normalise_ct(
    array: NDArray[np.floating],
    statistics: CtStatistics,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Clip HU of any shape to the percentiles, subtract the mean, divide by the sd.

    Args:
        array: HU.
        statistics: those of the run's training cases.
        out: where to put the result, `array` itself for instance; else it is a new array.
    """
    normalised = np.empty(array.shape, np.float32) if out is None else out
    np.clip(array, statistics.lower, statistics.upper, out=normalised, casting="unsafe")
    normalised -= np.float32(statistics.mean)
    normalised *= np.float32(1.0 / statistics.sd)
    return normalised


def normalise_mr(
    image_CZYX: NDArray[np.floating],
    mask_ZYX: NDArray[np.bool_] | None,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Z-score each channel over the whole volume, or over a mask outside which it becomes 0.

    Args:
        image_CZYX: intensities.
        mask_ZYX: the mask; None for the whole volume.
        out: where to put the result, `image_CZYX` itself for instance; else it is a new array.
    """
    normalised = np.empty(image_CZYX.shape, np.float32) if out is None else out
    inside_ZYX = np.ones(image_CZYX.shape[1:], bool) if mask_ZYX is None else mask_ZYX
    counted = int(inside_ZYX.sum())
    for channel_ZYX, out_ZYX in zip(image_CZYX, normalised, strict=True):
        # In float64, because MR maxima reach 3e6 and float32 sums of squares lose the small
        # values; plane by plane, because a volume of float64 is large.
        planes = list(zip(channel_ZYX, inside_ZYX, out_ZYX, strict=True))
        total = sum(plane[where].sum(dtype=np.float64) for plane, where, _ in planes)
        mean = np.float64(total / counted)
        squares = sum(np.square(plane[where] - mean).sum() for plane, where, _ in planes)
        scale = np.sqrt(squares / counted) + MR_EPSILON
        for plane, where, out_plane in planes:
            scores = (plane[where] - mean) / scale
            out_plane[...] = 0.0
            out_plane[where] = scores
    return normalised


def nonzero_mask(image_CZYX: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return the (z, y, x) mask of voxels that are nonzero in any channel, with holes filled.

    A hole is background that no path over voxel faces joins to the outside of the volume.
    """
    mask_ZYX = np.asarray((image_CZYX != 0).any(axis=0))
    if mask_ZYX.all() or not mask_ZYX.any():
        return mask_ZYX
    lower, shape = bounding_box(mask_ZYX)
    box = tuple(slice(start, start + size) for start, size in zip(lower, shape, strict=True))
    if _has_open_face(mask_ZYX[box]):
        # Labelled with a rim, all background that touches the box's faces is one component.
        components, _ = ndimage.label(np.pad(~mask_ZYX[box], 1, constant_values=True))
        mask_ZYX[box] = (components != components[0, 0, 0])[1:-1, 1:-1, 1:-1]
    else:
        mask_ZYX[box] = True
    return mask_ZYX


def _has_open_face(mask_ZYX: NDArray[np.bool_]) -> bool:
    """Tell whether any voxel on the six faces of a volume is background."""
    return any(not np.take(mask_ZYX, side, axis).all() for axis in range(3) for side in (0, -1))


def bounding_box(mask_ZYX: NDArray[np.bool_]) -> tuple[Triple, Triple]:
    """Return the first voxel and the shape (z, y, x) of the smallest box around a mask.

    Raises:
        IntensityError: the mask is empty.
    """
    if not mask_ZYX.any():
        raise IntensityError("all voxels are 0: the image is empty")
    lower, shape = [], []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        found = np.flatnonzero(mask_ZYX.any(axis=others))
        lower.append(int(found[0]))
        shape.append(int(found[-1] - found[0] + 1))
    return (lower[0], lower[1], lower[2]), (shape[0], shape[1], shape[2])
