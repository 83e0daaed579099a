"""Time resampling against skimage.transform.resize by nnU-Net v1's rule, and compare results.

    python benchmarks/resampling.py [--shape 100 256 256]

Both run in this process, on the same cores. skimage is what nnU-Net calls for an image; for
labels it is called once per label on its 0/1 mask, as nnU-Net's resize_segmentation does.
"""

import argparse
import time

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.transform import resize

from tsfm_pipeline.imaging.resampling import (
    resample_image,
    resample_labels,
    resampled_shape,
    separate_axis,
)

TARGET = (1.25, 1.0, 1.0)
CASES = {"3-D cubic": (2.0, 0.8, 0.8), "separate z": (4.0, 0.8, 0.8)}


def reference_image(image_ZYX: NDArray, new_shape: tuple[int, ...], axis: int | None) -> NDArray:
    """nnU-Net v1's resample_data_or_seg for one channel; the separate axis must be z."""
    if axis is None:
        return np.asarray(resize(image_ZYX, new_shape, 3, mode="edge", anti_aliasing=False))
    slices = [resize(s, new_shape[1:], 3, mode="edge", anti_aliasing=False) for s in image_ZYX]
    return _nearest_z(np.stack(slices), new_shape[0])


def reference_labels(labels_ZYX: NDArray, new_shape: tuple[int, ...], axis: int | None) -> NDArray:
    """nnU-Net v1's one-hot rule; the separate axis must be z."""
    if axis is None:
        return _one_hot(labels_ZYX, new_shape)
    return _nearest_z(np.stack([_one_hot(s, new_shape[1:]) for s in labels_ZYX]), new_shape[0])


def _one_hot(labels: NDArray, new_shape: tuple[int, ...]) -> NDArray:
    resized = np.zeros(new_shape, labels.dtype)
    for value in np.unique(labels):
        mask = (labels == value).astype(float)
        score = resize(mask, new_shape, 1, mode="edge", clip=True, anti_aliasing=False)
        resized[score >= 0.5] = value
    return resized


def _nearest_z(volume_ZYX: NDArray, size: int) -> NDArray:
    grid = np.indices((size, *volume_ZYX.shape[1:])).astype(float)
    grid[0] = volume_ZYX.shape[0] / size * (grid[0] + 0.5) - 0.5
    return np.asarray(ndimage.map_coordinates(volume_ZYX, grid, order=0, mode="nearest"))


def main() -> None:
    """Print one row per rule and kind of volume."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(100, 256, 256))
    shape = tuple(parser.parse_args().shape)
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape).astype(np.float32), 4)
    smooth /= smooth.std()
    image = (smooth * 300 + rng.normal(size=shape) * 20).astype(np.float32)
    labels = np.digitize(smooth, (0.5, 1.0, 1.5, 2.0, 2.5)).astype(np.uint8)
    print("| rule | what | seconds | skimage | ratio | difference |\n|---|---|---|---|---|---|")
    for rule, spacing in CASES.items():
        new_shape = resampled_shape(shape, spacing, TARGET)
        axis = separate_axis(spacing, TARGET)
        start = time.perf_counter()
        ours = resample_image(image[None], new_shape, spacing, TARGET)[0]
        middle = time.perf_counter()
        theirs = reference_image(image, new_shape, axis)
        end = time.perf_counter()
        difference = f"{np.abs(ours - theirs).max():.1e} HU at most"
        _row(rule, "image", middle - start, end - middle, difference)
        start = time.perf_counter()
        our_labels = resample_labels(labels, new_shape, spacing, TARGET)
        middle = time.perf_counter()
        their_labels = reference_labels(labels, new_shape, axis)
        end = time.perf_counter()
        difference = f"{(our_labels != their_labels).sum()} of {our_labels.size} voxels"
        _row(rule, "5 labels", middle - start, end - middle, difference)


def _row(rule: str, what: str, ours: float, theirs: float, difference: str) -> None:
    ratio = theirs / ours
    print(f"| {rule} | {what} | {ours:.2f} | {theirs:.2f} | {ratio:.1f}x | {difference} |")


if __name__ == "__main__":
    main()
