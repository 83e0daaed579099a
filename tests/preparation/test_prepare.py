import dataclasses
import errno
import hashlib
import itertools
import os

import numpy as np
import pytest
import SimpleITK as sitk

from tsfm_pipeline.imaging.labels import OUTSIDE, LabelError, LabelTable
from tsfm_pipeline.imaging.volume import VolumeError, read_image, write_label
from tsfm_pipeline.preparation import (
    PREPARATION_VERSION,
    PreparationSettings,
    RawDigests,
    preparation_digest,
    prepare_case,
    prepare_image,
)
from tsfm_pipeline.preparation.prepare import foreground_locations
from tsfm_pipeline.sources.source import LabelFile, Source, SourceCase
from tsfm_pipeline.store import CaseStore

TABLE = LabelTable(targets={"spleen": 1, "liver": 5, "liver_tumor": 25, "pancreas": 10})
ISOTROPIC = PreparationSettings(target_spacing=(1.5, 1.5, 1.5))
BLOBS_LPS = {1: (-30.0, 10.0, 15.0), 2: (25.0, -12.0, -8.0), 3: (0.0, 20.0, 22.0)}
RADIUS_MM = 9.0


class AnySource(Source):
    def list_cases(self, root):
        raise NotImplementedError


class MaskSource(AnySource):
    @property
    def class_files(self):
        return True


def any_source(**settings):
    return AnySource(folder=".", **settings).named("set")


def mask_source(labels):
    return MaskSource(folder=".", labels=labels).named("set")


SOURCE = any_source(labels={1: "liver", 2: "spleen", 3: None})


GOLDEN = {
    ("CT", (1.5, 1.5, 1.5)): (3, "df7ae370fc1c8882", [41.043, 14.755, 40.32, 32.0]),
    ("MR", (4.5, 1.0, 1.0)): (3, "77a60e04c8675534", [0.0, 1.0, -0.043, -0.152]),
}
"""Preparation version, digest of labels and locations, and a few numbers of the image."""


def tilted(order, signs):
    """A right-angled direction matrix: axes permuted, flipped and turned by ten degrees."""
    turn = np.array([[np.cos(0.17), -np.sin(0.17), 0], [np.sin(0.17), np.cos(0.17), 0], [0, 0, 1]])
    return turn @ np.eye(3)[:, list(order)] * np.asarray(signs)


def write_case(folder, order=(0, 1, 2), signs=(1, 1, 1), *, modality="CT", channels=1, blobs=None):
    """Write a box of tissue with a ball per label value at a known world point."""
    spacing = np.array((0.9, 1.3, 4.5))
    size = np.array((110, 80, 22))
    direction = tilted(order, signs)
    origin = -direction @ (spacing * (size - 1) / 2)
    index = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1)
    world = index * spacing @ direction.T + origin
    labels = np.zeros(size, np.uint8)
    for value, centre in (BLOBS_LPS if blobs is None else blobs).items():
        labels[((world - centre) ** 2).sum(-1) < RADIUS_MM**2] = value
    rng = np.random.default_rng(0)
    tissue = rng.normal(40, 10, size) + 60.0 * labels

    def save(array_xyz, name):
        image = sitk.GetImageFromArray(np.ascontiguousarray(array_xyz.transpose(2, 1, 0)))
        image.SetSpacing(spacing.tolist())
        image.SetOrigin(origin.tolist())
        image.SetDirection(direction.ravel().tolist())
        sitk.WriteImage(image, str(folder / name))
        return folder / name

    images = [save((tissue + c).astype(np.float32), f"i{c}.nii.gz") for c in range(channels)]
    label = LabelFile(save(labels, "l.nii.gz"))
    return SourceCase("set", "one", "patient", modality, tuple(images), (label,))


def prepare(case, folder, settings=ISOTROPIC, source=SOURCE):
    store = CaseStore(folder / "pool")
    return prepare_case(case, source, TABLE, settings, store), store


ORIENTATIONS = [
    ((0, 1, 2), (1, 1, 1)),
    ((2, 0, 1), (1, -1, 1)),
    ((1, 2, 0), (-1, -1, -1)),
    ((2, 1, 0), (-1, 1, 1)),
]


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
@pytest.mark.parametrize("spacing", [(1.5, 1.5, 1.5), (5.0, 1.0, 1.2), None])
def test_labels_stay_at_their_place_in_the_world(tmp_path, order, signs, spacing):
    settings = PreparationSettings(target_spacing=spacing)
    record, store = prepare(write_case(tmp_path, order, signs), tmp_path, settings)
    labels = store.read_labels(record.key)
    image = store.read_image(record.key)[0]
    for value, stored in ((1, 5), (2, 1), (3, 0)):
        centre = np.array(BLOBS_LPS[value])
        z, y, x = np.rint(record.geometry.world_to_index(centre)).astype(int)
        assert labels[z, y, x] == stored
        assert image[z, y, x] == pytest.approx(40 + 60 * value, abs=45)
        if stored:
            found = record.geometry.index_to_world(np.argwhere(labels == stored))
            assert np.linalg.norm(found - centre, axis=1).max() < RADIUS_MM + 4.5
            slack = 0.2 + 0.3 * max(record.geometry.spacing)  # nearest neighbour moves slices
            np.testing.assert_allclose(found.mean(axis=0), centre, atol=slack)
            volume = len(found) * np.prod(record.geometry.spacing)
            assert volume == pytest.approx(4 / 3 * np.pi * RADIUS_MM**3, rel=0.12)
            assert record.target_voxels[stored] == len(found)
            points = store.foreground(record.key)[stored]
            assert (labels[tuple(points.T)] == stored).all()
    assert set(record.target_voxels) == {1, 5}
    if spacing is not None:
        np.testing.assert_allclose(record.geometry.spacing, spacing, rtol=0.05)


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS[1:3])
def test_the_stored_labels_go_back_onto_the_raw_grid(tmp_path, order, signs):
    """With the case's own spacing nothing is lost on the way there and back."""
    case = write_case(tmp_path, order, signs)
    record, store = prepare(case, tmp_path, PreparationSettings(target_spacing=None))
    canonical = np.zeros(record.uncropped_shape, np.uint8)
    box = tuple(slice(a, a + n) for a, n in zip(record.crop_lower, record.crop_shape, strict=True))
    canonical[box] = store.read_labels(record.key)
    write_label(tmp_path / "b.nii.gz", canonical, (record.file_geometry, record.reorientation))
    raw = sitk.ReadImage(str(case.labels[0].path))
    back = sitk.ReadImage(str(tmp_path / "b.nii.gz"))
    np.testing.assert_allclose(back.GetOrigin(), raw.GetOrigin(), atol=1e-3)
    np.testing.assert_allclose(back.GetDirection(), raw.GetDirection(), atol=1e-5)
    expected = np.array([0, 5, 1, 0])[sitk.GetArrayFromImage(raw)]
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), expected)


def padded_case(folder, modality, rim):
    """A case whose tissue is a box within `rim` voxels of zeros, with a notch at a corner."""
    tissue = np.random.default_rng(3).normal(200, 30, (20, 24, 28)).astype(np.float32)
    tissue[:4, :4, :4] = 0.0
    labels = np.zeros(tissue.shape, np.uint8)
    labels[8:12, 8:12, 8:12] = 1
    labels[0, 0, 0] = 2
    for array, name in ((tissue, "i.nrrd"), (labels, "l.nrrd")):
        sitk.WriteImage(sitk.GetImageFromArray(np.pad(array, rim)), str(folder / name))
    label = LabelFile(folder / "l.nrrd")
    return SourceCase("set", "padded", "p", modality, (folder / "i.nrrd",), (label,)), tissue


def test_padding_is_cropped_and_marked_outside(tmp_path):
    case, tissue = padded_case(tmp_path, "CT", 5)
    record, store = prepare(case, tmp_path, PreparationSettings(target_spacing=None))
    assert (record.crop_lower, record.crop_shape) == ((5, 5, 5), tissue.shape)
    np.testing.assert_allclose(record.geometry.index_to_world((0, 0, 0)), (5.0, 5.0, 5.0))
    labels = store.read_labels(record.key)
    notch = np.zeros(tissue.shape, bool)
    notch[:4, :4, :4] = True
    notch[0, 0, 0] = False  # labelled voxels stay labelled
    np.testing.assert_array_equal(labels == OUTSIDE, notch)
    assert labels[0, 0, 0] == 1
    assert np.abs(store.read_image(record.key)[0] - tissue).max() <= 1 / 16


@pytest.mark.parametrize(("rim", "masked"), [(5, True), (0, False)])
def test_mr_is_scored_over_the_mask_only_when_the_crop_took_a_quarter(tmp_path, rim, masked):
    case, tissue = padded_case(tmp_path, "MR", rim)
    record, store = prepare(case, tmp_path, PreparationSettings(target_spacing=None))
    inside = store.read_labels(record.key) != OUTSIDE
    counted = tissue[inside] if masked else tissue
    expected = (tissue - counted.mean()) / counted.std()
    if masked:
        expected[~inside] = 0.0
    np.testing.assert_allclose(store.read_image(record.key)[0], expected, atol=1e-2)


def test_channels_stay_in_order_and_intensities_are_every_tenth_voxel(tmp_path):
    case = write_case(tmp_path, channels=3, modality="MR")
    record, store = prepare(case, tmp_path)
    volume = read_image(case.images)
    raw_labels = sitk.GetArrayFromImage(sitk.ReadImage(str(case.labels[0].path)))
    wanted = np.isin(volume.reorientation.apply(raw_labels), (1, 2))
    expected = np.stack([channel[wanted][::10] for channel in volume.array], axis=1)
    np.testing.assert_array_equal(store.intensities(record.key), expected)
    assert record.channels == 3
    # Channels differ by a constant, which scoring takes away.
    image = store.read_image(record.key)
    np.testing.assert_allclose(image[0], image[2], atol=2e-3)


def test_without_foreground_there_are_no_samples(tmp_path):
    record, store = prepare(write_case(tmp_path, blobs={}), tmp_path)
    assert record.target_voxels == {}
    assert record.annotated == ("liver", "spleen")
    assert store.foreground(record.key) == {}
    assert store.intensities(record.key).shape == (0, 1)


def test_locations_are_nnunets_draw():
    labels = np.zeros((130, 100, 100), np.uint8)
    labels[:125] = 5
    labels[125:126] = 1
    labels[126, 0, :7] = 25
    found = foreground_locations(labels, (25, 5, 1), seed=1234)
    random = np.random.RandomState(1234)
    for target, count in ((1, 10_000), (5, 12_500), (25, 7)):
        voxels = np.argwhere(labels == target)
        # nnU-Net v1.7.1: rndst.choice(range(len(all_locs)), target_num_samples, replace=False)
        chosen = voxels[random.choice(range(len(voxels)), count, replace=False)]
        np.testing.assert_array_equal(found[target], chosen)


def test_masks_of_classes_are_painted_in_the_order_of_the_mapping(tmp_path):
    case = write_case(tmp_path, blobs={1: BLOBS_LPS[1]})
    near = np.add(BLOBS_LPS[1], (6.0, 0.0, 0.0))
    other = tmp_path / "other"
    other.mkdir()
    second = write_case(other, blobs={1: near}).labels[0].path
    labels = (LabelFile(second, "tumour"), LabelFile(case.labels[0].path, "organ"))
    case = dataclasses.replace(case, labels=labels)
    for names, winner in ((("organ", "tumour"), 25), (("tumour", "organ"), 5)):
        ids = {"organ": "liver", "tumour": "liver_tumor"}
        source = mask_source({name: ids[name] for name in names})
        record, store = prepare(case, tmp_path, source=source)
        between = record.geometry.world_to_index(np.add(BLOBS_LPS[1], (3.0, 0.0, 0.0)))
        assert store.read_labels(record.key)[tuple(np.rint(between).astype(int))] == winner
        assert set(record.target_voxels) == {5, 25}
    with pytest.raises(LabelError, match=r"l\.nii\.gz: class 'tumour'.*datasets\.set\.labels"):
        prepare(case, tmp_path, source=mask_source({"organ": "liver"}))


def test_targets_a_modality_does_not_annotate_become_background(tmp_path):
    source = any_source(
        labels={1: "liver", 2: "spleen", 3: "pancreas"},
        unannotated={"MR": ("spleen",)},
    )
    case = write_case(tmp_path, modality="MR")
    record, _ = prepare(case, tmp_path, source=source)
    assert set(record.target_voxels) == {5, 10}
    assert record.annotated == ("liver", "pancreas")
    record, _ = prepare(dataclasses.replace(case, modality="CT"), tmp_path, source=source)
    assert set(record.target_voxels) == {1, 5, 10}


def test_a_scan_without_labels_is_prepared_like_a_labelled_one(tmp_path):
    case = write_case(tmp_path, (2, 0, 1), (1, -1, 1))
    record, store = prepare(case, tmp_path)
    prepared = prepare_image(read_image(case.images), "CT", ISOTROPIC)
    assert prepared.geometry == record.geometry
    assert np.abs(prepared.image_CZYX - store.read_image(record.key)).max() <= 1 / 16


def test_bad_cases_are_told_by_file(tmp_path):
    case = write_case(tmp_path)
    with pytest.raises(LabelError, match=r"l\.nii\.gz: label value\(s\) 3"):
        prepare(case, tmp_path, source=any_source(labels={1: "liver", 2: "spleen"}))
    with pytest.raises(VolumeError, match="no label file"):
        prepare(dataclasses.replace(case, problem="no label file"), tmp_path)
    gone = dataclasses.replace(case, images=(tmp_path / "gone.nii.gz",))
    with pytest.raises(VolumeError, match=r"gone\.nii\.gz: no such file"):
        prepare(gone, tmp_path)
    zero = sitk.ReadImage(str(case.images[0])) * 0.0
    sitk.WriteImage(zero, str(case.images[0]))
    with pytest.raises(VolumeError, match=r"i0\.nii\.gz: all voxels are 0"):
        prepare(case, tmp_path)
    assert CaseStore(tmp_path / "pool").keys() == []


def files_of(store):
    """Every file of the one case: what it is (inode) and what it holds."""
    folder = store.root / "set" / "one"
    return {path.name: (path.stat().st_ino, path.read_bytes()) for path in folder.iterdir()}


def test_a_finished_case_is_not_prepared_again_unless_something_changed(tmp_path):
    case = write_case(tmp_path)
    record, store = prepare(case, tmp_path)
    first = files_of(store)
    assert prepare(case, tmp_path)[0] == record
    assert files_of(store) == first
    finer = PreparationSettings(target_spacing=(1.5, 1.5, 1.4))
    assert prepare(case, tmp_path, finer)[0].geometry.shape != record.geometry.shape
    assert files_of(store)["image.b2nd"] != first["image.b2nd"]
    prepare(case, tmp_path)
    assert {name: content for name, (_, content) in files_of(store).items()} == {
        name: content for name, (_, content) in first.items()
    }


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_other_labels_leave_the_image_alone(tmp_path, modality):
    """A label mapping, label file or patient that changed: the image stays the very same file."""
    case = write_case(tmp_path, modality=modality)
    _, store = prepare(case, tmp_path)
    first = files_of(store)

    mapped = any_source(labels={1: "liver", 2: "spleen", 3: "pancreas"})
    changed = prepare(case, tmp_path, source=mapped)[0]
    assert changed.target_voxels.keys() == {1, 5, 10}
    second = files_of(store)
    assert second.keys() == first.keys()
    assert second["image.b2nd"] == first["image.b2nd"]
    assert all(second[name] != first[name] for name in first if name != "image.b2nd")
    assert store.thumbnail(case.key).any()
    fresh = tmp_path / "fresh"
    expected = files_of(prepare(case, fresh, source=mapped)[1])
    assert {name: content for name, (_, content) in second.items()} == {
        name: content for name, (_, content) in expected.items()
    }

    image = case.images[0].read_bytes()
    write_case(tmp_path, blobs={1: (0.0, 0.0, 0.0)})
    case.images[0].write_bytes(image)
    assert prepare(case, tmp_path)[0].target_voxels.keys() == {5}
    renamed = dataclasses.replace(case, patient="other")
    assert prepare(renamed, tmp_path)[0].patient == "other"
    assert files_of(store)["image.b2nd"] == first["image.b2nd"]


@pytest.mark.parametrize(("rim", "kept"), [(5, False), (0, True)])
def test_labels_outside_the_mask_of_a_masked_mr_score_the_image_anew(tmp_path, rim, kept):
    """Such voxels count in its mean (nnU-Net: seg >= 0); without a mask they do not matter."""
    case, _ = padded_case(tmp_path, "MR", rim)
    settings = PreparationSettings(target_spacing=None)
    source = any_source(labels={1: "liver", 2: "spleen"})
    _, store = prepare(case, tmp_path, settings, source)
    before = (store.root / "set" / "padded" / "image.b2nd").read_bytes()
    dropped = any_source(labels={1: "liver", 2: None})
    prepare(case, tmp_path, settings, dropped)
    after = (store.root / "set" / "padded" / "image.b2nd").read_bytes()
    assert (after == before) == kept
    _, fresh = prepare(case, tmp_path / "fresh", settings, dropped)
    np.testing.assert_array_equal(store.read_image("set/padded"), fresh.read_image("set/padded"))
    # a label that lies inside changes no voxel of the mask
    other = any_source(labels={1: "pancreas", 2: None})
    inode = (store.root / "set" / "padded" / "image.b2nd").stat().st_ino
    prepare(case, tmp_path, settings, other)
    assert (store.root / "set" / "padded" / "image.b2nd").stat().st_ino == inode


@pytest.mark.parametrize("name", ["image.b2nd", "labels.b2nd", "samples.npz", "case.json", None])
def test_a_file_of_the_store_that_changed_is_found_and_made_again(tmp_path, name):
    case = write_case(tmp_path)
    record, store = prepare(case, tmp_path)
    good = {name: content for name, (_, content) in files_of(store).items()}
    folder = store.root / "set" / "one"
    if name is None:
        (folder / "foreign.b2nd").write_bytes(b"?")
    else:
        (folder / name).write_bytes(good[name][:-1])
    assert prepare(case, tmp_path)[0] == record
    assert {name: content for name, (_, content) in files_of(store).items()} == good


@pytest.mark.parametrize("name", ["image.b2nd", "labels.b2nd"])
def test_what_is_damaged_in_the_store_is_made_of_the_raw_case(tmp_path, monkeypatch, name):
    """Other labels keep the stored image, unless it or what is compared with it can't be read."""
    case, _ = padded_case(tmp_path, "MR", 5)
    settings = PreparationSettings(target_spacing=None)
    _, store = prepare(case, tmp_path, settings, any_source(labels={1: "liver", 2: "spleen"}))

    def no_links(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    path = store.root / "set" / "padded" / name
    path.write_bytes(path.read_bytes()[:-1] + b"x")  # of the same size
    other = any_source(labels={1: "pancreas", 2: "spleen"})
    record, _ = prepare(case, tmp_path, settings, other)
    assert store.intact_record(case.key, verify=True) == record
    _, fresh = prepare(case, tmp_path / "fresh", settings, other)
    np.testing.assert_array_equal(store.read_image(case.key), fresh.read_image(case.key))
    np.testing.assert_array_equal(store.read_labels(case.key), fresh.read_labels(case.key))


def test_verifying_finds_what_sizes_do_not_show(tmp_path):
    case = write_case(tmp_path)
    _, store = prepare(case, tmp_path)
    path = store.root / "set" / "one" / "labels.b2nd"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    prepare_case(case, SOURCE, TABLE, ISOTROPIC, store)
    assert path.read_bytes() != good
    prepare_case(case, SOURCE, TABLE, ISOTROPIC, store, verify=True)
    assert path.read_bytes() == good


def test_every_decision_changes_the_digest(tmp_path):
    case = write_case(tmp_path)
    source = any_source(labels={1: "liver", 2: "spleen"}, unannotated={"MR": ("spleen",)})

    def digest(case=case, source=source, table=TABLE, settings=ISOTROPIC):
        return preparation_digest(case, source, table, settings)

    variants = [
        digest(),
        digest(case=dataclasses.replace(case, modality="MR")),
        digest(source=any_source(labels={1: "liver", 2: None})),
        digest(source=any_source(labels={2: "spleen", 1: "liver"})),
        digest(table=LabelTable(targets={"liver": 6, "spleen": 1})),
        digest(settings=PreparationSettings(target_spacing=(1.5, 1.0, 1.0))),
        digest(settings=PreparationSettings(target_spacing=(1.5, 1.5, 1.5), seed=1)),
    ]
    assert all(a != b for a, b in itertools.combinations(variants, 2))
    assert digest(source=source.model_copy(update={"folder": "elsewhere"})) == digest()


def test_raw_digests_know_bytes_and_roles_but_not_paths(tmp_path):
    case = write_case(tmp_path, channels=2)
    first = RawDigests.of_files(case)
    moved = tmp_path / "moved.nii.gz"
    moved.write_bytes(case.images[0].read_bytes())
    elsewhere = dataclasses.replace(case, images=(moved, case.images[1]))
    assert RawDigests.of_files(elsewhere) == first
    swapped = RawDigests.of_files(dataclasses.replace(case, images=case.images[::-1]))
    named = dataclasses.replace(case, labels=(LabelFile(case.labels[0].path, "liver"),))
    named = RawDigests.of_files(named)
    moved.write_bytes(moved.read_bytes()[:-1] + b"x")
    changed = RawDigests.of_files(elsewhere)
    assert len({digests.joined for digests in (first, swapped, named, changed)}) == 4
    assert (swapped.label, changed.label, named.image) == (first.label, first.label, first.image)


@pytest.mark.parametrize(("modality", "spacing"), GOLDEN)
def test_output_changes_only_with_a_new_version(tmp_path, modality, spacing):
    """A failure here means: raise PREPARATION_VERSION, then renew GOLDEN."""
    case = write_case(tmp_path, (2, 0, 1), (1, -1, 1), modality=modality)
    record, store = prepare(case, tmp_path, PreparationSettings(target_spacing=spacing))
    digest = hashlib.sha256(store.read_labels(record.key).tobytes())
    for points in store.foreground(record.key).values():
        digest.update(points.tobytes())
    # Not a digest of the image: another processor may add up in another order.
    image = store.read_image(record.key)[0]
    probes = [image.mean(), image.std(), image[20:24, 20:24, 20:24].mean(), image[9, 9, 9]]
    version, golden_digest, golden_probes = GOLDEN[modality, spacing]
    assert version == PREPARATION_VERSION
    assert digest.hexdigest()[:16] == golden_digest
    assert probes == pytest.approx(golden_probes, abs=0.01 if modality == "MR" else 0.13)


def test_real_mr_case(realdata, tmp_path):
    folder = realdata / "Task04_Hippocampus"
    name = "hippocampus_001.nii.gz"
    label = LabelFile(folder / "labelsTr" / name)
    case = SourceCase("task04", "001", "001", "MR", (folder / "imagesTr" / name,), (label,))
    source = any_source(labels={1: "liver", 2: "spleen"})
    settings = PreparationSettings(target_spacing=(1.0, 1.0, 1.0))
    record, store = prepare(case, tmp_path, settings, source)
    raw = sitk.GetArrayFromImage(sitk.ReadImage(str(label.path)))
    assert record.target_voxels == {5: (raw == 1).sum(), 1: (raw == 2).sum()}
    image = store.read_image(record.key)
    assert image.mean() == pytest.approx(0, abs=1e-2)
    assert image.std() == pytest.approx(1, abs=1e-2)


def test_real_ct_case(realdata, tmp_path):
    folder = realdata / "STS_CT" / "STS_001"
    label = LabelFile(folder / "CT_mask.nii.gz")
    case = SourceCase("sts", "001", "001", "CT", (folder / "CT_image.nii.gz",), (label,))
    source = any_source(labels={1: "liver_tumor"})
    settings = PreparationSettings(target_spacing=(1.5, 1.0, 1.0))
    record, store = prepare(case, tmp_path, settings, source)
    raw = sitk.ReadImage(str(label.path))
    mask = sitk.GetArrayFromImage(raw)
    millilitres = record.target_voxels[25] * np.prod(record.geometry.spacing)
    assert millilitres == pytest.approx(mask.sum() * np.prod(raw.GetSpacing()), rel=0.02)
    z, y, x = np.argwhere(mask).mean(axis=0)
    centre = raw.TransformContinuousIndexToPhysicalPoint((x, y, z))
    found = record.geometry.index_to_world(np.argwhere(store.read_labels(record.key) == 25))
    np.testing.assert_allclose(found.mean(axis=0), centre, atol=0.5)
    tissue = store.intensities(record.key)
    assert -100 < np.median(tissue) < 100
