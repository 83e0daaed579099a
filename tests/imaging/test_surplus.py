"""Bytes behind the last voxel: padding is noted, what may be voxels is refused."""

import gzip
import re
import struct
import tracemalloc
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from tsfm_pipeline.imaging.volume import VolumeError, read_image

SIZE = (7, 6, 5)  # x, y, z: the smallest plane has 6 x 5 voxels of 2 bytes
PLANE = 60
SUFFIXES = [".nii", ".nii.gz", ".mha", ".nrrd", "packed.mha", "packed.nrrd"]


@pytest.fixture
def values() -> np.ndarray:
    return np.arange(np.prod(SIZE), dtype=np.int16).reshape(SIZE[::-1])


def written(folder: Path, values: np.ndarray, suffix: str, extra: bytes) -> Path:
    """Write a volume with bytes behind its voxels, packed with them where they are packed."""
    path = folder / f"scan{suffix}"
    if ".nii" in suffix:
        plain = folder / "plain.nii"
        nibabel.save(nibabel.Nifti1Image(values.T, np.diag((2.0, 2, 2, 1))), plain)
        content = plain.read_bytes() + extra
        path.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
        return path
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path), useCompression="packed" in suffix)
    content = path.read_bytes()
    if "packed" not in suffix:
        path.write_bytes(content + extra)
        return path
    body = values.tobytes() + extra
    if suffix.endswith(".nrrd"):
        header = content[: content.index(b"\n\n") + 2]
        path.write_bytes(header + gzip.compress(body))
    else:
        packed = zlib.compress(body)
        header = content[: content.index(b"LOCAL\n") + 6]
        header = re.sub(
            rb"CompressedDataSize = \d+", b"CompressedDataSize = %d" % len(packed), header
        )
        path.write_bytes(header + packed)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("extra", [1, PLANE - 1])
def test_padding_is_left_out_with_a_note(tmp_path, values, suffix, extra):
    image = read_image([written(tmp_path, values, suffix, b"\1" * extra)])
    assert np.array_equal(
        image.array[0], read_image([written(tmp_path, values, suffix, b"")]).array[0]
    )
    assert any(f"{extra} bytes behind the last voxel left out" in text for text in image.repairs)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_whole_file_has_no_note(tmp_path, values, suffix):
    repairs = read_image([written(tmp_path, values, suffix, b"")]).repairs
    assert not any("behind the last voxel" in text for text in repairs)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("extra", [PLANE, 10 * PLANE])
def test_a_plane_of_bytes_is_refused(tmp_path, values, suffix, extra):
    path = written(tmp_path, values, suffix, b"\1" * extra)
    with pytest.raises(VolumeError, match=r"claims \(7, 6, 5\) voxels .* correct the size") as told:
        read_image([path])
    assert f"at least {extra} bytes" in str(told.value)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_header_that_is_one_short_along_any_axis_is_refused(tmp_path, values, axis):
    path = written(tmp_path, values, ".nii", b"")
    content = bytearray(path.read_bytes())
    struct.pack_into("<h", content, 42 + 2 * axis, SIZE[axis] - 1)
    path.write_bytes(content)
    with pytest.raises(VolumeError, match="follow them"):
        read_image([path])


def test_bytes_behind_the_last_gzip_member_are_noted_zeros_are_not(tmp_path, values):
    path = written(tmp_path, values, ".nii.gz", b"")
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0" * 512)
    assert not any("behind" in text for text in read_image([path]).repairs)
    path.write_bytes(whole + b"junk")
    assert any("4 bytes behind" in text for text in read_image([path]).repairs)


@pytest.mark.parametrize("suffix", [".nii.gz", "packed.mha", "packed.nrrd"])
def test_a_bomb_is_not_unpacked(tmp_path, values, suffix):
    path = written(tmp_path, values, suffix, b"\0" * 2 * 10**8)
    tracemalloc.start()
    with pytest.raises(VolumeError, match="follow them"):
        read_image([path])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6
