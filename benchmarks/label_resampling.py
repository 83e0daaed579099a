"""Time and peak memory of resampling one label map of many classes.

    python benchmarks/label_resampling.py [--shape 800 512 512] [--classes 57]

The map holds smooth bodies of all classes and is resampled in a process of its own, whose peak
memory is read at its end. "before" is that of the process that only holds the map.
"""

import argparse
import resource
import subprocess
import sys
import time

import numpy as np
from figures import Figure, hand_over
from scipy import ndimage

from tsfm_pipeline.imaging.resampling import resample_labels, resampled_shape

CASES = {
    "3-D": ((1.5, 0.8, 0.8), (1.5, 1.0, 1.0)),
    "3-D, finer": ((1.5, 0.8, 0.8), (1.25, 0.75, 0.75)),
    "separate z": ((2.5, 0.8, 0.8), (2.0, 1.0, 1.0)),
}


def label_map(shape: tuple[int, int, int], classes: int) -> np.ndarray:
    """Return bodies of about 32 voxels across, every class many times."""
    rng = np.random.default_rng(0)
    coarse = [max(2, size // 16) for size in shape]
    seeds = ndimage.gaussian_filter(rng.normal(size=coarse).astype(np.float32), 1.0)
    ranks = np.argsort(np.argsort(seeds, axis=None)) * 3 * (classes + 1) // seeds.size
    steps = (ranks % (classes + 1)).astype(np.uint8).reshape(coarse)
    zoom = [size / small for size, small in zip(shape, coarse, strict=True)]
    return ndimage.zoom(steps, zoom, order=0, grid_mode=True, mode="nearest")


def resample(name: str, shape: tuple[int, int, int], classes: int) -> None:
    """Resample in this process and print a row."""
    spacing, target = CASES[name]
    labels = label_map(shape, classes)
    before = _peak_gb()
    new_shape = resampled_shape(shape, spacing, target)
    start = time.perf_counter()
    resample_labels(labels, new_shape, spacing, target)
    seconds = time.perf_counter() - start
    row = [name, shape, new_shape, f"{seconds:.1f}", f"{before:.2f}", f"{_peak_gb():.2f}"]
    print(f"| {' | '.join(map(str, row))} |", flush=True)
    hand_over(Figure(f"{name}, {classes} classes", "s", seconds, ours_gb=_peak_gb()))


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    """Print one row per rule."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(800, 512, 512))
    parser.add_argument("--classes", type=int, default=57)
    parser.add_argument("--only", choices=CASES, help="in this process (used by the script)")
    arguments = parser.parse_args()
    if arguments.only:
        resample(arguments.only, tuple(arguments.shape), arguments.classes)
        return
    print(f"{arguments.classes} classes\n")
    print("| rule | shape | new shape | seconds | GB before | GB at the peak |")
    print("|---|---|---|---|---|---|", flush=True)
    for name in CASES:
        command = [sys.executable, __file__, "--only", name, "--classes", str(arguments.classes)]
        command += ["--shape", *map(str, arguments.shape)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
