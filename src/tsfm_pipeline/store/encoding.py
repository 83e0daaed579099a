"""How voxels become bytes: number formats and compressed, chunked arrays on disk.

CT is fixed-point HU (1/8 HU, so at most 1/16 HU off), MR is float16 of the z-scored image. Chunks
are small cubes, because training reads patches; blosc2's lz4 keeps decoding faster than a disk.
"""

from pathlib import Path
from typing import Literal

import blosc2
import numpy as np
from numpy.typing import NDArray

from tsfm_pipeline.imaging.intensity import CtStatistics, normalise_ct

CT_STEPS_PER_HU = 8
CT_LIMIT_HU = 4095
CHUNK = 64
BLOCK = (16, 32, 32)


def encode_image(
    image_CZYX: NDArray[np.float32], modality: Literal["CT", "MR"]
) -> NDArray[np.int16] | NDArray[np.float16]:
    """Turn an image in HU (CT) or z-scores (MR) into its stored number format."""
    if modality == "MR":
        return image_CZYX.astype(np.float16)
    stored = np.empty(image_CZYX.shape, np.int16)
    limit = CT_LIMIT_HU * CT_STEPS_PER_HU
    for channel_ZYX, stored_ZYX in zip(image_CZYX, stored, strict=True):
        for plane_YX, stored_YX in zip(channel_ZYX, stored_ZYX, strict=True):  # fits the cache
            steps_YX = plane_YX * np.float32(CT_STEPS_PER_HU)
            np.clip(steps_YX, -limit, limit, out=steps_YX)
            stored_YX[...] = np.rint(steps_YX, out=steps_YX)
    return stored


def decode_image(
    stored: NDArray, out: NDArray[np.float32], statistics: CtStatistics | None = None
) -> None:
    """Write stored numbers (C, z, y, x) back into `out` of the same shape.

    CT becomes HU, or normalised HU where statistics are given; MR is z-scores already.
    """
    np.copyto(out, stored)
    if stored.dtype != np.int16:
        return
    if statistics is None:
        out *= np.float32(1.0 / CT_STEPS_PER_HU)
    else:
        # In steps instead of HU: one pass less, and the same numbers, as 8 is a power of two.
        in_steps = {
            name: CT_STEPS_PER_HU * value for name, value in statistics.model_dump().items()
        }
        normalise_ct(out, CtStatistics(**in_steps), out=out)


def encode_array(array: NDArray) -> bytes:
    """Return the blosc2 file of a (..., z, y, x) array, chunked over its last three axes.

    Not written by blosc2, which does not say that a disk is full.
    """
    lead = (1,) * (array.ndim - 3)
    space = array.shape[-3:]
    # Labels are worth packing harder: they get half as large and are read faster.
    codec, level, chosen_filter = (
        (blosc2.Codec.LZ4, 9, blosc2.Filter.SHUFFLE)
        if array.itemsize > 1
        else (blosc2.Codec.LZ4HC, 3, blosc2.Filter.NOFILTER)
    )
    compressed = blosc2.asarray(
        np.ascontiguousarray(array),
        contiguous=True,
        chunks=lead + tuple(min(CHUNK, size) for size in space),
        blocks=lead + tuple(min(block, size) for block, size in zip(BLOCK, space, strict=True)),
        cparams=blosc2.CParams(codec=codec, clevel=level, filters=[chosen_filter], nthreads=1),
        dparams=blosc2.DParams(nthreads=1),  # else the file tells how many cores wrote it
    )
    return bytes(compressed.to_cframe())


def open_array(path: Path) -> blosc2.NDArray:
    """Open a written array for reading by slices.

    Opening costs half a millisecond and the page cache does the rest, so no handle is kept: what
    holds the store can be forked and pickled. One thread, because readers are many processes.
    """
    return blosc2.open(str(path), mode="r", mmap_mode="r", dparams=blosc2.DParams(nthreads=1))
