"""How nnU-Net v2 stores a prepared case, for the benchmark of patch reading.

Of nnunetv2 2.8, training/dataloading/nnunet_dataset.py: chunks and blocks as in
`comp_blosc2_params`, codec and filter as in `nnUNetDatasetBlosc2.save_case`, opened as in
`load_case`.
"""

import math
from pathlib import Path

import blosc2
import numpy as np
from numpy.typing import NDArray

MAX_BLOCK_BYTES = 128 * 1024
MAX_CHUNK_BYTES = 6 * 1024**2
CHUNK_TO_PATCH = 1.5
LEVEL = 5


def blocks_and_chunks(
    shape: tuple[int, ...], patch: tuple[int, int, int], item_bytes: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes (1, z, y, x) of blocks and chunks for an array (C, z, y, x).

    A block starts as the patch, each side rounded up to a power of two, and the side that is
    largest beside its limit is halved until the block fits. A chunk grows from it by one block
    along the axis that it covers least, as long as it fits, up to 1.5 times the patch.
    """
    space = shape[1:]
    limits = [
        min(size, math.floor(CHUNK_TO_PATCH * side))
        for size, side in zip(space, patch, strict=True)
    ]
    block = [
        min(1 << (side - 1).bit_length(), size) for size, side in zip(space, patch, strict=True)
    ]
    while math.prod(block) * item_bytes > MAX_BLOCK_BYTES:
        axis = max((a for a in range(3) if block[a] > 1), key=lambda a: (block[a] / limits[a], a))
        block[axis] = 1 << ((block[axis] - 1).bit_length() - 1)
    chunk = list(block)
    while True:
        larger = []
        for axis in range(3):
            grown = list(chunk)
            grown[axis] = min(chunk[axis] + block[axis], limits[axis])
            fits = math.prod(grown) * item_bytes <= MAX_CHUNK_BYTES
            if patch[axis] > 1 and grown[axis] > chunk[axis] and fits:
                larger.append((chunk[axis] / limits[axis], -space[axis], axis, grown))
        if not larger:
            return (1, *block), (1, *chunk)
        chunk = min(larger)[-1]


def write(path: Path, array_CZYX: NDArray, patch: tuple[int, int, int]) -> None:
    """Write an array as nnU-Net v2 does, with whichever filter makes it smaller."""
    blocks, chunks = blocks_and_chunks(array_CZYX.shape, patch, array_CZYX.itemsize)
    packed = [
        blosc2.asarray(
            array_CZYX,
            chunks=chunks,
            blocks=blocks,
            cparams={"codec": blosc2.Codec.LZ4HC, "clevel": LEVEL, "filters": [kind]},
        )
        for kind in (blosc2.Filter.NOFILTER, blosc2.Filter.SHUFFLE)
    ]
    smallest = min(packed, key=lambda one: one.schunk.cbytes)
    smallest.save(str(path))


def read(path: Path, box: tuple[slice, slice, slice]) -> NDArray:
    """Open an array and read a box of it, with one thread."""
    array = blosc2.open(str(path), mode="r", dparams={"nthreads": 1}, mmap_mode="r")
    return np.asarray(array[(slice(None), *box)])
