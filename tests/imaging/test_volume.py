import errno
import gzip
import itertools
import logging
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from tsfm_pipeline.imaging.volume import (
    VolumeError,
    read_geometry,
    read_image,
    read_label,
    read_label_volume,
    write_label,
)

SHAPE_XYZ = (5, 6, 7)
LPS = np.diag((-1.0, -1.0, 1.0, 1.0))  # a file that is canonical already


def oblique_affine(permutation, signs, spacing=(0.7, 1.3, 2.9), tilt=0.15):
    """A right-angled RAS affine whose axes are permuted, flipped and a little tilted."""
    turn = np.array(
        [[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1.0]]
    )
    columns = np.zeros((3, 3))
    for axis, (world, sign) in enumerate(zip(permutation, signs, strict=True)):
        columns[world, axis] = sign
    affine = np.eye(4)
    affine[:3, :3] = turn @ columns * np.asarray(spacing)
    affine[:3, 3] = (12.0, -34.0, 56.0)
    return affine


def save(path, array_xyz, affine):
    nibabel.save(nibabel.Nifti1Image(array_xyz, affine), path)
    return path


@pytest.fixture
def array_xyz():
    rng = np.random.default_rng(0)
    return rng.integers(-1000, 1000, SHAPE_XYZ).astype(np.int16)


ORIENTATIONS = [
    (p, s) for p in itertools.permutations(range(3)) for s in itertools.product((1, -1), repeat=3)
]


@pytest.mark.parametrize(("permutation", "signs"), ORIENTATIONS)
def test_every_orientation_reads_as_nibabel_turns_it(tmp_path, array_xyz, permutation, signs):
    affine = oblique_affine(permutation, signs)
    volume = read_image([save(tmp_path / "a.nii.gz", array_xyz, affine)])
    closest = nibabel.as_closest_canonical(nibabel.Nifti1Image(array_xyz, affine))
    # nibabel's canonical is RAS in (x, y, z); ours LPS in (z, y, x): x and y run the other way.
    expected = np.asarray(closest.dataobj)[::-1, ::-1, :].transpose(2, 1, 0)
    np.testing.assert_array_equal(volume.array[0], expected)
    y_last = closest.shape[1] - 1
    world_ras = closest.affine @ [closest.shape[0] - 1, y_last, 0, 1]
    np.testing.assert_allclose(
        volume.geometry.index_to_world((0, 0, 0)), world_ras[:3] * (-1, -1, 1), atol=1e-4
    )
    np.testing.assert_allclose(volume.geometry.spacing, closest.header.get_zooms()[::-1], rtol=1e-5)


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1)])
def test_a_written_label_lies_where_the_image_lies(tmp_path, array_xyz, signs):
    path = save(tmp_path / "a.nii.gz", array_xyz, oblique_affine((2, 0, 1), signs))
    volume = read_image([path])
    labels = np.zeros(volume.geometry.shape, np.uint8)
    labels[1, 2, 3] = 9
    target = tmp_path / "out" / "labels.nii.gz"
    write_label(target, labels, (volume.file_geometry, volume.reorientation))
    written, raw = nibabel.load(target), nibabel.load(path)
    np.testing.assert_allclose(written.affine, raw.affine, atol=1e-4)
    assert written.shape == raw.shape
    # LPS world point of the labelled voxel, found again through nibabel's affine
    world = volume.geometry.index_to_world((1, 2, 3)) * (-1, -1, 1)
    index = np.rint(np.linalg.inv(written.affine) @ [*world, 1])[:3].astype(int)
    assert np.asarray(written.dataobj)[tuple(index)] == 9
    assert np.asarray(written.dataobj).sum() == 9
    assert [p.name for p in target.parent.iterdir()] == ["labels.nii.gz"]
    np.testing.assert_array_equal(read_label(target, volume), labels)


def test_header_alone_gives_the_grid(tmp_path, array_xyz):
    path = save(tmp_path / "a.nii.gz", array_xyz, oblique_affine((1, 2, 0), (1, -1, 1)))
    assert read_geometry(path) == read_image([path]).file_geometry


def test_channels_are_stacked_in_order_and_rescaled(tmp_path, array_xyz):
    affine = oblique_affine((0, 1, 2), (-1, -1, 1))
    first = save(tmp_path / "0.nii.gz", array_xyz, affine)
    scaled = nibabel.Nifti1Image(array_xyz, affine)
    scaled.header.set_slope_inter(0.5, 10.0)
    nibabel.save(scaled, tmp_path / "1.nii.gz")
    stored = np.asarray(nibabel.load(tmp_path / "1.nii.gz").dataobj).transpose(2, 1, 0)
    array = read_image([first, tmp_path / "1.nii.gz"]).array
    np.testing.assert_array_equal(array[0], array_xyz.transpose(2, 1, 0))
    np.testing.assert_allclose(array[1], stored, rtol=1e-6)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_nan_and_infinity_become_zero(tmp_path, caplog, suffix):
    values = np.ones((7, 6, 5), np.float32)
    values[0, 0, 0], values[1, 1, 1], values[2, 2, 2] = np.nan, np.inf, -np.inf
    path = tmp_path / f"a{suffix}"
    if suffix == ".nrrd":
        sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    else:  # SimpleITK's NIfTI library turns NaN into 0, and says nothing
        save(path, values.T, LPS)
    with caplog.at_level(logging.WARNING):
        array = read_image([path]).array[0]
    np.testing.assert_array_equal(array == 0.0, ~np.isfinite(values))
    assert "3 NaN or infinite voxels" in caplog.text


def test_a_4d_file_of_one_volume_is_a_volume(tmp_path, array_xyz):
    path = save(tmp_path / "a.nii.gz", array_xyz[..., None], LPS)
    assert read_image([path]).array.shape == (1, *SHAPE_XYZ[::-1])
    path = save(tmp_path / "b.nii.gz", np.stack([array_xyz] * 2, -1), LPS)
    with pytest.raises(VolumeError, match=r"b\.nii\.gz.*one file per channel"):
        read_image([path])


def test_colour_and_flat_images_are_refused(tmp_path):
    colour = sitk.GetImageFromArray(np.zeros((3, 4, 5, 3), np.uint8), isVector=True)
    sitk.WriteImage(colour, str(tmp_path / "rgb.nii.gz"))
    with pytest.raises(VolumeError, match=r"rgb\.nii\.gz: 3 values per voxel"):
        read_image([tmp_path / "rgb.nii.gz"])
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5), np.uint8)), str(tmp_path / "flat.nii"))
    with pytest.raises(VolumeError, match=r"flat\.nii.*not one 3-D volume"):
        read_image([tmp_path / "flat.nii"])


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd"])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.95])
@pytest.mark.filterwarnings("ignore")
def test_a_truncated_file_is_refused(tmp_path, array_xyz, suffix, kept):
    path = tmp_path / f"cut{suffix}"
    noise = np.random.default_rng(0).integers(-1000, 1000, (20, 30, 40)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(path), useCompression=True)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(VolumeError, match=r"cut\.n.*(truncated|unreadable).*again"):
        read_image([path])


def test_a_lack_of_memory_is_not_the_files_fault(tmp_path, monkeypatch):
    path = tmp_path / "a.mha"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 4, 5), np.int16)), str(path))

    def fail(reader):
        raise RuntimeError("Exception thrown:\nFailed to allocate memory for image.")

    monkeypatch.setattr(sitk.ImageFileReader, "Execute", fail)
    with pytest.raises(MemoryError, match=r"a\.mha: Failed to allocate memory"):
        read_image([path])


@pytest.mark.parametrize("encoding", ["gzip", "raw", "ascii"])
def test_a_header_that_claims_more_than_any_machine_has_is_the_files_fault(tmp_path, encoding):
    path = tmp_path / "a.nrrd"
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path), useCompression=encoding == "gzip")
    content = path.read_bytes().replace(b"sizes: 5 4 3", b"sizes: 70000 80000 90000")
    path.write_bytes(content.replace(b"encoding: raw", f"encoding: {encoding}".encode()))
    with pytest.raises(VolumeError, match=r"a\.nrrd: .*damaged.*again"):
        read_image([path])


def test_what_the_system_says_of_a_file_goes_first(tmp_path, monkeypatch):
    path = tmp_path / "a.mha"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 4, 5), np.int16)), str(path))
    fault = OSError(errno.EIO, "Input/output error", str(path))

    def fail(_):
        raise fault

    def itk_fails(_):
        monkeypatch.setattr(Path, "read_bytes", fail)
        raise RuntimeError("Exception: read failed")

    monkeypatch.setattr(sitk.ImageFileReader, "Execute", itk_fails)
    with pytest.raises(VolumeError, match="Input/output error") as raised:
        read_image([path])
    assert raised.value.__cause__ is fault


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd"])
@pytest.mark.parametrize("edit", ["flip", "cut", "too few"])
def test_damaged_voxels_are_not_handed_out_by_itk(tmp_path, suffix, edit):
    """ITK reads a MetaImage of damaged voxels without a word, and ignores NRRD's checksum."""
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).integers(-1000, 1000, (20, 30, 40)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(path), useCompression=True)
    np.testing.assert_array_equal(read_image([path]).array[0], noise)
    voxels = path.with_suffix(".zraw") if suffix == ".mhd" else path
    content = bytearray(voxels.read_bytes())
    if edit == "flip":
        content[-2000] ^= 8
    voxels.write_bytes(content[:-9] if edit == "cut" else content)
    if edit == "too few":
        path.write_bytes(path.read_bytes().replace(b"40 30 20", b"40 30 90"))
    with pytest.raises(VolumeError, match=rf"a\{suffix}: .*(damaged|unreadable).*export it again"):
        read_image([path])


@pytest.mark.parametrize(
    ("suffix", "old", "new", "said"),
    [
        (".mha", b"NDims = 3", b"NDims = 99", "NDims 99 and DimSize 5 4 3"),
        (".mha", b"DimSize = 5 4 3", b"DimSize = 5 4", "NDims 3 and DimSize 5 4"),
        (".mha", b"DimSize = 5 4 3", b"DimSize = 5000 4 3", "claims 5000 4 3 voxels"),
        (".mha", b"= LOCAL", b"= /dev/zero", "not in a.raw"),
        (".mha", b"ElementDataFile", b"NoData", "no ElementDataFile"),
        (".nrrd", b"encoding: raw", b"encoding: raw\ndata file: b.raw", "in another file"),
    ],
)
def test_headers_that_itk_must_not_see_are_refused(tmp_path, suffix, old, new, said):
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((3, 4, 5), np.int16)), str(path))
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))
    for read in (read_geometry, lambda file: read_image([file])):
        with pytest.raises(VolumeError, match=rf"a\{suffix}: .*{said}"):
            read(path)


def test_a_gzip_file_of_several_members_is_not_taken_for_truncated(tmp_path, array_xyz):
    plain = save(tmp_path / "a.nii", array_xyz, LPS).read_bytes()
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(plain[:300]) + gzip.compress(plain[300:]) + gzip.compress(b""))
    np.testing.assert_array_equal(read_image([path]).array[0], array_xyz.transpose(2, 1, 0))


def test_other_files_are_refused_with_name_and_remedy(tmp_path):
    (tmp_path / "notes.nii.gz").write_text("no image")
    with pytest.raises(VolumeError, match=r"notes\.nii\.gz.*download or export"):
        read_image([tmp_path / "notes.nii.gz"])
    with pytest.raises(VolumeError, match=r"gone\.nii\.gz: no such file"):
        read_geometry(tmp_path / "gone.nii.gz")


def test_axes_not_at_right_angles_are_refused(tmp_path, array_xyz):
    affine = np.eye(4)
    affine[0, 1] = 0.3
    image = nibabel.Nifti1Image(array_xyz, affine)
    image.set_qform(None, code=0)
    nibabel.save(image, tmp_path / "skew.nii.gz")
    with pytest.raises(VolumeError, match=r"skew\.nii\.gz: sheared.* 16\.7 degrees"):
        read_image([tmp_path / "skew.nii.gz"])


def test_channels_of_different_shape_are_refused_with_both_shapes(tmp_path, array_xyz):
    first = save(tmp_path / "0.nii.gz", array_xyz, LPS)
    second = save(tmp_path / "1.nii.gz", array_xyz[:, :-1], LPS)
    with pytest.raises(VolumeError, match=r"1\.nii\.gz.*\(7, 5, 5\).*\(7, 6, 5\).*0\.nii\.gz"):
        read_image([first, second])


def test_a_label_is_turned_by_its_own_header(tmp_path, array_xyz):
    """Image and label stored in different orientations meet in the world."""
    affine = oblique_affine((0, 1, 2), (1, 1, 1), tilt=0.0)
    image = read_image([save(tmp_path / "a.nii.gz", array_xyz, affine)])
    other = nibabel.Nifti1Image(array_xyz, affine).as_reoriented(
        nibabel.orientations.axcodes2ornt(("P", "S", "L"))
    )
    nibabel.save(other, tmp_path / "l.nii.gz")
    assert np.asarray(other.dataobj).shape != SHAPE_XYZ
    np.testing.assert_array_equal(read_label(tmp_path / "l.nii.gz", image), image.array[0])


@pytest.mark.parametrize(("shift", "warned"), [(0.005, False), (0.5, True)])
def test_a_displaced_label_is_paired_by_voxels_and_told(tmp_path, array_xyz, caplog, shift, warned):
    affine = oblique_affine((2, 1, 0), (1, -1, 1))
    image = read_image([save(tmp_path / "a.nii.gz", array_xyz, affine)])
    moved = affine.copy()
    moved[0, 3] += shift
    path = save(tmp_path / "l.nii.gz", array_xyz, moved)
    with caplog.at_level(logging.WARNING):
        label = read_label(path, image)
    np.testing.assert_array_equal(label, image.array[0])
    assert ("origin" in caplog.text) == warned


def test_a_label_without_header_is_paired_by_voxels(tmp_path, array_xyz, caplog):
    affine = oblique_affine((2, 0, 1), (1, -1, 1))
    image = read_image([save(tmp_path / "a.nii.gz", array_xyz, affine)])
    path = save(tmp_path / "l.nii.gz", array_xyz, LPS)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(read_label(path, image), image.array[0])
    assert "l.nii.gz: its header differs" in caplog.text


@pytest.mark.parametrize("axes", ["LPS", "RAI", "SAR"])
@pytest.mark.parametrize("off", [0.0, 0.1])
def test_files_of_other_axes_lie_where_their_headers_say(tmp_path, array_xyz, axes, off):
    """Rounded numbers in a header move the first voxel of a turned file by tenths of a mm."""
    first = nibabel.Nifti1Image(array_xyz, oblique_affine((0, 1, 2), (1, 1, 1)))
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(first.affine), nibabel.orientations.axcodes2ornt(axes)
    )
    turned = first.as_reoriented(turn)
    affine = turned.affine.copy()
    affine[:3, 3] += off
    one = save(tmp_path / "one.nii.gz", array_xyz, first.affine)
    other = save(tmp_path / "other.nii.gz", np.asarray(turned.dataobj), affine)
    image = read_image([one, other])
    np.testing.assert_array_equal(image.array[1], image.array[0])
    assert len(image.repairs) == (off > 0)
    label = read_label_volume(other, image)
    np.testing.assert_array_equal(label.array, image.array[0])
    assert len(label.repairs) == (off > 0)


def test_a_rounded_direction_leaves_a_long_label_of_other_axes_on_its_image(tmp_path):
    """Over 700 slices the tolerance of directions adds up to more than half a voxel."""
    values = np.random.default_rng(0).integers(0, 9, (5, 6, 700)).astype(np.int16)
    affine = np.diag((-0.7, -0.7, 1.0, 1.0))
    image = read_image([save(tmp_path / "a.nii.gz", values, affine)])
    tilt = np.eye(4)
    tilt[0, 2], tilt[2, 0] = 8e-4, -8e-4
    turned = nibabel.Nifti1Image(values, tilt @ affine).as_reoriented([[0, -1], [1, 1], [2, 1]])
    path = save(tmp_path / "l.nii.gz", np.asarray(turned.dataobj), turned.affine)
    np.testing.assert_array_equal(read_label(path, image), image.array[0])


def test_files_of_other_axes_that_lie_nearby_are_refused(tmp_path, array_xyz):
    """Their header is nearly right; paired as they are stored, their voxels would be mirrored."""
    affine = oblique_affine((0, 1, 2), (1, 1, 1))
    turned = nibabel.Nifti1Image(array_xyz, affine).as_reoriented([[0, -1], [1, 1], [2, 1]])
    moved = turned.affine.copy()
    moved[0, 3] += 0.7  # a voxel
    one = save(tmp_path / "one.nii.gz", array_xyz, affine)
    other = save(tmp_path / "other.nii.gz", np.asarray(turned.dataobj), moved)
    said = r"other\.nii\.gz: its axes .* up to 0\.70 mm beside it: origin .*; correct its header"
    with pytest.raises(VolumeError, match=said):
        read_image([one, other])
    with pytest.raises(VolumeError, match=said):
        read_label(other, read_image([one]))


def test_a_label_whose_writer_left_out_the_direction_is_paired(tmp_path, array_xyz):
    affine = oblique_affine((0, 1, 2), (1, -1, 1))
    image = read_image([save(tmp_path / "a.nii.gz", array_xyz, affine)])
    bare = np.diag((-0.7, -1.3, 2.9, 1.0))
    bare[:3, 3] = affine[:3, 3]
    label = read_label_volume(save(tmp_path / "l.nii.gz", array_xyz, bare), image)
    np.testing.assert_array_equal(label.array, image.array[0])
    assert "voxels are paired" in label.repairs[0]


def test_a_label_of_other_shape_is_refused_with_both_shapes(tmp_path, array_xyz):
    image = read_image([save(tmp_path / "a.nii.gz", array_xyz, LPS)])
    path = save(tmp_path / "l.nii.gz", array_xyz[1:], LPS)
    with pytest.raises(VolumeError, match=r"l\.nii\.gz.*\(7, 6, 4\).*\(7, 6, 5\)"):
        read_label(path, image)


def test_real_orientations_are_voxel_identical(realdata):
    paths = sorted((realdata / "odd_headers").glob("orientation_*.nii.gz"))
    assert len(paths) == 8
    first, *others = [read_image([path]) for path in paths]
    assert first.array.any()
    for other in others:
        np.testing.assert_array_equal(other.array, first.array)
        np.testing.assert_allclose(other.geometry.origin, first.geometry.origin, atol=1e-4)
        np.testing.assert_allclose(other.geometry.direction, first.geometry.direction, atol=1e-6)
