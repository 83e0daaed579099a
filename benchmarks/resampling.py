"""Time resampling CTs with labels against nnunetv2's own functions.

    python benchmarks/resampling.py --reference-python ENV/bin/python [--shape 100 512 512]
        [--labels organs|blobs]
    TSFM_REALDATA=FOLDER python benchmarks/resampling.py --real --reference-python ENV/bin/python

A made-up CT goes to 1.25x1x1 mm; with --real, those of FOLDER/STS_CT (CT_image.nii.gz and
CT_mask.nii.gz in a folder each) to 1.5x1x1 mm. ENV is an environment with nnunetv2 (`make
nnunet`). Both get the same arrays, each tool in a process of its own, one after the other on the
same cores; the quickest of five times counts, because memory that a process touches for the first
time can cost more than the work; decoding is not counted. nnU-Net's own rule decides the path: 3-D
cubic from 2.0x0.8x0.8 mm, axis by axis from 2.5x0.8x0.8 mm. Labels are compared voxel by voxel,
images by the largest difference.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from child import peak_gb, run
from figures import Figure, hand_over
from scipy import ndimage

from tsfm_pipeline.imaging.resampling import resample_image, resample_labels, resampled_shape
from tsfm_pipeline.imaging.volume import read_image, read_label

REPEATS = 5
TARGET = (1.25, 1.0, 1.0)
REAL_TARGET = (1.5, 1.0, 1.0)
CASES = {"3-D cubic": (2.0, 0.8, 0.8), "separate z": (2.5, 0.8, 0.8)}
REFERENCE = Path(__file__).parent / "reference" / "resample_nnunetv2.py"


def write_case(folder: Path, shape: tuple[int, int, int], kind: str) -> None:
    """Write a noisy CT with five labels: balls of organs' sizes, or blobs that are all border."""
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape).astype(np.float32), 4)
    smooth /= smooth.std()
    image = smooth * 300 + rng.normal(size=shape) * 20
    np.save(folder / "image.npy", image.astype(np.float32))
    labels = np.digitize(smooth, (0.5, 1.0, 1.5, 2.0, 2.5)).astype(np.uint8)
    if kind == "organs":
        labels[...] = 0
        grid = np.ogrid[tuple(slice(-1, 1, size * 1j) for size in shape)]
        for number, radius in enumerate((0.5, 0.3, 0.25, 0.2, 0.1), start=1):
            centre = rng.uniform(-0.4, 0.4, 3)
            distance = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))
            labels[distance < radius**2] = number
    np.save(folder / "labels.npy", labels)


def real_cases(folder: Path) -> Iterator[tuple[str, tuple[float, float, float]]]:
    """Write the real cases one after the other; yield name and spacing of what is there."""
    for image in sorted(Path(os.environ["TSFM_REALDATA"]).glob("STS_CT/*/CT_image.nii.gz")):
        volume = read_image([image])
        labels = read_label(image.with_name("CT_mask.nii.gz"), volume)
        np.save(folder / "image.npy", volume.array[0])
        np.save(folder / "labels.npy", labels.astype(np.uint8))
        yield image.parent.name, volume.geometry.spacing


def resample(
    folder: Path, spacing: tuple[float, float, float], target: tuple[float, float, float]
) -> None:
    """Resample the case with ours; print seconds and peak memory as JSON."""
    image, labels = np.load(folder / "image.npy")[None], np.load(folder / "labels.npy")
    shape = resampled_shape(labels.shape, spacing, target)
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        new_image = resample_image(image, shape, spacing, target)
        middle = time.perf_counter()
        new_labels = resample_labels(labels, shape, spacing, target)
        seconds.append((middle - start, time.perf_counter() - middle))
    np.save(folder / "image_ours.npy", new_image[0])
    np.save(folder / "labels_ours.npy", new_labels)
    best = map(min, zip(*seconds, strict=True))
    print(json.dumps(dict(zip(("image", "labels"), best, strict=True)) | {"peak_gb": peak_gb()}))


def main() -> None:
    """Print a row per path: seconds of image and labels, ratio, memory and differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(100, 512, 512))
    parser.add_argument("--labels", choices=("organs", "blobs"), default="organs")
    parser.add_argument("--real", action="store_true", help="the CTs of TSFM_REALDATA")
    parser.add_argument("--reference-python")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--spacing", type=float, nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--target", type=float, nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        resample(args.child, tuple(args.spacing), tuple(args.target))
        return
    target = REAL_TARGET if args.real else TARGET
    print("| path | tool | image s | labels s | peak GB | image differs by | label voxels |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not args.real:
            write_case(folder, tuple(args.shape), args.labels)
        for path, spacing in real_cases(folder) if args.real else CASES.items():
            grids = ["--spacing", *map(str, spacing), "--target", *map(str, target)]
            ours = run([sys.executable, __file__, "--child", name, *grids])
            _row(path, "tsfm-pipeline", ours, "|")
            case = path if args.real else f"{path}, {args.labels}"
            memory = ours["peak_gb"]
            if not args.reference_python:
                for what in ("image", "labels"):
                    hand_over(Figure(f"{what}, {case}", "s", ours[what], ours_gb=memory))
                continue
            sides = json.dumps(spacing), json.dumps(target)
            theirs = run([args.reference_python, str(REFERENCE), name, *sides])
            _row(path, "nnunetv2", theirs, _difference(folder))
            speeds = (f"{theirs[what] / ours[what]:.1f}x" for what in ("image", "labels"))
            both = sum(theirs[w] for w in ("image", "labels")) / (ours["image"] + ours["labels"])
            share = memory / theirs["peak_gb"]
            print(f"| {path} | **both: {both:.1f}x** | {' | '.join(speeds)} | {share:.0%} | | |")
            for what in ("image", "labels"):
                seconds, peer = ours[what], ("nnunetv2", theirs[what])
                hand_over(Figure(f"{what}, {case}", "s", seconds, *peer, memory, theirs["peak_gb"]))


def _difference(folder: Path) -> str:
    image, labels = (
        [np.load(folder / f"{what}_{tool}.npy") for tool in ("ours", "theirs")]
        for what in ("image", "labels")
    )
    differ = np.count_nonzero(labels[0] != labels[1])
    return f"{np.abs(image[0] - image[1]).max():.1e} HU | {differ} of {labels[0].size}"


def _row(path: str, tool: str, found: dict[str, float], differences: str) -> None:
    seconds = f"{found['image']:.2f} | {found['labels']:.2f}"
    print(f"| {path} | {tool} | {seconds} | {found['peak_gb']:.2f} | {differences} |", flush=True)


if __name__ == "__main__":
    main()
