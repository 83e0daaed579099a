"""Damage that others have met and reported, beside what was found by breaking this project."""

import gzip
import struct
import zlib
from collections.abc import Mapping

import numpy as np

CUT_AT = 8192
"""Where a tool that rewrote a header in place cut packed files off (afni/afni#397)."""
LFS_POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d7a" * 16 + b"\nsize 11273\n"
)
PAGE = b"<!DOCTYPE html>\n<html><body><h1>429 Too Many Requests</h1></body></html>\n"
MET_PIXELS = 20 * 18 * 14 * 2


def seen_elsewhere(valid: Mapping[str, bytes]) -> list[tuple[str, str, bytes]]:
    """Return name, suffix and content of each; `valid` has a whole file of each format."""
    plain, packed, nrrd, mha = (valid[suffix] for suffix in (".nii", ".nii.gz", ".nrrd", ".mha"))
    made: list[tuple[str, str, bytes]] = []

    def both(name: str, content: bytes) -> None:
        made.append((name, ".nii", content))
        made.append((name, ".nii.gz", gzip.compress(content)))

    for suffix in valid:
        made += [
            ("empty", suffix, b""),  # bids-standard/legacy-validator#52
            ("page", suffix, PAGE),  # neheller/kits21#37, nilearn/nilearn#1307
            ("lfs_pointer", suffix, LFS_POINTER),  # neurodata/neuroparc#23
            ("zeros", suffix, b"\0" * 1000),  # nipy/nibabel#966
            ("other_format", suffix, nrrd if suffix.startswith(".nii") else plain),
        ]
    both("negative_dim", _with(plain, 40, "<8h", 4, -1, 1, 1, 451, 1, 1, 1))  # nipy/nibabel#548
    both("header_alone", plain[:352])  # bids-standard/legacy-validator#394
    both("extension_flag", _with(plain, 348, "4B", 1, 0, 0, 0))  # NIFTI-Reader-JS#35
    both("unit_sform", _sform(plain, np.eye(3)))  # InsightSoftwareConsortium/ITK#3514
    both("negative_spacing", _with(plain, 80, "<3f", 2.0, -2.5, 3.0))  # ITK#1484
    both("nan_slope", _with(plain, 112, "<2f", np.nan, np.nan))  # torchio#317
    both("no_qfac", _with(plain, 76, "<f", 0.0))  # SimpleITK#1780
    both("largest_dims", _with(plain, 40, "<8h", 3, 32767, 32767, 32767, 1, 1, 1, 1))
    both("one_slice_less", _with(plain, 46, "<h", 13))
    both("one_column_less", _with(plain, 42, "<h", 19))
    both("half_of_it", _with(plain, 46, "<h", 7))
    both("a_voxel", _with(plain[:352] + b"\5\0", 42, "<3h", 1, 1, 1))
    both("two_volumes", _with(plain + plain[352:], 40, "<8h", 4, 20, 18, 14, 2, 1, 1, 1))
    both("hidden_volume", plain + plain[352:])
    both("padded", plain + b"\0" * 40)
    both("wild_voxel", _voxel(plain, 1e38))
    both("constant", plain[:352] + b"\5\0" * (len(plain[352:]) // 2))
    both("tiny_spacing", _sform(_with(plain, 80, "<3f", 0.005, 0.005, 0.005), np.eye(3) * 0.005))
    both("vanishing", _sform(_with(plain, 80, "<3f", 1e-30, 1e-30, 1e-30), np.eye(3) * 1e-30))
    both("other_endian", plain[:344][::-1] + plain[344:])
    made += [
        ("cut", ".nii.gz", packed[:CUT_AT]),
        ("named_gz", ".nii.gz", plain),  # neheller/kits19#39, nipy/nibabel#898
        ("named_plain", ".nii", packed),
        ("long_name", ".nii.gz", _gzip_named(plain, b"x" * 5000)),  # legacy-validator#1135
        ("wrong_sum", ".nii.gz", packed[:-8] + b"\1\2\3\4" + packed[-4:]),  # TotalSegmentator#24
        ("wrong_length", ".nii.gz", packed[:-4] + b"\1\2\3\4"),
        ("no_sum", ".nii.gz", packed[:-8]),
        ("packed_twice", ".nii.gz", gzip.compress(packed)),
        ("trailing", ".nii.gz", packed + b"trailing garbage"),
        ("two_members", ".nii.gz", gzip.compress(plain[:5000]) + gzip.compress(plain[5000:])),
        ("cut_member", ".nii.gz", gzip.compress(plain[:5000]) + packed[:400]),
        ("bomb", ".nii.gz", gzip.compress(plain + bytes(10**8), 1)),
        ("nrrd_list_axis", ".nrrd", _edit(nrrd, b"sizes: 20", b"sizes: 1 20")),  # MONAI#8653
        ("nrrd_no_space", ".nrrd", _without(nrrd, b"space")),  # niivue/niivue-vscode#50
        ("nrrd_detached", ".nrrd", _edit(nrrd, b"encoding", b"data file: /etc/passwd\nencoding")),
        ("nrrd_one_less", ".nrrd", _edit(nrrd, b"sizes: 20 18 14", b"sizes: 20 18 13")),
        ("nrrd_big_endian", ".nrrd", _edit(nrrd, b"endian: little", b"endian: middle")),
        ("nrrd_skip", ".nrrd", _edit(nrrd, b"encoding", b"byte skip: 99999999\nencoding")),
        ("nrrd_bomb", ".nrrd", nrrd[: nrrd.index(b"\n\n") + 2] + gzip.compress(bytes(10**8), 1)),
        ("mha_one_less", ".mha", _edit(mha, b"20 18 14", b"20 18 13")),
        ("mha_elsewhere", ".mha", _edit(mha, b"= LOCAL", b"= ../../../etc/passwd")),
        ("mha_list", ".mha", _edit(mha, b"= LOCAL", b"= LIST")),
        ("mha_raw", ".mha", _raw_mha(mha)),
        ("mha_padded", ".mha", _raw_mha(mha) + bytes(40)),
        ("mha_longer", ".mha", _raw_mha(mha) + bytes(MET_PIXELS)),
        ("mha_cut", ".mha", _raw_mha(mha)[:-100]),
        ("mha_text", ".mha", _edit(_raw_mha(mha), b"BinaryData = True", b"BinaryData = False")),
        ("mha_bomb", ".mha", _mha_packed(mha, zlib.compress(bytes(10**8), 1))),
        ("mha_no_spacing", ".mha", _without(mha, b"ElementSpacing")),
        ("mha_channels", ".mha", _edit(mha, b"NDims", b"ElementNumberOfChannels = 3\nNDims")),
    ]
    return made


def _with(content: bytes, at: int, code: str, *values: float) -> bytes:
    changed = bytearray(content)
    struct.pack_into(code, changed, at, *values)
    return bytes(changed)


def _sform(content: bytes, columns: np.ndarray) -> bytes:
    rows = np.hstack([columns, np.zeros((3, 1))]).ravel()
    return _with(_with(content, 252, "<2h", 0, 1), 280, "<12f", *rows)


def _voxel(content: bytes, value: float) -> bytes:
    """Turn the voxels into float32, with one of a wild value."""
    voxels = np.frombuffer(content, "<i2", offset=352).astype("<f4")
    voxels[77] = value
    return _with(_with(content[:352], 70, "<h", 16), 72, "<h", 32) + voxels.tobytes()


def _gzip_named(content: bytes, name: bytes) -> bytes:
    packed = gzip.compress(content, mtime=0)
    return packed[:3] + b"\x08" + packed[4:10] + name + b"\0" + packed[10:]


def _edit(content: bytes, old: bytes, new: bytes) -> bytes:
    assert old in content, old
    return content.replace(old, new)


def _without(content: bytes, start: bytes) -> bytes:
    """Leave out the header lines that start so."""
    lines = content.split(b"\n")
    return b"\n".join(line for line in lines if not line.startswith(start))


def _raw_mha(mha: bytes) -> bytes:
    header, _, packed = mha.partition(b"LOCAL\n")
    header = _without(header, b"CompressedDataSize").replace(b"Data = True", b"Data = False", 2)
    header = header.replace(b"BinaryData = False", b"BinaryData = True")
    return header + b"LOCAL\n" + zlib.decompress(packed)


def _mha_packed(mha: bytes, packed: bytes) -> bytes:
    header = mha.partition(b"LOCAL\n")[0].split(b"\n")
    size = b"CompressedDataSize = %d" % len(packed)
    lines = [size if line.startswith(b"CompressedDataSize") else line for line in header]
    return b"\n".join(lines) + b"LOCAL\n" + packed
