"""Time and peak memory of the export: overlapping regions onto a finer original grid.

    python benchmarks/export.py [--slices 60 120 240 480] [--reference-python PATH]

Scores on a grid of 1.5x1x1 mm become labels on slices of 512x512 voxels at 1x0.8x0.8 mm. With
--reference-python, the Python of an environment that has nnunetv2, nnU-Net's
`convert_predicted_logits_to_segmentation_with_correct_shape` gets the same scores. Each tool runs
in a process of its own, which loads what its own predictor hands over: ours probabilities in
float32, nnU-Net's logits in float16. (So nnU-Net interpolates logits, and a few voxels differ.)
Disk needed: 6 bytes per score, 2.4 GB for 30 regions and 120 slices.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from child import peak_gb, run
from figures import Figure, hand_over

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.imaging.resampling import resampled_shape
from tsfm_pipeline.inference.export import OriginalGrid, export_case

FILE_SPACING = (1.0, 0.8, 0.8)
SPACING = (1.5, 1.0, 1.0)
REFERENCE = Path(__file__).parent / "reference" / "export_nnunetv2.py"


def write_scores(folder: Path, regions: int, shape: tuple[int, int, int]) -> None:
    """Write scores (K, Z, Y, X) of overlapping balls of organs' and lesions' sizes."""
    rng = np.random.default_rng(0)
    files = {name: folder / f"{name}.npy" for name in ("logits", "probabilities")}
    logits = np.lib.format.open_memmap(files["logits"], "w+", np.float16, (regions, *shape))
    scores = np.lib.format.open_memmap(files["probabilities"], "w+", np.float32, logits.shape)
    grid = np.ogrid[tuple(slice(-1, 1, size * 1j) for size in shape)]
    for number in range(regions):
        centre, radius = rng.uniform(-0.5, 0.5, 3), rng.uniform(0.1, 0.6)
        distance = np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)))
        logits[number] = np.clip((radius - distance) * 30, -20, 20)
        scores[number] = 1 / (1 + np.exp(-logits[number].astype(np.float32)))


def export(folder: Path, original: tuple[int, int, int]) -> None:
    """Export the probabilities of a file; print seconds and peak memory as JSON."""
    scores = np.load(folder / "probabilities.npy")
    names = [f"region_{number}" for number in range(len(scores))]
    table = LabelTable(targets={name: number for number, name in enumerate(names, start=1)})
    grid = OriginalGrid(SPACING, (0, 0, 0), original, original, FILE_SPACING)
    start = time.perf_counter()
    found = export_case(scores, grid, names, table)
    seconds = time.perf_counter() - start
    np.save(folder / "ours.npy", found)
    print(json.dumps({"seconds": seconds, "peak_gb": peak_gb()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--regions", type=int, default=30)
    parser.add_argument("--slices", type=int, nargs="+", default=[120])
    parser.add_argument("--size", type=int, default=512, help="voxels of a slice's side")
    parser.add_argument("--reference-python")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        export(args.child, (args.slices[0], args.size, args.size))
        return
    print("| slices | tool | seconds | peak GB | beside scores and labels | voxels that differ |")
    print("|---|---|---|---|---|---|")
    for slices in args.slices:
        original = (slices, args.size, args.size)
        shape = resampled_shape(original, FILE_SPACING, SPACING)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_scores(folder, args.regions, shape)
            grid = ["--size", str(args.size), "--slices", str(slices)]
            ours = run([sys.executable, __file__, "--child", name, *grid])
            values, voxels = args.regions * np.prod(shape) / 2**30, np.prod(original) / 2**30
            _row(slices, "tsfm-pipeline", ours, values * 4 + voxels, "")
            what = f"{args.regions} regions, {slices} slices"
            if not args.reference_python:
                hand_over(Figure(what, "s", ours["seconds"], ours_gb=ours["peak_gb"]))
                continue
            files = [str(folder / file) for file in ("logits.npy", "theirs.npy")]
            grids = [json.dumps(item) for item in (original, SPACING, FILE_SPACING)]
            theirs = run([args.reference_python, str(REFERENCE), *files, *grids])
            differ = np.load(folder / "ours.npy") != np.load(folder / "theirs.npy")
            found = f"{np.count_nonzero(differ)} of {differ.size}"
            _row(slices, "nnunetv2", theirs, values * 2 + voxels, found)
            time_share = ours["seconds"] / theirs["seconds"]
            memory_share = ours["peak_gb"] / theirs["peak_gb"]
            print(f"| {slices} | ratio | {time_share:.1%} | {memory_share:.1%} | | |")
            seconds, memory = zip(
                *((found["seconds"], found["peak_gb"]) for found in (ours, theirs)), strict=True
            )
            hand_over(
                Figure(what, "s", seconds[0], "nnunetv2", seconds[1], *memory),
                Figure(f"{what}: voxels that differ", "voxels", int(np.count_nonzero(differ))),
            )


def _row(slices: int, tool: str, found: dict[str, float], given: float, differ: str) -> None:
    peak = found["peak_gb"]
    numbers = f"{found['seconds']:.2f} | {peak:.2f} | {peak - given:.2f}"
    print(f"| {slices} | {tool} | {numbers} | {differ} |", flush=True)


if __name__ == "__main__":
    main()
