"""How voxels become bytes: number formats and compressed, chunked arrays on disk.

CT is fixed-point HU (1/8 HU, so at most 1/16 HU off), MR is float16 of the z-scored image. Chunks
are small cubes, because training reads patches; blosc2's lz4 keeps decoding faster than a disk.
"""

from pathlib import Path
from typing import Literal

import blosc2
import numpy as np
from numpy.typing import NDArray

CT_STEPS_PER_HU = 8
CT_LIMIT_HU = 4095
CHUNK = 64
BLOCK = 32


def encode_image(
    image_CZYX: NDArray[np.float32], modality: Literal["CT", "MR"]
) -> NDArray[np.int16] | NDArray[np.float16]:
    """Turn an image in HU (CT) or z-scores (MR) into its stored number format."""
    if modality == "MR":
        return image_CZYX.astype(np.float16)
    limited = np.clip(image_CZYX, -CT_LIMIT_HU, CT_LIMIT_HU)
    return np.rint(limited * CT_STEPS_PER_HU).astype(np.int16)


def decode_image(stored: NDArray, out: NDArray[np.float32]) -> None:
    """Write stored numbers back as HU or z-scores into `out` of the same shape."""
    np.copyto(out, stored)
    if stored.dtype == np.int16:
        out *= np.float32(1.0 / CT_STEPS_PER_HU)


def write_array(path: Path, array: NDArray) -> None:
    """Write a (..., z, y, x) array as one blosc2 file, chunked over its last three axes."""
    lead = (1,) * (array.ndim - 3)
    space = array.shape[-3:]
    shuffled = [blosc2.Filter.SHUFFLE] if array.itemsize > 1 else [blosc2.Filter.NOFILTER]
    blosc2.asarray(
        np.ascontiguousarray(array),
        urlpath=str(path),
        mode="w",
        chunks=lead + tuple(min(CHUNK, size) for size in space),
        blocks=lead + tuple(min(BLOCK, size) for size in space),
        cparams=blosc2.CParams(codec=blosc2.Codec.LZ4, clevel=1, filters=shuffled, nthreads=1),
    )


def open_array(path: Path) -> blosc2.NDArray:
    """Open a written array for reading by slices.

    Opening costs half a millisecond and the page cache does the rest, so no handle is kept: what
    holds the store can be forked and pickled. One thread, because readers are many processes.
    """
    return blosc2.open(str(path), mode="r", mmap_mode="r", dparams=blosc2.DParams(nthreads=1))
