"""Time reading random training patches from a stored CT case, warm (from the page cache).

    python benchmarks/patch_reading.py [--shape 200 410 410] [--patch 112 160 192]

The case is smooth tissue with the noise of a CT. "normalised" adds clipping and scaling. Beside
it: the same steps one after the other on the whole patch; what nnU-Net v1 reads, an uncompressed
memory-mapped float32 array of image and labels; and what nnU-Net v2 reads, blosc2 files of float32
and int8 (nnunetv2_storage.py). A second table has the parts of ours, each alone.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nnunetv2_storage
import numpy as np
from figures import Figure, hand_over
from numpy.typing import NDArray
from scipy import ndimage

from tsfm_pipeline.imaging.geometry import Geometry, Reorientation
from tsfm_pipeline.imaging.intensity import CtStatistics, normalise_ct
from tsfm_pipeline.imaging.labels import OUTSIDE
from tsfm_pipeline.store import CaseRecord, CaseStore
from tsfm_pipeline.store.encoding import decode_image, open_array

REPEATS = 30
OURS = "store, normalised"
STATISTICS = CtStatistics(lower=-900, upper=300, mean=60, sd=170)


def write_case(root: Path, shape: tuple[int, int, int], case: str = "one") -> CaseStore:
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
        case=case,
        patient=case,
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
    store.write(record, image[None], labels, {}, image[labels > 0][::1000, None])
    np.save(root / "float32.npy", np.stack([image, labels.astype(np.float32)]))
    return store


def write_blosc2(
    folder: Path,
    image_CZYX: NDArray[np.float32],
    labels_CZYX: NDArray[np.int8],
    patch: tuple[int, int, int],
) -> None:
    """Write image and labels as nnU-Net v2 keeps them."""
    folder.mkdir()
    nnunetv2_storage.write(folder / "one.b2nd", np.ascontiguousarray(image_CZYX), patch)
    nnunetv2_storage.write(folder / "one_seg.b2nd", labels_CZYX, patch)


def read_at_once(
    store: CaseStore, lower: tuple[int, int, int], size: tuple[int, int, int]
) -> object:
    """Read and normalise a patch in the plainest way: decode all of it, then each step."""
    folder = store.root / "benchmark" / "one"
    box = tuple(slice(a, a + n) for a, n in zip(lower, size, strict=True))
    image = np.zeros((1, *size), np.float32)
    labels = np.full(size, OUTSIDE, np.uint8)
    np.copyto(image, open_array(folder / "image.b2nd")[(slice(None), *box)])
    image *= np.float32(1 / 8)
    normalise_ct(image, STATISTICS, out=image)
    labels[...] = open_array(folder / "labels.b2nd")[box]
    return image, labels


def parts_of(
    store: CaseStore, size: tuple[int, int, int]
) -> dict[str, Callable[[tuple[int, int, int]], object]]:
    """Return what reading and normalising a patch consists of."""
    folder = store.root / "benchmark" / "one"
    image, labels = (open_array(folder / f"{name}.b2nd") for name in ("image", "labels"))
    stored, decoded = np.zeros((1, *size), np.int16), np.zeros((1, *size), np.float32)

    def box(lower: tuple[int, int, int]) -> tuple[slice, ...]:
        return tuple(slice(a, a + n) for a, n in zip(lower, size, strict=True))

    return {
        "unpacking the image": lambda lower: image[(slice(None), *box(lower))],
        "unpacking the labels": lambda lower: labels[box(lower)],
        "to float32, clipped and scaled": lambda _: decode_image(stored, decoded, STATISTICS),
        "new memory": lambda _: (np.full(size, 1, np.float32), np.full(size, OUTSIDE, np.uint8)),
    }


def main() -> None:
    """Print one row per way of reading; the ways take turns, so that a busy machine is fair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(200, 410, 410))
    parser.add_argument("--patch", type=int, nargs=3, default=(112, 160, 192))
    arguments = parser.parse_args()
    shape, size = tuple(arguments.shape), tuple(arguments.patch)
    corners = np.random.default_rng(1).integers(0, np.subtract(shape, size) + 1, (REPEATS, 3))
    with tempfile.TemporaryDirectory() as folder:
        store = write_case(Path(folder), shape)
        plain = Path(folder) / "float32.npy"

        def memory_mapped(lower: tuple[int, int, int]) -> object:
            box = tuple(slice(a, a + n) for a, n in zip(lower, size, strict=True))
            return np.array(np.load(plain, mmap_mode="r")[(slice(None), *box)])

        theirs = Path(folder) / "nnunetv2"
        stored = np.load(plain, mmap_mode="r")
        write_blosc2(theirs, stored[:1], stored[1:].astype(np.int8), size)

        def nnunetv2(lower: tuple[int, int, int]) -> object:
            box = tuple(slice(a, a + n) for a, n in zip(lower, size, strict=True))
            return [nnunetv2_storage.read(path, box) for path in sorted(theirs.iterdir())]

        case = Path(folder) / "benchmark" / "one"
        kept = sum(file.stat().st_size for file in case.iterdir()) / 1e6
        ways: dict[str, tuple[Callable[[tuple[int, int, int]], object], float]] = {
            "store, HU": (lambda lower: store.read_patch("benchmark/one", lower, size), kept),
            OURS: (
                lambda lower: store.read_patch("benchmark/one", lower, size, STATISTICS),
                kept,
            ),
            "the same, decoded at once": (lambda lower: read_at_once(store, lower, size), kept),
            "float32 .npy, memory-mapped": (memory_mapped, plain.stat().st_size / 1e6),
            "blosc2 of nnU-Net v2": (
                nnunetv2,
                sum(file.stat().st_size for file in theirs.iterdir()) / 1e6,
            ),
        }
        elapsed, processor = measure({name: read for name, (read, _) in ways.items()}, corners)
        print(f"patch {size} of a case {shape}, image and labels, median of {REPEATS}\n")
        print("| read | ms | CPU ms | MB on disk |\n|---|---|---|---|")
        for name, (_, megabytes) in ways.items():
            print(f"| {name} | {elapsed[name]:.1f} | {processor[name]:.1f} | {megabytes:.0f} |")
        print("\n| part | ms |\n|---|---|")
        for name, spent in measure(parts_of(store, size), corners)[0].items():
            print(f"| {name} | {spent:.1f} |")
        for peer in list(ways)[-2:]:
            hand_over(
                Figure("patch, normalised", "ms", elapsed[OURS], peer, elapsed[peer]),
                Figure("case on disk", "MB", ways[OURS][1], peer, ways[peer][1]),
            )


def measure(
    ways: dict[str, Callable[[tuple[int, int, int]], object]], corners: np.ndarray
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the median milliseconds, by the clock and of the processor, of each way of reading.

    The first round warms up and is not counted.
    """
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for corner in (*corners, *corners):
        lower = (int(corner[0]), int(corner[1]), int(corner[2]))
        for name, read in ways.items():
            start, processor_start = time.perf_counter(), time.process_time()
            read(lower)
            spent = time.process_time() - processor_start
            times[name].append((time.perf_counter() - start, spent))
    medians = {
        name: np.median(found[len(corners) :], axis=0) * 1e3 for name, found in times.items()
    }
    return (
        {name: float(pair[0]) for name, pair in medians.items()},
        {name: float(pair[1]) for name, pair in medians.items()},
    )


if __name__ == "__main__":
    main()
