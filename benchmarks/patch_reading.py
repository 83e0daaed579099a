"""Time reading random training patches from a stored CT case, warm (from the page cache).

    python benchmarks/patch_reading.py [--shape 200 410 410] [--patch 112 160 192]

The case is smooth tissue with the noise of a CT. "normalised" adds clipping and scaling. Beside
it: what nnU-Net v1 reads, an uncompressed memory-mapped float32 array of image and labels.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage

from tsfm_pipeline.imaging.geometry import Geometry, Reorientation
from tsfm_pipeline.imaging.intensity import CtStatistics, normalise_ct
from tsfm_pipeline.store import CaseRecord, CaseStore

REPEATS = 30
STATISTICS = CtStatistics(lower=-900, upper=300, mean=60, sd=170)


def write_case(root: Path, shape: tuple[int, int, int]) -> CaseStore:
    """Write one synthetic CT case, and its float32 copy as nnU-Net v1 keeps it."""
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape).astype(np.float32), 3)
    image = smooth / smooth.std() * 200 + rng.normal(size=shape).astype(np.float32) * 15
    organs = ndimage.gaussian_filter(rng.normal(size=shape).astype(np.float32), 8)
    labels = np.digitize(organs / organs.std(), (1.0, 2.0)).astype(np.uint8)
    identity = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    geometry = Geometry(shape, (1.5, 1.0, 1.0), (0.0, 0.0, 0.0), identity)
    record = CaseRecord(
        dataset="benchmark",
        case="one",
        patient="one",
        modality="CT",
        channels=1,
        geometry=geometry,
        file_geometry=geometry,
        reorientation=Reorientation((0, 1, 2), (False, False, False)),
        crop_lower=(0, 0, 0),
        crop_shape=shape,
        uncropped_shape=shape,
        uncropped_spacing=geometry.spacing,
        target_voxels={1: int((labels == 1).sum())},
        annotated=("liver",),
        raw_digest="",
        preparation_digest="",
        image_identity="",
    )
    store = CaseStore(root)
    store.write(record, image[None], labels, {}, np.empty((0, 1), np.float32))
    np.save(root / "float32.npy", np.stack([image, labels.astype(np.float32)]))
    return store


def milliseconds(read: Callable[[tuple[int, int, int]], object], corners: np.ndarray) -> float:
    """Return the median processor time of reading at each corner, after one round to warm up.

    Processor time, because reading is one thread and other programs shall not count.
    """
    times = []
    for corner in (*corners, *corners):
        start = time.process_time()
        read((int(corner[0]), int(corner[1]), int(corner[2])))
        times.append(time.process_time() - start)
    return float(np.median(times[len(corners) :]) * 1e3)


def main() -> None:
    """Print one row per way of reading."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(200, 410, 410))
    parser.add_argument("--patch", type=int, nargs=3, default=(112, 160, 192))
    arguments = parser.parse_args()
    shape, size = tuple(arguments.shape), tuple(arguments.patch)
    corners = np.random.default_rng(1).integers(0, np.subtract(shape, size) + 1, (REPEATS, 3))
    with tempfile.TemporaryDirectory() as folder:
        store = write_case(Path(folder), shape)
        plain = Path(folder) / "float32.npy"

        def normalised(lower: tuple[int, int, int]) -> object:
            image, _, inside = store.read_patch("benchmark/one", lower, size)
            part = image[(slice(None), *inside)]
            return normalise_ct(part, STATISTICS, out=part)

        def memory_mapped(lower: tuple[int, int, int]) -> object:
            box = tuple(slice(a, a + n) for a, n in zip(lower, size, strict=True))
            return np.array(np.load(plain, mmap_mode="r")[(slice(None), *box)])

        case = Path(folder) / "benchmark" / "one"
        kept = sum(file.stat().st_size for file in case.iterdir()) / 1e6
        rows = {
            "store, image and labels": (
                lambda lower: store.read_patch("benchmark/one", lower, size),
                kept,
            ),
            "store, image normalised": (normalised, kept),
            "float32 .npy, memory-mapped": (memory_mapped, plain.stat().st_size / 1e6),
        }
        print(f"patch {size} of a case {shape}, median of {REPEATS}\n")
        print("| read | CPU ms | MB on disk |\n|---|---|---|")
        for name, (read, size_mb) in rows.items():
            print(f"| {name} | {milliseconds(read, corners):.1f} | {size_mb:.0f} |")


if __name__ == "__main__":
    main()
