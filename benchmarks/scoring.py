"""Time the scoring of one synthetic case: Dice, NSD, HD95, volumes and lesions of every region.

    python benchmarks/scoring.py [--shape 300 512 512] [--organs 15]

Two predictions of the same reference: every boundary 2 mm off, and the same with 1 % of all voxels
wrong, as an early checkpoint's would be. One process.
"""

import argparse
import resource
import time

import numpy as np
from figures import Figure, hand_over
from numpy.typing import NDArray

from tsfm_pipeline.evaluation.metrics import score_case
from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.imaging.labels import LabelTable

SPACING = (1.5, 0.8, 0.8)


def organs(shape: tuple[int, int, int], count: int, shift_mm: float) -> NDArray[np.uint8]:
    """Paint ellipsoids of 2 to 20 cm, each with a lesion, moved by `shift_mm` along x."""
    rng = np.random.default_rng(0)
    extent = np.array(shape) * SPACING
    labels_ZYX = np.zeros(shape, np.uint8)
    for organ in range(1, count + 1):
        radii = rng.uniform(0.04, 0.3, 3) * extent / 2
        centre = rng.uniform(radii, extent - radii)
        for value, size in ((organ, 1.0), (count + organ, 0.3)):
            lower = np.maximum((centre - radii * size) / SPACING, 0).astype(int)
            upper = np.minimum((centre + radii * size + shift_mm) / SPACING + 1, shape).astype(int)
            grids = np.ogrid[tuple(slice(*ends) for ends in zip(lower, upper, strict=True))]
            moved = centre + np.array([0, 0, shift_mm])
            inside = sum(
                ((grid * mm - middle) / (radius * size)) ** 2
                for grid, mm, middle, radius in zip(grids, SPACING, moved, radii, strict=True)
            )
            box = tuple(slice(*ends) for ends in zip(lower, upper, strict=True))
            labels_ZYX[box][np.asarray(inside) <= 1] = value
    return labels_ZYX


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", type=int, nargs=3, default=(300, 512, 512))
    parser.add_argument("--organs", type=int, default=15)
    given = parser.parse_args()
    shape, count = tuple(given.shape), given.organs
    names = [f"organ{i}" for i in range(count)] + [f"organ{i}_tumor" for i in range(count)]
    table = LabelTable(
        targets={name: value for value, name in enumerate(names, start=1)},
        regions={f"organ{i}": (f"organ{i}", f"organ{i}_tumor") for i in range(count)},
    )
    settings = EvaluationSettings(tumor_targets=("*_tumor",))
    reference = organs(shape, count, shift_mm=0)
    close = organs(shape, count, shift_mm=2)
    noisy = close.copy()
    rng = np.random.default_rng(1)
    wrong = rng.random(shape, np.float32) < 0.01
    noisy[wrong] = rng.integers(0, 2 * count + 1, np.count_nonzero(wrong), np.uint8)
    print(f"{shape} voxels, {count} organs and their tumours")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    for name, prediction in (("2 mm off", close), ("2 mm off, 1 % noise", noisy)):
        started = time.perf_counter()
        rows = score_case(reference, prediction, names, table, SPACING, settings)
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        dice = np.nanmean([float(row["dice"]) for row in rows])
        print(
            f"{name}: {seconds:.1f} s, mean Dice {dice:.3f},"
            f" peak memory {peak:.1f} GiB ({before:.1f} GiB before)"
        )
        hand_over(Figure(name, "s", seconds, ours_gb=peak))


if __name__ == "__main__":
    main()
