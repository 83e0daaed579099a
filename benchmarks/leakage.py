"""Time and memory of comparing every two cases of a pool, from the thumbnails in its store.

    python benchmarks/leakage.py [--cases 2779]

Cases are stored with a tiny image and as many samples as a case of six organs has; 2 % of them are
noisy copies of others. One process compares them, of which time and peak memory are printed.
"""

import argparse
import json
import logging
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from child import peak_gb, run
from figures import Figure, hand_over
from scipy import ndimage

from tsfm_pipeline.imaging.geometry import Geometry, canonical_reorientation
from tsfm_pipeline.imaging.voxel_fingerprint import THUMBNAIL
from tsfm_pipeline.pool.duplicates import find_duplicates
from tsfm_pipeline.pool.settings import PoolSettings
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.store.record import CaseRecord

SHAPE = (8, 8, 8)
COPIES = 0.02
ORGANS, POINTS = 6, 10_000
MR = 0.25
"""Share of MR, as of the pool with its downstream datasets."""


def write_case(store: CaseStore, number: int, rng: np.random.Generator, copied: bool) -> None:
    grid = Geometry(
        SHAPE, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), ((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0))
    )
    record = CaseRecord(
        dataset="pool" if number % 5 else "downstream",
        case=f"case_{number:05d}",
        patient=f"patient_{number}",
        modality="CT",
        channels=1,
        geometry=grid,
        file_geometry=grid,
        reorientation=canonical_reorientation(grid),
        crop_lower=(0, 0, 0),
        crop_shape=SHAPE,
        uncropped_shape=SHAPE,
        uncropped_spacing=grid.spacing,
        target_voxels={},
        annotated=(),
        raw_digest="",
        preparation_digest="",
        image_identity="",
    )
    of = np.random.default_rng(number - 1 if copied else number)
    anatomy = ndimage.gaussian_filter(of.normal(size=(THUMBNAIL,) * 3), 1)
    anatomy /= anatomy.std()
    noise = rng.normal(0, 0.1, anatomy.shape)
    points = rng.integers(0, 8, (ORGANS, POINTS, 3)).astype(np.int32)
    store.write(
        record,
        np.zeros((1, *SHAPE), np.float32),
        np.zeros(SHAPE, np.uint8),
        dict(enumerate(points, 1)),
        rng.normal(size=(POINTS, 1)).astype(np.float32),
        (anatomy + noise).astype(np.float16),
    )


def compare(root: Path, cases: int) -> None:
    """Compare all cases in this process; print what it took and found, as JSON."""
    keys = [f"{'pool' if n % 5 else 'downstream'}/case_{n:05d}" for n in range(cases)]
    catalogue = pd.DataFrame({"key": keys})
    catalogue[["dataset", "case"]] = catalogue["key"].str.split("/", expand=True)
    catalogue["patient"] = catalogue["voxel_digest"] = catalogue["key"]
    catalogue["modality"] = np.where(np.arange(cases) < MR * cases, "MR", "CT")
    catalogue["verdict"] = "ok"
    pool = PoolSettings(datasets=("pool",), downstream=("downstream",))
    start = time.perf_counter()
    duplicates, doubtful = find_duplicates(catalogue, CaseStore(root), pool)
    seconds = time.perf_counter() - start
    found = {"duplicates": len(duplicates), "doubtful": len(doubtful)}
    print(json.dumps({"seconds": seconds, "peak_gb": peak_gb(), **found}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2779)
    parser.add_argument("--compare", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.disable(logging.INFO)
    if options.compare:
        compare(options.compare, options.cases)
        return
    with tempfile.TemporaryDirectory() as name:
        store, rng = CaseStore(Path(name)), np.random.default_rng(0)
        every = round(1 / COPIES)
        for number in range(options.cases):
            write_case(store, number, rng, copied=number > 0 and number % every == 0)
        command = [sys.executable, __file__, "--cases", str(options.cases), "--compare", name]
        took = run(command)
        print(
            f"{options.cases} cases, {options.cases * (options.cases - 1) // 2} pairs:"
            f" {took['seconds']:.1f} s, peak {took['peak_gb']:.2f} GB;"
            f" {took['duplicates']:.0f} of {(options.cases - 1) // every} planted copies found,"
            f" {took['doubtful']:.0f} doubtful pairs"
        )
        compared = f"comparing {options.cases} cases"
        hand_over(Figure(compared, "s", took["seconds"], ours_gb=took["peak_gb"]))


if __name__ == "__main__":
    main()
