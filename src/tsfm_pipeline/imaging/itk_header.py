"""What headers of NRRD and MetaImage files claim, held against the files' bytes.

ITK trusts a MetaImage's header: it aborts the process over an absurd NDims, reads whatever file
ElementDataFile names, and hands out uninitialised memory where packed voxels are damaged or too
few. Of a packed NRRD it does not look at the checksum.
"""

import math
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from tsfm_pipeline.imaging.file_volume import (
    VolumeError,
    check_regular,
    unreachable,
    volume_files,
)

LARGEST_RATIO = 1032
"""deflate packs no tighter, zlib.net/zlib_tech.html."""

_ZLIB, _GZIP = 15, 31  # window bits of zlib's two formats

_META_BYTES = {
    **{"SHORT": 2, "INT": 4, "LONG_LONG": 8},
    **{"MET_SHORT": 2, "MET_INT": 4, "MET_LONG_LONG": 8, "MET_FLOAT": 4, "MET_DOUBLE": 8},
}
"""Bytes of MetaImage's types, unsigned ones without MET_U; others count as 1 (LONG has 4 or 8)."""
_NRRD_FORMATS = {b"gzip": _GZIP, b"gz": _GZIP, b"raw": None}
_NRRD_SKIPS = {b"line skip", b"lineskip", b"byte skip", b"byteskip"}
_HEADER_BYTES = 1 << 16
_BLOCK = 1 << 16  # bytes that are unpacked at a time, to 64 MB at most


@dataclass(frozen=True)
class StoredVoxels:
    """Where the voxels of a file are.

    Attributes:
        file: the file itself, or the .raw or .zraw file beside a .mhd header.
        start: their first byte in it.
        claimed: bytes that they take, unpacked, at least.
        format: zlib's window bits of their format; None where they are not packed.
    """

    file: Path
    start: int
    claimed: int
    format: int | None


def check_header(path: Path) -> StoredVoxels | None:
    """Refuse a header that ITK must not be given; return where its voxels are, if it says so.

    Raises:
        VolumeError: the header is damaged, claims more voxels than there are bytes for, or names
            another file than `volume_files` looks at for changes.
    """
    try:
        check_regular(path)
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES)
        return _nrrd(path, head) if path.suffix.lower() == ".nrrd" else _meta_image(path, head)
    except OSError as error:
        raise unreachable(path, error) from error


def stored_bytes(path: Path, voxels: StoredVoxels, enough: int) -> int:
    """Return how many bytes of voxels there are; packed ones are unpacked for it, in blocks.

    From `enough` on it is not looked further: a small file can hold terabytes of them.

    Raises:
        VolumeError: they are damaged, or fewer than claimed; naming `path`, which is the header of
            a .mhd with its voxels beside it.
    """
    if voxels.format is None:
        return voxels.file.stat().st_size - voxels.start
    unpack = zlib.decompressobj(voxels.format)
    total = 0
    try:
        with voxels.file.open("rb") as file:
            file.seek(voxels.start)
            while not unpack.eof and total < enough and (block := file.read(_BLOCK)):
                total += len(unpack.decompress(block))
    except OSError as error:
        raise unreachable(voxels.file, error) from error
    except zlib.error as error:
        raise _damaged(path, f"its packed voxels: {error}") from error
    if total < enough and (not unpack.eof or total < voxels.claimed):
        raise _damaged(path, f"truncated, its packed voxels break off after {total} bytes")
    return total


def _nrrd(path: Path, head: bytes) -> StoredVoxels | None:
    gap = re.search(rb"\r?\n\r?\n", head)
    if gap is None:
        return None
    lines = re.findall(rb"(?m)^([^:#\n]+): *(.*?)\r?$", head[: gap.start()])
    fields = {key.lower(): value for key, value in lines}
    if b"data file" in fields or b"datafile" in fields:
        raise VolumeError(f"{path}: its voxels are in another file; convert it to a single one")
    encoding = fields.get(b"encoding", b"").lower()
    if encoding not in _NRRD_FORMATS or fields.keys() & _NRRD_SKIPS:
        return None
    # that they suffice is looked at by ITK
    return StoredVoxels(path, gap.end(), 0, _NRRD_FORMATS[encoding])


def _meta_image(path: Path, head: bytes) -> StoredVoxels | None:
    mark = head.find(b"ElementDataFile")
    end = head.find(b"\n", mark) + 1
    if mark < 0 or not end:
        raise _damaged(path, "its header names no ElementDataFile")
    lines = (line.partition("=") for line in head[:end].decode("latin-1").splitlines())
    fields = {key.strip(): value.strip() for key, _, value in lines}
    try:
        sides = [int(side) for side in fields["DimSize"].split()]
        axes, channels = int(fields["NDims"]), int(fields.get("ElementNumberOfChannels", "1"))
    except (KeyError, ValueError):
        sides, axes, channels = [], 0, 0
    if len(sides) != axes or not 1 <= axes <= 10 or min(sides) < 1 or channels < 1:
        raise _damaged(
            path,
            f"its header states NDims {fields.get('NDims', 'nowhere')} and DimSize"
            f" {fields.get('DimSize', 'nowhere')}",
        )
    beside = {file.name: file for file in volume_files(path)[1:]}
    name = fields["ElementDataFile"]
    if name.upper() != "LOCAL" and name not in beside:
        raise VolumeError(
            f"{path}: its voxels are not in {path.stem}.raw or {path.stem}.zraw beside it; download"
            " both files, or convert it to .mha"
        )
    data, start = (path, end) if name.upper() == "LOCAL" else (beside[name], 0)
    width = _META_BYTES.get(fields.get("ElementType", "").removeprefix("MET_U"), 1)
    claimed = math.prod(sides) * width * channels
    stored = data.stat().st_size - start
    packed = fields.get("CompressedData", "").lower() == "true"
    if claimed > stored * (LARGEST_RATIO if packed else 1):
        raise VolumeError(
            f"{path}: its header claims {fields['DimSize']} voxels, more than {stored} bytes can"
            " hold; it is truncated or damaged, download or export it again"
        )
    if not packed and (fields.get("BinaryData", "").lower() == "false" or "HeaderSize" in fields):
        return None
    return StoredVoxels(data, start, claimed, _ZLIB if packed else None)


def _damaged(path: Path, reason: str) -> VolumeError:
    return VolumeError(f"{path}: damaged ({reason}); download or export it again")
