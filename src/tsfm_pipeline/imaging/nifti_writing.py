"""Write NIfTI files, each whole or not at all, whatever ITK says of it."""

import errno
import os
from pathlib import Path

import SimpleITK as sitk

from tsfm_pipeline.files import write_atomically

HEADERS = (352, 544)
"""Bytes before the voxels, of NIfTI-1 and of NIfTI-2."""
PROBE = bytes(1 << 16)


def write_nifti(path: Path, image: sitk.Image) -> None:
    """Write an image as .nii, or packed as .nii.gz; the file appears complete or not at all.

    Raises:
        OSError: it can't be written. ITK itself leaves a short file on a full disk, and says
            nothing (SimpleITK 2.5).
    """
    write_atomically(path, lambda temporary: _write(temporary, image))


def _write(file: Path, image: sitk.Image) -> None:
    try:
        sitk.WriteImage(image, str(file), useCompression=file.name.endswith(".gz"))
    except RuntimeError as error:
        raise _cause(file) from error
    voxels = image.GetNumberOfPixels() * image.GetNumberOfComponentsPerPixel()
    content = voxels * image.GetSizeOfPixelComponent()
    if _unpacked_size(file) not in [(content + header) % 2**32 for header in HEADERS]:
        raise _cause(file)


def _unpacked_size(file: Path) -> int:
    """Return the size without packing, modulo 2**32; of a gzip file it is its last word."""
    if not file.name.endswith(".gz"):
        return file.stat().st_size % 2**32
    with file.open("rb") as packed:
        packed.seek(max(0, file.stat().st_size - 4))
        return int.from_bytes(packed.read(), "little")


def _cause(file: Path) -> OSError:
    """Return the error that the system gives for writing more where ITK could not."""
    try:
        with file.open("ab") as opened:
            opened.write(PROBE)
            os.fsync(opened.fileno())
    except OSError as error:
        return error
    return OSError(errno.EIO, "not written whole")
