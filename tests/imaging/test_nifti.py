"""Headers and damage that SimpleITK passes over in silence, or refuses without need."""

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.linalg import polar

from tsfm_pipeline.imaging.file_volume import VolumeError, volume_files
from tsfm_pipeline.imaging.nifti import decode_nifti, nifti_geometry
from tsfm_pipeline.imaging.volume import read_image, read_label_volume

SHAPE_XYZ = (5, 6, 7)
SPACING = np.array((0.7, 1.3, 2.9))
RAS_TO_LPS = np.array((-1.0, -1.0, 1.0))
PIXDIM, DIM, MAGIC, VOX_OFFSET, QUATERN_B = 76, 40, 344, 108, 256  # nifti1.h


@pytest.fixture
def array_xyz():
    return np.random.default_rng(0).integers(-1000, 1000, SHAPE_XYZ).astype(np.int16)


def tilted(degrees=8.0):
    turn = np.radians(degrees)
    cosines = np.eye(3)
    cosines[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    affine = np.eye(4)
    affine[:3, :3] = cosines * SPACING
    affine[:3, 3] = (12.0, -34.0, 56.0)
    return affine


def save(path, array_xyz, sform=None, qform=None, kind=nibabel.Nifti1Image, header=None):
    image = kind(array_xyz, np.eye(4), header)
    image.set_sform(sform, code=0 if sform is None else 2)
    image.set_qform(qform, code=0 if qform is None else 1)
    if sform is not None and qform is None:
        image.header.set_zooms(np.linalg.norm(sform[:3, :3], axis=0))
    nibabel.save(image, path)
    return path


def patched(path, offset, form, *values):
    """Overwrite numbers of an uncompressed header."""
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, offset, *values)
    path.write_bytes(content)
    return path


def test_slightly_skew_axes_become_the_nearest_rotation(tmp_path, array_xyz):
    sform = tilted()
    sform[:3, :3] += np.random.default_rng(1).normal(0, 1e-3, (3, 3))
    path = save(tmp_path / "a.nii.gz", array_xyz, sform)
    with pytest.raises(RuntimeError, match="orthonormal"):
        sitk.ReadImage(str(path))
    volume = read_image([path])
    stored = nibabel.load(path).affine[:3, :3]
    expected, _ = polar(stored / np.linalg.norm(stored, axis=0))
    np.testing.assert_allclose(
        volume.file_geometry.direction, expected * RAS_TO_LPS[:, None], atol=1e-7
    )
    (repair,) = volume.repairs
    assert repair.startswith(f"{path}: axes up to 0.")
    assert repair.endswith("made right-angled")
    assert nifti_geometry(path) == volume.file_geometry


def test_rounding_of_a_sound_header_is_no_repair(tmp_path, array_xyz):
    path = save(tmp_path / "a.nii.gz", array_xyz, tilted(), tilted())
    volume = read_image([path])
    assert volume.repairs == ()
    image = sitk.ReadImage(str(path))
    assert volume.file_geometry.spacing == image.GetSpacing()[::-1]
    np.testing.assert_allclose(volume.file_geometry.origin, image.GetOrigin(), atol=1e-5)
    np.testing.assert_allclose(
        np.ravel(volume.file_geometry.direction), image.GetDirection(), atol=1e-6
    )


def test_a_shear_is_refused_though_the_qform_hides_it(tmp_path, array_xyz):
    sheared = tilted()
    sheared[:3, 1] += 0.3 * SPACING[1] / SPACING[2] * sheared[:3, 2]
    path = save(tmp_path / "a.nii.gz", array_xyz, sheared, tilted())
    sitk.ReadImage(str(path))  # passes
    with pytest.raises(VolumeError, match=r"a\.nii\.gz: sheared.* 16\.7 degrees.*resample it"):
        read_image([path])


def test_the_sform_goes_before_a_qform_that_differs(tmp_path, array_xyz):
    moved = tilted()
    moved[0, 3] += 5.0
    volume = read_image([save(tmp_path / "a.nii.gz", array_xyz, tilted(), moved)])
    np.testing.assert_allclose(volume.file_geometry.origin[0], -12.0)
    assert "sform taken, though the qform differs: origin" in volume.repairs[0]
    volume = read_image([save(tmp_path / "b.nii.gz", array_xyz, None, moved)])
    np.testing.assert_allclose(volume.file_geometry.origin[0], -17.0)
    assert volume.repairs == ()


def test_an_unusable_sform_gives_way_to_the_qform(tmp_path, array_xyz):
    path = save(tmp_path / "a.nii", array_xyz, tilted(), tilted())
    expected = read_image([path]).file_geometry
    patched(path, 280, "<12f", *[0.0] * 12)
    volume = read_image([path])
    assert "sform of no use, qform taken" in volume.repairs[0]
    np.testing.assert_allclose(volume.file_geometry.direction, expected.direction, atol=1e-6)


@pytest.mark.parametrize("sform", [None, tilted()])
def test_a_qfac_that_is_not_set_is_one(tmp_path, array_xyz, sform):
    """As nifti1.h, nibabel and SimpleITK have it."""
    path = save(tmp_path / "a.nii", array_xyz, sform=sform, qform=tilted())
    sound = read_image([path])
    assert struct.unpack_from("<f", path.read_bytes(), PIXDIM) == (1.0,)
    image = read_image([patched(path, PIXDIM, "<f", 0.0)])
    assert (image.geometry, image.repairs) == (sound.geometry, sound.repairs)
    np.testing.assert_array_equal(image.array, sound.array)


def test_a_qform_of_no_use_is_told(tmp_path, array_xyz):
    path = patched(
        save(tmp_path / "a.nii", array_xyz, tilted(), tilted()), QUATERN_B, "<3f", 2.0, 2.0, 2.0
    )
    assert "sform taken, though the qform is of no use" in read_image([path]).repairs[0]
    path = patched(save(tmp_path / "b.nii", array_xyz, None, tilted()), QUATERN_B, "<f", 3.0)
    with pytest.raises(VolumeError, match=r"b\.nii.*its qform"):
        read_image([path])


def test_voxel_sizes_beside_the_sform_are_compared(tmp_path, array_xyz):
    path = patched(save(tmp_path / "a.nii", array_xyz, tilted()), PIXDIM + 4, "<3f", 1.0, 1.0, 1.0)
    volume = read_image([path])
    np.testing.assert_allclose(volume.geometry.spacing, SPACING[::-1], rtol=1e-6)
    assert "pixdim names a spacing of [1.0, 1.0, 1.0]" in volume.repairs[0]


def test_without_sform_and_qform_axes_are_as_stored(tmp_path, array_xyz):
    path = patched(save(tmp_path / "a.nii", array_xyz), PIXDIM + 4, "<3f", *SPACING)
    volume = read_image([path])
    np.testing.assert_allclose(volume.geometry.spacing, SPACING[::-1], rtol=1e-6)
    np.testing.assert_array_equal(volume.geometry.direction, np.eye(3))
    np.testing.assert_array_equal(volume.array[0], array_xyz.T)
    assert "no sform and no qform" in volume.repairs[0]


@pytest.mark.parametrize("size", [0.0, -1.0, np.nan, np.inf, 101.0])
@pytest.mark.parametrize("form", ["qform", "none"])
def test_a_spacing_that_voxels_cannot_have_is_refused(tmp_path, array_xyz, size, form):
    path = save(tmp_path / "a.nii", array_xyz, None, tilted() if form == "qform" else None)
    patched(path, PIXDIM + 4, "<3f", 1.0, size, 1.0)
    for read in (nifti_geometry, lambda path: read_image([path])):
        with pytest.raises(VolumeError, match=r"a\.nii: spacing .*correct the header"):
            read(path)


@pytest.mark.parametrize("value", [np.nan, 0.0, 1e4])
def test_an_sform_that_no_grid_can_have_is_refused(tmp_path, array_xyz, value):
    path = patched(save(tmp_path / "a.nii", array_xyz, tilted()), 280, "<12f", *[value] * 12)
    with pytest.raises(VolumeError, match=r"a\.nii: (spacing|sheared)"):
        read_image([path])


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1e-3), ("micron", 1e3), ("mm", 1.0)])
def test_other_units_become_mm(tmp_path, array_xyz, unit, factor):
    affine = tilted()
    affine[:3] *= factor
    header = nibabel.Nifti1Header()
    header.set_xyzt_units(unit)
    volume = read_image([save(tmp_path / "a.nii.gz", array_xyz, affine, affine, header=header)])
    np.testing.assert_allclose(volume.geometry.spacing, SPACING[::-1], rtol=1e-5)
    np.testing.assert_allclose(volume.file_geometry.origin, (-12.0, 34.0, 56.0), rtol=1e-5)
    assert bool(volume.repairs) == (unit != "mm")


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i2", ">u4", "<i8", "<f4", ">f4", "f8"])
@pytest.mark.parametrize("slope", [None, (2.5, -1024.0)])
def test_every_number_type_reads_as_by_nibabel(tmp_path, array_xyz, dtype, slope):
    header = nibabel.Nifti1Header(endianness=">" if ">" in dtype else "<")
    header.set_data_dtype(dtype)
    image = nibabel.Nifti1Image((array_xyz % 100).astype(dtype), tilted(), header)
    path = tmp_path / "a.nii.gz"
    if slope:
        image.header.set_slope_inter(*slope)
    nibabel.save(image, path)
    expected = np.asarray(nibabel.load(path).dataobj)
    volume = decode_nifti(path.read_bytes(), path)
    np.testing.assert_allclose(volume.values, expected.T, rtol=1e-6)
    assert volume.values.dtype.isnative
    assert (volume.values.dtype.kind == "f") == (bool(slope) or "f" in dtype)


@pytest.mark.parametrize(("slope", "intercept"), [(0.0, 5.0), (np.nan, np.nan), (1.0, 0.0)])
def test_a_slope_that_means_none_keeps_whole_numbers(tmp_path, array_xyz, slope, intercept):
    path = patched(save(tmp_path / "a.nii", array_xyz, tilted()), 112, "<2f", slope, intercept)
    values = decode_nifti(path.read_bytes(), path).values
    assert values.dtype == np.int16
    np.testing.assert_array_equal(values, array_xyz.T)


def test_nifti_2_and_wrong_names_of_compression(tmp_path, array_xyz):
    path = save(tmp_path / "2.nii.gz", array_xyz, tilted(), kind=nibabel.Nifti2Image)
    np.testing.assert_array_equal(read_image([path]).array[0], array_xyz.T[:, ::-1, ::-1])
    plain = save(tmp_path / "a.nii", array_xyz, tilted())
    packed = tmp_path / "packed.nii"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    renamed = plain.rename(tmp_path / "plain.nii.gz")
    for path in (packed, renamed):
        np.testing.assert_array_equal(read_image([path]).array[0], array_xyz.T[:, ::-1, ::-1])


def test_nan_and_infinity_are_counted(tmp_path):
    values = np.ones(SHAPE_XYZ)
    values[0, 0, 0], values[1, 1, 1], values[2, 2, 2], values[3, 3, 3] = np.nan, np.inf, -1e300, 7
    volume = read_image([save(tmp_path / "a.nii.gz", values, tilted())])
    assert volume.repairs == (f"{tmp_path / 'a.nii.gz'}: 3 NaN or infinite voxels set to 0",)
    assert np.isfinite(volume.array).all()
    assert (volume.array == 0).sum() == 3


def big(tmp_path, suffix=".nii.gz"):
    noise = np.random.default_rng(0).integers(-1000, 1000, (20, 30, 40)).astype(np.int16)
    return save(tmp_path / f"a{suffix}", noise, tilted())


@pytest.mark.parametrize("position", [0.3, 0.6, 0.9])
def test_a_flipped_bit_fails_the_checksum(tmp_path, position):
    path = big(tmp_path)
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(VolumeError, match=r"a\.nii\.gz: unreadable, damaged.*again"):
        read_image([path])


@pytest.mark.parametrize("slices", [7, 2000])  # less and more than is unpacked at once
def test_a_checksum_that_lies_alone_is_found(tmp_path, slices):
    path = save(tmp_path / "a.nii.gz", np.ones((20, 30, slices), np.int16), tilted())
    content = bytearray(path.read_bytes())
    content[-6] ^= 0x01
    path.write_bytes(content)
    with pytest.raises(VolumeError, match="incorrect data check"):
        read_image([path])


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
def test_a_header_that_claims_more_than_the_file_holds_takes_no_memory(tmp_path, suffix):
    path = patched(big(tmp_path, ".nii"), DIM, "<4h", 3, 30000, 30000, 30000)
    if suffix == ".nii.gz":
        packed = tmp_path / "a.nii.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        path = packed
    for read in (nifti_geometry, lambda path: read_image([path])):
        with pytest.raises(VolumeError, match=r"(claims|truncated).*again"):
            read(path)


@pytest.mark.parametrize(
    ("offset", "form", "values", "message"),
    [
        (MAGIC, "4s", (b"nope",), "no NIfTI header"),
        (DIM, "<4h", (3, 5, 0, 7), "empty axis"),
        (DIM, "<4h", (3, 5, -6, 7), "empty axis"),
        (DIM, "<h", (0,), "0 axes"),
        (DIM, "<h", (2,), "not one 3-D volume"),
        (DIM, "<6h", (5, 5, 6, 7, 1, 3), "3 values per voxel"),
        (70, "<h", (12345,), "damaged"),
        (70, "<h", (32,), "type complex64"),
        (VOX_OFFSET, "<f", (7.0,), "start at byte 7"),
        (VOX_OFFSET, "<f", (float("nan"),), "start at byte nan"),
    ],
)
def test_nonsense_in_a_header_is_told(tmp_path, array_xyz, offset, form, values, message):
    path = patched(save(tmp_path / "a.nii", array_xyz, tilted()), offset, form, *values)
    for read in (nifti_geometry, lambda path: read_image([path])):
        with pytest.raises(VolumeError, match=message) as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_any_header_gives_a_volume_or_a_volume_error(tmp_path, array_xyz):
    path = save(tmp_path / "a.nii", array_xyz, tilted(), tilted())
    sound = path.read_bytes()
    random = np.random.default_rng(5)
    refused = 0
    for _ in range(500):
        content = bytearray(sound)
        for position in random.integers(4, 348, 3):
            content[position] = random.integers(256)
        try:
            decode_nifti(bytes(content), path)
        except VolumeError:
            refused += 1
    assert 50 < refused < 450


def test_what_cannot_be_opened_is_told(tmp_path, array_xyz, monkeypatch):
    (tmp_path / "folder.nii.gz").mkdir()
    for read in (nifti_geometry, lambda path: read_image([path])):
        with pytest.raises(VolumeError, match=r"folder\.nii\.gz: Is a directory; check"):
            read(tmp_path / "folder.nii.gz")

    def refused(*_args, **_keywords):
        raise PermissionError(13, "Permission denied")

    path = save(tmp_path / "a.nii", array_xyz, tilted())
    monkeypatch.setattr(Path, "open", refused)
    monkeypatch.setattr(Path, "read_bytes", refused)
    for read in (nifti_geometry, lambda path: read_image([path])):
        with pytest.raises(VolumeError, match=r"a\.nii: Permission denied.*permissions"):
            read(path)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.95])
def test_a_truncated_file_of_another_format_is_refused(tmp_path, suffix, compressed, kept):
    noise = np.random.default_rng(0).integers(-1000, 1000, (20, 30, 40)).astype(np.int16)
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(path), useCompression=compressed)
    np.testing.assert_array_equal(read_image([path]).array[0], noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(VolumeError, match=r"truncated.*again"):
        read_image([path])


def test_a_header_beside_its_voxels(tmp_path):
    noise = np.random.default_rng(0).integers(-1000, 1000, (20, 30, 40)).astype(np.int16)
    path = tmp_path / "a.mhd"
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(path), useCompression=True)
    np.testing.assert_array_equal(read_image([path]).array[0], noise)
    assert volume_files(path) == [path, tmp_path / "a.zraw"]
    voxels = (tmp_path / "a.zraw").read_bytes()
    (tmp_path / "a.zraw").write_bytes(voxels[:-500])
    with pytest.raises(VolumeError, match=r"a\.mhd: .*truncated"):
        read_image([path])
    (tmp_path / "a.zraw").rename(tmp_path / "b.zraw")
    with pytest.raises(VolumeError, match=r"not in a\.raw or a\.zraw beside it"):
        read_image([path])


@pytest.mark.parametrize("suffix", [".img", ".vtk", ".tif", ".png", ".nhdr"])
def test_formats_that_hide_truncation_are_not_taken(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.touch()
    with pytest.raises(VolumeError, match="convert it to NIfTI"):
        read_image([path])


def test_a_label_of_the_same_crooked_header_lies_on_its_image(tmp_path, array_xyz):
    sform = tilted()
    sform[0, 1] += 1e-3
    image = read_image([save(tmp_path / "a.nii.gz", array_xyz, sform)])
    label = read_label_volume(save(tmp_path / "l.nii.gz", array_xyz, sform), image)
    assert len(image.repairs) == 1
    assert label.repairs == ()
    np.testing.assert_array_equal(label.array, image.array[0])


def test_sform_alone_and_qform_alone_say_the_same(tmp_path, array_xyz):
    """KiTS19 has nine labels with a qform alone beside images with an sform alone."""
    image = read_image([save(tmp_path / "a.nii.gz", array_xyz, tilted())])
    label = read_label_volume(save(tmp_path / "l.nii.gz", array_xyz, None, tilted()), image)
    assert label.repairs == ()
    np.testing.assert_array_equal(label.array, image.array[0])


def test_real_shear_is_refused(realdata):
    with pytest.raises(VolumeError, match=r"shear\.nii\.gz: sheared.* 18\.5 degrees"):
        read_image([realdata / "odd_headers" / "shear.nii.gz"])


def test_real_file_without_orientation(realdata):
    volume = read_image([realdata / "odd_headers" / "minimal.nii.gz"])
    assert volume.geometry.spacing == (3.0, 3.0, 3.0)
    assert "no sform and no qform" in volume.repairs[0]


@pytest.mark.parametrize(
    "pattern",
    [
        "kits19_labels/**/*.nii.gz",
        "STS_CT/*/CT_image.nii.gz",
        "totalsegmentator_example/**/ct.nii.gz",
    ],
)
def test_real_files_read_as_by_simpleitk(realdata, pattern):
    paths = sorted(realdata.glob(pattern))
    assert paths
    for path in paths:
        volume = decode_nifti(path.read_bytes(), path)
        image = sitk.ReadImage(str(path))
        np.testing.assert_array_equal(volume.values, sitk.GetArrayFromImage(image))
        assert volume.repairs == ()
        assert volume.geometry.spacing == image.GetSpacing()[::-1]
        np.testing.assert_allclose(
            np.ravel(volume.geometry.direction), image.GetDirection(), atol=1e-6
        )
        np.testing.assert_allclose(volume.geometry.origin, image.GetOrigin(), atol=1e-4)
