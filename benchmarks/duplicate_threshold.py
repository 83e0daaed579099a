"""How far the thumbnails of one scan correlate, and those of different ones.

    TSFM_REALDATA=FOLDER python benchmarks/duplicate_threshold.py

Strangers: all pairs of the hippocampi (tight crops of one small structure: the hardest) and of the
CT crops. One scan twice: each case against changed copies of itself; the lowest correlation counts.
With --phantoms FOLDER (a raw_root of built-in data) the phantoms, too.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from figures import Figure, hand_over
from numpy.typing import NDArray
from scipy import ndimage

from tsfm_pipeline.imaging.volume import read_image
from tsfm_pipeline.imaging.voxel_fingerprint import thumbnail_correlation, voxel_fingerprint

SETS = {
    "Task04 hippocampus (MR)": ["Task04_Hippocampus/imagesTr/*.nii.gz"],
    "STS (CT crops)": ["STS_CT/*/CT_image.nii.gz"],
    "TotalSegmentator example (CT)": ["totalsegmentator_example/**/ct.nii.gz"],
}
PHANTOMS = {
    "phantoms (CT of the abdomen)": [
        "RawData/Training/img/*.nii.gz",
        "FLARE22_LabeledCase50/images/*.nii.gz",
        "kits21/data/*/imaging.nii.gz",
    ]
}


def copies(image: NDArray[np.float32]) -> Iterator[tuple[str, NDArray[np.floating]]]:
    """Yield changed copies of a (z, y, x) image."""
    rng = np.random.default_rng(0)
    low, high = np.percentile(image, (1, 99))

    def zoom(*factors: float) -> NDArray[np.floating]:
        return ndimage.zoom(image, factors, order=1, mode="nearest", grid_mode=True)

    def share(fraction: float, axis: int) -> int:
        return max(1, round(image.shape[axis] * fraction))

    yield "re-spaced x 1.6, 0.7, 0.7", zoom(1.6, 0.7, 0.7)
    yield "re-spaced x 0.6, 0.5, 0.5", zoom(0.6, 0.5, 0.5)
    yield "8 bits, 1st-99th percentile", np.rint(np.clip((image - low) / (high - low), 0, 1) * 255)
    yield "noise, 3 % of that range", image + rng.normal(0, 0.03 * (high - low), image.shape)
    yield (
        "padded by 10 % all around",
        np.pad(image, [(share(0.1, a),) * 2 for a in range(3)], constant_values=image.min()),
    )
    yield "5 % of the slices cut off", image[share(0.05, 0) :]
    yield "10 % of the slices cut off", image[share(0.1, 0) :]
    if image.min() < -500:
        yield "soft-tissue window -160..240", np.clip(image, -160, 240)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--phantoms", type=Path, help="raw_root of built-in data")
    parser.add_argument("--every", type=int, default=10, help="copies of every n-th case of a set")
    arguments = parser.parse_args()
    roots = [(Path(os.environ["TSFM_REALDATA"]), SETS)]
    if arguments.phantoms:
        roots.append((arguments.phantoms, PHANTOMS))
    found = [
        (name, sorted(path for pattern in patterns for path in root.glob(pattern)))
        for root, sets in roots
        for name, patterns in sets.items()
    ]
    for name, paths in found:
        images = [read_image([path]).array for path in paths]
        thumbnails = np.stack([voxel_fingerprint(image).thumbnail for image in images])
        strangers = thumbnail_correlation(thumbnails, thumbnails)[np.triu_indices(len(images), 1)]
        print(f"\n{name}: {len(images)} scans")
        if len(strangers):
            print(
                f"  strangers, {len(strangers)} pairs: highest {strangers.max():.2f},"
                f" 99 % below {np.quantile(strangers, 0.99):.2f}"
            )
            hand_over(Figure(f"{name}: strangers, highest", "correlation", strangers.max().item()))
        lowest: dict[str, float] = {}
        step = arguments.every if len(images) > arguments.every else 1
        for image, thumbnail in zip(images[::step], thumbnails[::step], strict=True):
            for change, copy in copies(image[0]):
                other = voxel_fingerprint(copy[None].astype(np.float32)).thumbnail
                value = float(thumbnail_correlation(thumbnail[None], other[None])[0, 0])
                lowest[change] = min(lowest.get(change, 1.0), value)
        for change, value in lowest.items():
            print(f"  same scan, {change}: lowest {value:.2f}")
            hand_over(Figure(f"{name}: same scan, {change}, lowest", "correlation", float(value)))


if __name__ == "__main__":
    main()
