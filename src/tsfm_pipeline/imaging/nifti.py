"""NIfTI files, decoded from their bytes with nothing filled in, dropped or guessed in silence.

SimpleITK, which nnU-Net reads with, fills truncated files, turns NaN into 0, drops the shear of an
sform where a qform stands beside it, and refuses axes that are 0.02 degrees off a right angle. The
header is interpreted by nibabel; sform goes before qform, as there.
"""

import gzip
import io
import math
import zlib
from pathlib import Path

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from tsfm_pipeline.imaging.file_volume import (
    FileVolume,
    VolumeError,
    check_regular,
    check_shape,
    check_spacing,
    grid_difference,
    grid_of,
    smallest_plane,
    surplus_note,
    unreachable,
)
from tsfm_pipeline.imaging.geometry import Geometry

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_LARGEST_RATIO = 1032  # of deflate, zlib.net/zlib_tech.html
_HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has 348
_BLOCK = 1 << 20
_METRES, _MILLIMETRES, _MICRONS = 1, 2, 3
_MM_PER_UNIT = {_METRES: 1e3, _MICRONS: 1e-3}
_RAS_TO_LPS = np.diag((-1.0, -1.0, 1.0, 1.0))


def is_nifti(path: Path) -> bool:
    """Tell by the name whether a file is a NIfTI file of one piece."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def decode_nifti(content: bytes, path: Path) -> FileVolume:
    """Decode a whole file, compressed or not.

    Raises:
        VolumeError: damaged, truncated, no scalar 3-D image, or with a grid that can't be used.
    """
    header = _header(content, path)
    size, dtype, offset = _layout(header, len(content), content.startswith(_GZIP_MAGIC), path)
    geometry, repairs = _grid(header, size, path)
    end = offset + math.prod(size) * dtype.itemsize
    surplus = len(content) - end
    if content.startswith(_GZIP_MAGIC):
        content, surplus = _unpacked(content, end, smallest_plane(size) * dtype.itemsize, path)
    if len(content) < end:
        raise _truncated(path, len(content), end)
    repairs += surplus_note(path, surplus, size, dtype.itemsize)
    values = np.frombuffer(content, dtype, math.prod(size), offset).reshape(size[::-1])
    values = values.astype(dtype.newbyteorder("="), copy=False)
    return FileVolume(_rescaled(values, header, path), geometry, repairs)


def nifti_geometry(path: Path) -> Geometry:
    """Read a file's grid from its first bytes; raise VolumeError as `decode_nifti` does."""
    try:
        check_regular(path)
        with path.open("rb") as file:
            start = file.read(1 << 16)
            total = path.stat().st_size
    except OSError as error:
        raise unreachable(path, error) from error
    header = _header(start, path)
    size, _, _ = _layout(header, total, start.startswith(_GZIP_MAGIC), path)
    return _grid(header, size, path)[0]


def _header(content: bytes, path: Path) -> Nifti1Header:
    start = content[:_HEADER_BYTES]
    if content.startswith(_GZIP_MAGIC):
        try:
            start = gzip.open(io.BytesIO(content)).read(_HEADER_BYTES)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise _damaged(path, str(error)) from error
    for kind, magic in ((Nifti1Header, b"n+1\0"), (Nifti2Header, b"n+2\0")):
        if len(start) < kind.sizeof_hdr:
            continue
        header = kind(start[: kind.sizeof_hdr], check=False)
        if header.structarr["magic"].tobytes().startswith(magic):
            return header
    if len(start) < Nifti1Header.sizeof_hdr:
        raise _truncated(path, len(start), Nifti1Header.sizeof_hdr)
    raise _damaged(path, "no NIfTI header (magic 'n+1' or 'n+2')")


def _layout(
    header: Nifti1Header, total: int, packed: bool, path: Path
) -> tuple[tuple[int, int, int], np.dtype, int]:
    """Return voxels (x, y, z), number type and position of the first voxel in a file.

    A shape that a file of `total` bytes can't hold is refused before memory is taken for it.
    """
    dim = [int(value) for value in header.structarr["dim"]]
    if not 1 <= dim[0] <= 7:
        raise _damaged(path, f"its header names {dim[0]} axes")
    try:
        dtype = header.get_data_dtype()
    except (KeyError, HeaderDataError) as error:
        raise _damaged(path, f"number type {header.structarr['datatype']}") from error
    components = math.prod(max(1, value) for value in dim[5 : dim[0] + 1]) * len(dtype.names or "1")
    if components != 1:
        raise VolumeError(
            f"{path}: {components} values per voxel (a colour or vector image); give one file per"
            " channel with one value per voxel"
        )
    if dtype.kind not in "iuf":
        raise VolumeError(f"{path}: voxels of type {dtype}; export it with real numbers")
    size = check_shape(path, dim[1 : dim[0] + 1])
    offset = float(header.structarr["vox_offset"])
    if not header.sizeof_hdr <= offset < math.inf:
        raise _damaged(path, f"its header has the voxels start at byte {offset:g}")
    end = int(offset) + math.prod(size) * dtype.itemsize
    if packed and end > total * _GZIP_LARGEST_RATIO:
        raise VolumeError(
            f"{path}: its header claims {size} voxels (x, y, z), {end} bytes, more than a file of"
            f" {total} compressed bytes can hold; download or export it again"
        )
    if not packed and end > total:
        raise _truncated(path, total, end)
    return size, dtype, int(offset)


def _grid(
    header: Nifti1Header, size: tuple[int, int, int], path: Path
) -> tuple[Geometry, tuple[str, ...]]:
    """Build the grid of the sform, else of the qform, else of the voxel sizes alone."""
    unit = int(header.structarr["xyzt_units"]) & 7
    scale = np.diag([*[_MM_PER_UNIT.get(unit, 1.0)] * 3, 1.0])
    sizes = header.structarr["pixdim"][1:4].astype(float) * scale[0, 0]
    repairs = []
    if unit in _MM_PER_UNIT:
        repairs.append(f"spacing and origin turned from units of {scale[0, 0]:g} mm to mm")
    coded = header.get_sform(coded=True)[0]
    sform = None if coded is None else _RAS_TO_LPS @ scale @ coded
    if sform is None:
        check_spacing(path, sizes)
    if header.structarr["pixdim"][0] == 0:  # qfac: 1 where it is not set (nifti1.h, method 2)
        header.structarr["pixdim"][0] = 1
    try:
        coded = header.get_qform(coded=True)[0]
        qform = None if coded is None else _RAS_TO_LPS @ scale @ coded
    except (HeaderDataError, ValueError) as error:  # a negative size, a quaternion longer than 1
        if sform is None:
            raise _damaged(path, f"its qform: {error}") from error
        qform = np.zeros((4, 4))
    if sform is not None and not _usable(sform) and qform is not None:
        repairs.append("sform of no use, qform taken")
        sform = None
    if sform is not None:
        geometry, turned = grid_of(path, size, sform, sizes)
        repairs += turned
        difference = _beside(geometry, sizes, qform, path)
        if difference:
            repairs.append(f"sform taken, though {difference}")
    elif qform is not None:
        geometry, turned = grid_of(path, size, qform, sizes)
        repairs += turned
    else:
        geometry, _ = grid_of(path, size, np.diag([*sizes, 1.0]))
        repairs.append("no sform and no qform: axes taken as left, posterior, superior")
    return geometry, tuple(repairs)


def _usable(affine: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(affine).all() and np.linalg.det(affine[:3, :3]) != 0)


def _beside(
    geometry: Geometry, sizes: NDArray[np.float64], qform: NDArray[np.float64] | None, path: Path
) -> str:
    """Describe how the rest of the header differs from the grid of the sform; empty if not."""
    if qform is None:
        spacing = geometry.spacing[::-1]
        if np.allclose(sizes, spacing, rtol=1e-3, atol=0):
            return ""
        said, taken = np.round(sizes, 4).tolist(), np.round(spacing, 4).tolist()
        return f"pixdim names a spacing of {said} instead of {taken} mm (x, y, z)"
    try:
        other, _ = grid_of(path, geometry.shape[::-1], qform, sizes)
    except VolumeError:
        return "the qform is of no use"
    difference = grid_difference(geometry, other)
    return difference and f"the qform differs: {difference}"


def _rescaled(values: NDArray, header: Nifti1Header, path: Path) -> NDArray:
    """Apply slope and intercept, in float64 where float32 can't hold the stored numbers."""
    slope, intercept = (float(header.structarr[name]) for name in ("scl_slope", "scl_inter"))
    if slope == 0 or not math.isfinite(slope) or (slope, intercept) == (1.0, 0.0):
        return values  # NIfTI-1: a slope of 0 means that nothing is to be rescaled
    if not math.isfinite(intercept):
        raise _damaged(path, f"its header rescales by {slope:g} and {intercept:g}")
    real = np.float32 if values.dtype.itemsize <= 2 else np.float64
    return values * real(slope) + real(intercept)


def _unpacked(content: bytes, size: int, enough: int, path: Path) -> tuple[bytes, int]:
    """Unpack the first `size` bytes of a gzip file; what follows is only checked and counted.

    Returns:
        The bytes, fewer where the file breaks off, and how many follow them, packed or behind the
        last member (zeros there, which gzip allows, do not count). From `enough` on it is not
        looked further: a small file can hold terabytes of them.

    Raises:
        VolumeError: the file is damaged, by its checksum too.
    """
    parts: list[bytes] = []
    missing, total, rest = size, 0, content
    try:
        while rest and (missing > 0 or rest.startswith(_GZIP_MAGIC)):
            member = zlib.decompressobj(wbits=31)
            while not member.eof and total < size + enough:
                part = member.decompress(rest, max(missing, _BLOCK))
                rest = member.unconsumed_tail
                total += len(part)
                if missing > 0:
                    parts.append(part[:missing])
                    missing -= len(part)
                if not member.eof and not rest and not part:
                    raise _truncated(path, size - max(missing, 0), size)
            if total >= size + enough:
                break
            rest = member.unused_data.lstrip(b"\0")  # gzip files may be padded with zeros
    except zlib.error as error:
        raise _damaged(path, str(error)) from error
    return b"".join(parts), total - size + len(rest)


def _damaged(path: Path, reason: str) -> VolumeError:
    return VolumeError(
        f"{path}: unreadable, damaged or not a NIfTI file ({reason}); download or export it again"
    )


def _truncated(path: Path, found: int, expected: int) -> VolumeError:
    return VolumeError(
        f"{path}: truncated, {found} of {expected} bytes; download or export it again"
    )
