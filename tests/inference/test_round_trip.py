"""An oracle network through preparation, prediction and export, back in the raw file's grid."""

import itertools

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from skimage.transform import resize

from tests.inference.shapes import NETWORK_SPACING, REGIONS, RESAMPLED, blobs
from tsfm_pipeline.evaluation.metrics import dice
from tsfm_pipeline.imaging.intensity import CtStatistics
from tsfm_pipeline.imaging.resampling import resample_labels
from tsfm_pipeline.imaging.volume import read_image, write_label
from tsfm_pipeline.inference.case import predict_case
from tsfm_pipeline.inference.export import OriginalGrid, export_case
from tsfm_pipeline.inference.model import SegmentationModel
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.preparation.prepare import prepare_case, prepare_image
from tsfm_pipeline.preparation.settings import PreparationSettings
from tsfm_pipeline.sources import LabelFile, SourceCase
from tsfm_pipeline.sources.msd import MsdSource
from tsfm_pipeline.store.case_store import CaseStore

SETTINGS = InferenceSettings(tile_batch=3)

IDENTITY = np.eye(3)
ORIENTATIONS = {
    **{
        "".join(
            pair[flip > 0] for pair, flip in zip(("RL", "AP", "IS"), flips, strict=True)
        ): np.diag([float(flip) for flip in flips])
        for flips in itertools.product((1, -1), repeat=3)
    },
    "slices last, as in KiTS": np.array([[0, 0, -1.0], [0, -1, 0], [-1, 0, 0]]),
    "sagittal": np.array([[0, 0, 1.0], [1, 0, 0], [0, -1, 0]]),
    "oblique": np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1.0]])
    @ np.array([[0, 1.0, 0], [-1, 0, 0], [0, 0, 1]]),
}


def in_body(labels):
    """Return a CT that tells the labels apart, in a body with an empty margin; and the labels."""
    image = np.where(labels > 0, (labels + 1.0) * 10, -700.0)
    body = np.zeros(labels.shape, bool)
    body[2:-3, 3:-1, 1:-4] = True
    return np.where(body, image, 0).astype(np.int16), np.where(body, labels, 0).astype(np.uint8)


def written(folder, direction, spacing=(1.0, 1.5, 2.0), shape=(40, 46, 52)):
    """Write image and label with the given direction; return the case and the label's image."""
    files = {}
    for name, array in zip(("image", "label"), in_body(blobs(shape)), strict=True):
        volume = sitk.GetImageFromArray(array)
        volume.SetDirection(direction.ravel().tolist())
        volume.SetSpacing(spacing)
        volume.SetOrigin((-12.0, 30.5, 7.0))
        files[name] = folder / f"{name}.nii.gz"
        sitk.WriteImage(volume, str(files[name]))
    case = SourceCase("plain", "one", "one", "CT", (files["image"],), (LabelFile(files["label"]),))
    return case, sitk.ReadImage(str(files["label"]))


def prepared(case, card, folder, target_spacing=None):
    labels = {value: name for name, value in card.table.targets.items()}
    source = MsdSource(layout="msd", folder=".", labels=labels).named("plain")
    store = CaseStore(folder / "store")
    settings = PreparationSettings(target_spacing=target_spacing)
    return prepare_case(case, source, card.table, settings, store), store


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_an_oracle_gives_back_the_label_file(orientation, tmp_path, oracle, card):
    case, label = written(tmp_path, ORIENTATIONS[orientation])
    record, store = prepared(case, card, tmp_path)
    assert record.crop_shape != record.uncropped_shape
    image_CZYX, grid = store.read_image(case.key), OriginalGrid.of(record)
    labels_ZYX = predict_case(oracle, image_CZYX, "CT", grid, card.regions, SETTINGS)
    path = tmp_path / "prediction.nii.gz"
    write_label(path, labels_ZYX, (record.file_geometry, record.reorientation))

    prediction = sitk.ReadImage(str(path))
    assert prediction.GetSize() == label.GetSize()
    for ours, raw in (
        (prediction.GetDirection(), label.GetDirection()),
        (prediction.GetOrigin(), label.GetOrigin()),
        (prediction.GetSpacing(), label.GetSpacing()),
    ):
        np.testing.assert_allclose(ours, raw, atol=1e-5)
    reference = sitk.GetArrayFromImage(label)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(prediction), reference)
    assert {1, 5, 22, 24, 25} < set(np.unique(reference))


def resized(mask, shape, apart):
    """Linear resizing as nnU-Net v1 does it: by skimage, in the plane only where z is apart."""
    options = {"order": 1, "mode": "edge", "anti_aliasing": False}
    if not apart:
        return resize(mask.astype(float), shape, **options)
    slices = np.stack([resize(plane.astype(float), shape[1:], **options) for plane in mask])
    centres = (np.arange(shape[0]) + 0.5) * len(mask) / shape[0] - 0.5
    return slices[np.clip(np.floor(centres + 0.5).astype(int), 0, len(mask) - 1)]


@pytest.mark.parametrize(
    ("spacing", "target", "apart"),
    [
        ((0.8, 0.8, 1.0), (1.5, 1.0, 1.0), False),
        ((0.8, 0.8, 4.0), (3.0, 1.0, 1.0), True),
    ],
)
def test_resampled_labels_come_back_as_nnunet_would_bring_them(
    spacing, target, apart, tmp_path, card
):
    case, _ = written(tmp_path, ORIENTATIONS["RAS"], spacing, shape=(60, 90, 100))
    record, store = prepared(case, card, tmp_path, target)
    assert record.geometry.shape != record.crop_shape
    stored_ZYX = store.read_labels(case.key)
    masks = {r: np.isin(stored_ZYX, card.table.region_ids(r)) for r in card.regions}
    scores_KZYX = np.stack(list(masks.values())).astype(np.float32)
    labels_ZYX = export_case(scores_KZYX, OriginalGrid.of(record), card.regions, card.table)

    crop = np.zeros(record.crop_shape, np.uint8)
    for region, value in (("spleen", 1), ("liver", 5), ("liver_tumor", 25), ("kidney", 22)):
        crop[resized(masks[region], record.crop_shape, apart) > 0.5] = value
    crop[resized(masks["kidney_cyst"], record.crop_shape, apart) > 0.5] = 24
    box = tuple(
        slice(low, low + size)
        for low, size in zip(record.crop_lower, record.crop_shape, strict=True)
    )
    assert np.mean(labels_ZYX[box] != crop) < 1e-5
    assert np.count_nonzero(labels_ZYX) == np.count_nonzero(labels_ZYX[box])


class SeesMasks(torch.nn.Module):
    """Reads each region's share of a voxel (in thousandths) from an image channel of its own."""

    def forward(self, tiles_BCDHW):
        return torch.logit(tiles_BCDHW / 1000, eps=1e-6)


def in_channels(folder, labels, spacing):
    """Write one image per region, its mask as 0 and 1000; air of -1 leaves nothing to crop."""
    paths = []
    for region, ids in REGIONS.items():
        volume = sitk.GetImageFromArray(np.where(np.isin(labels, ids), 1000, -1).astype(np.int16))
        volume.SetSpacing(spacing[::-1])
        paths.append(folder / f"{region}.nii.gz")
        sitk.WriteImage(volume, str(paths[-1]))
    return paths


@pytest.mark.parametrize("name", RESAMPLED)
def test_where_spacing_changes_nothing_is_lost_that_nnunet_keeps(name, tmp_path, card, reference):
    """Scored per region and not on the collapsed map, where inner regions cut the outer ones."""
    shape, spacing = RESAMPLED[name]
    labels = blobs(shape)
    image = read_image(in_channels(tmp_path, labels, spacing))
    settings = PreparationSettings(target_spacing=NETWORK_SPACING)
    prepared = prepare_image(image, "CT", settings)
    grid = OriginalGrid(
        prepared.geometry.spacing,
        prepared.crop_lower,
        prepared.crop_shape,
        image.geometry.shape,
        image.geometry.spacing,
    )
    statistics = CtStatistics(lower=0, upper=1000, mean=0, sd=1)
    several = card.model_copy(update={"in_channels": len(REGIONS), "ct_statistics": statistics})
    model = SegmentationModel(SeesMasks(), several, torch.device("cpu"))
    theirs = reference[0]["round_trip"][name]
    for region, ids in REGIONS.items():
        mask = np.isin(labels, ids)
        assert np.count_nonzero(mask) >= 1000
        # A network that knows how much of a voxel a region fills ...
        found = predict_case(model, prepared.image_CZYX, "CT", grid, (region,), SETTINGS) > 0
        soft = dice(mask, found)
        assert soft >= 0.98, region
        assert soft >= theirs["soft"][region] - 1e-3, region
        # ... and one that repeats the stored label, which the coarser grid has rounded.
        stored_ZYX = resample_labels(
            mask.astype(np.uint8), prepared.geometry.shape, spacing, NETWORK_SPACING
        )
        hard_KZYX = stored_ZYX[None].astype(np.float32)
        hard = dice(mask, export_case(hard_KZYX, grid, (region,), card.table) > 0)
        assert hard >= theirs["hard"][region] - 1e-4, region


def test_the_oriented_twins_of_a_real_volume_get_the_same_labels(realdata, tmp_path, oracle, card):
    """Eight files of one head; the oracle calls what is bright liver."""
    paths = sorted((realdata / "odd_headers").glob("orientation_*.nii.gz"))
    assert len(paths) == 8
    worlds = []
    for path in paths:
        image = read_image([path])
        bright = np.where(image.array > 60, 60.0, np.minimum(image.array, 5)).astype(np.float32)
        prepared = prepare_image(
            type(image)(bright, image.geometry, image.file_geometry, image.reorientation),
            "CT",
            PreparationSettings(target_spacing=None),
        )
        grid = OriginalGrid(
            prepared.geometry.spacing,
            prepared.crop_lower,
            prepared.crop_shape,
            image.geometry.shape,
            image.geometry.spacing,
        )
        labels_ZYX = predict_case(oracle, prepared.image_CZYX, "CT", grid, ("liver",), SETTINGS)
        written_to = tmp_path / path.name
        write_label(written_to, labels_ZYX, (image.file_geometry, image.reorientation))
        found, raw = nib.load(written_to), nib.load(path)
        np.testing.assert_allclose(found.affine, raw.affine, atol=1e-3)
        mask = np.asarray(raw.dataobj) > 60
        np.testing.assert_array_equal(np.asarray(found.dataobj) == 5, mask)
        worlds.append(np.count_nonzero(mask))
    assert len(set(worlds)) == 1
    assert worlds[0] > 1000


def test_only_the_regions_asked_for_are_painted(tmp_path, oracle, card):
    case, label = written(tmp_path, IDENTITY)
    record, store = prepared(case, card, tmp_path)
    image_CZYX = store.read_image(case.key)
    grid = OriginalGrid.of(record)
    labels_ZYX = predict_case(oracle, image_CZYX, "CT", grid, ("liver", "spleen"), SETTINGS)
    raw = sitk.GetArrayFromImage(label)
    expected = np.select([np.isin(raw, (5, 25)), raw == 1], [5, 1], 0)
    np.testing.assert_array_equal(record.reorientation.invert(labels_ZYX), expected)


def test_the_inner_region_wins_in_whatever_order_it_comes(tmp_path, card):
    case, _ = written(tmp_path, IDENTITY)
    record, _ = prepared(case, card, tmp_path)
    everywhere = np.ones((2, *record.geometry.shape), np.float32)
    for regions in (("liver", "liver_tumor"), ("liver_tumor", "liver")):
        labels_ZYX = export_case(everywhere, OriginalGrid.of(record), regions, card.table)
        assert set(np.unique(labels_ZYX)) == {0, 25}
        assert np.count_nonzero(labels_ZYX) == np.prod(record.crop_shape)
    half = np.full((1, *record.geometry.shape), 0.5, np.float32)
    assert not export_case(half, OriginalGrid.of(record), ("liver",), card.table).any()
