"""What a file's header claims, held against its bytes and the machine before anything is read.

ITK trusts headers: it would allocate 30,000^3 voxels for a ten-kilobyte file, take a voxel size
of 0 for 1 mm, and hand out uninitialised memory where a MetaImage's compressed data are damaged.
"""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import SimpleITK as sitk

from tsfm_pipeline.prediction.problem import ScanError

MOST_COMPRESSION = 1100
"""deflate cannot pack tighter than 1032 to 1."""

MEMORY_FRACTION = 0.7
COPIES = 4
"""Float32 copies of a volume that are alive at once while it is prepared."""

_META_BYTES = {
    **{"SHORT": 2, "INT": 4, "LONG_LONG": 8},
    **{"MET_SHORT": 2, "MET_INT": 4, "MET_LONG_LONG": 8, "MET_FLOAT": 4, "MET_DOUBLE": 8},
}
"""Bytes of MetaImage's types, unsigned ones without MET_U; others count as 1 (LONG has 4 or 8)."""
_NIFTI1 = b"\x5c\x01\x00\x00"  # 348, the size of its header
_HEADER_BYTES = 1 << 16
_BLOCK = 1 << 20


def check_claims(path: Path) -> None:
    """Refuse a file whose header claims what its bytes or the memory can't hold.

    Raises:
        ScanError: as said; nothing has been allocated yet. Headers that can't be read at all pass:
            the reader that comes next has better words for them.
    """
    if path.suffix.lower() in (".mha", ".mhd"):
        _check_meta_image(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return
    size = reader.GetSize()
    voxels = math.prod(size)
    shown = " x ".join(map(str, size))
    if path.suffix.lower() != ".mhd":  # its voxels lie in another file, and were counted there
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        bits = reader.GetMetaData("bitpix") if reader.HasMetaDataKey("bitpix") else "8"
        stored = path.stat().st_size
        tightest = MOST_COMPRESSION if packed or path.suffix.lower() != ".nii" else 1
        if voxels * int(bits) // 8 > stored * tightest:
            raise ScanError(
                f"its header claims {shown} voxels, more than its {stored} bytes can hold; it is"
                " truncated or damaged, export it again"
            )
    check_memory(voxels, f"{shown} voxels")
    if reader.HasMetaDataKey("bitpix"):
        _check_nifti_voxel_size(path)


def check_memory(voxels: float, what: str) -> None:
    """Refuse what can't be prepared in this machine's memory.

    Raises:
        ScanError: naming what it takes and what there is.
    """
    needed = voxels * 4 * COPIES / 2**30
    present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    if needed > MEMORY_FRACTION * present:
        raise ScanError(
            f"{what} take about {needed:.0f} GB to prepare, and this machine has {present:.0f} GB;"
            " crop the scan, or take a larger machine if its size is right"
        )


def _check_nifti_voxel_size(path: Path) -> None:
    """Refuse a NIfTI-1 voxel size that is 0 or not a number; the reader would take 1 mm."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as stream:
        header = stream.read(92)
    order = "<" if header[:4] == _NIFTI1 else ">"
    if len(header) < 92 or _NIFTI1 not in (header[:4], header[3::-1]):
        return
    sizes = struct.unpack(f"{order}3f", header[80:92])
    if not all(math.isfinite(size) and size for size in sizes):
        raise ScanError(f"its header states voxels of {sizes} mm; correct pixdim in the header")


def _check_meta_image(path: Path) -> None:
    """Check a MetaImage's fields and unpack its data once.

    ITK aborts the process over an absurd NDims, reads whatever ElementDataFile names, and does
    not look at whether the data could be unpacked.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    mark = head.find(b"ElementDataFile")
    end = head.find(b"\n", mark) + 1
    if mark < 0 or not end:
        raise ScanError("its header names no ElementDataFile; it is damaged, export it again")
    fields = {
        key.strip(): value.strip()
        for key, _, value in (
            line.partition("=") for line in head[:end].decode("latin-1").splitlines()
        )
    }
    try:
        sides = [int(side) for side in fields["DimSize"].split()]
        axes = int(fields["NDims"])
    except (KeyError, ValueError):
        sides, axes = [], 0
    if len(sides) != axes or not 1 <= axes <= 10 or min(sides) < 1:
        raise ScanError(
            f"its header states NDims {fields.get('NDims', 'nowhere')} and DimSize"
            f" {fields.get('DimSize', 'nowhere')}; it is damaged, export it again"
        )
    name = fields["ElementDataFile"]
    data = path if name.upper() == "LOCAL" else path.parent / name
    if Path(name).name != name or not data.is_file():
        raise ScanError(f"its voxels should be in {name!r} beside it; put that file there")
    start = end if data == path else 0
    width = _META_BYTES.get(fields.get("ElementType", "").removeprefix("MET_U"), 1)
    claimed = math.prod(sides) * width * max(int(fields.get("ElementNumberOfChannels", "1")), 1)
    if fields.get("CompressedData", "").lower() == "true":
        stored = data.stat().st_size - start
        stated = fields.get("CompressedDataSize", str(stored))
        if not stated.isdigit() or int(stated) > stored:
            raise ScanError(
                f"{stored} of {stated} bytes of packed voxels are there; it is truncated, export it"
                " again"
            )
        found = 0 if claimed > stored * MOST_COMPRESSION else _unpacked_bytes(data, start)
    else:
        found = data.stat().st_size - start
    if found < claimed:
        raise ScanError(
            f"its header claims {fields['DimSize']} voxels, and its data are damaged or too few;"
            " export it again"
        )


def _unpacked_bytes(path: Path, start: int) -> int:
    """Count what a zlib stream holds; 0 where it is damaged."""
    unpack = zlib.decompressobj()
    total = 0
    with path.open("rb") as file:
        file.seek(start)
        try:
            while (block := file.read(_BLOCK)) and not unpack.eof:
                total += len(unpack.decompress(block))
        except zlib.error:
            return 0
    return total if unpack.eof else 0
