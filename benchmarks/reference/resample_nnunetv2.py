"""nnunetv2's resampling of one case; called by benchmarks/resampling.py in its environment."""

import json
import re
import sys
import time
from pathlib import Path

import numpy as np
from nnunetv2.preprocessing.resampling.default_resampling import (
    compute_new_shape,
    resample_data_or_seg_to_shape,
)

REPEATS = 5


def peak_gb() -> float:
    """Return this process's peak memory (ru_maxrss would count that of the one that started it)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 2**20


def main() -> None:
    folder = Path(sys.argv[1])
    spacing, target = json.loads(sys.argv[2]), json.loads(sys.argv[3])
    image = np.load(folder / "image.npy")[None]
    labels = np.load(folder / "labels.npy")[None]
    shape = compute_new_shape(image.shape[1:], spacing, target)
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        new_image = resample_data_or_seg_to_shape(
            image, shape, spacing, target, is_seg=False, order=3, order_z=0, force_separate_z=None
        )
        middle = time.perf_counter()
        new_labels = resample_data_or_seg_to_shape(
            labels, shape, spacing, target, is_seg=True, order=1, order_z=0, force_separate_z=None
        )
        seconds.append((middle - start, time.perf_counter() - middle))
    np.save(folder / "image_theirs.npy", new_image[0])
    np.save(folder / "labels_theirs.npy", new_labels[0].astype(np.uint8))
    best = map(min, zip(*seconds, strict=True))
    print(json.dumps(dict(zip(("image", "labels"), best, strict=True)) | {"peak_gb": peak_gb()}))


if __name__ == "__main__":
    main()
