"""An oracle network through preparation, prediction and export, back in the raw file's grid."""

import numpy as np
import pytest
import SimpleITK as sitk
from skimage.transform import resize

from tsfm_pipeline.evaluation.metrics import score_case
from tsfm_pipeline.imaging.volume import write_label
from tsfm_pipeline.inference.case import predict_case
from tsfm_pipeline.inference.export import OriginalGrid, export_case
from tsfm_pipeline.inference.settings import PredictionSettings
from tsfm_pipeline.preparation.prepare import prepare_case
from tsfm_pipeline.preparation.settings import PreparationSettings
from tsfm_pipeline.sources import LabelFile, SourceCase
from tsfm_pipeline.sources.msd import MsdSource
from tsfm_pipeline.store.case_store import CaseStore

SETTINGS = PredictionSettings(tile_batch=3)

IDENTITY = np.eye(3)
ORIENTATIONS = {
    "LPS": IDENTITY,
    "RAS": np.diag([-1.0, -1.0, 1.0]),
    "upside down": np.diag([1.0, -1.0, -1.0]),
    "slices last, as in KiTS": np.array([[0, 0, -1.0], [0, -1, 0], [-1, 0, 0]]),
    "sagittal": np.array([[0, 0, 1.0], [1, 0, 0], [0, -1, 0]]),
    "oblique": np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1.0]])
    @ np.array([[0, 1.0, 0], [-1, 0, 0], [0, 0, 1]]),
}


def blobs(shape):
    """Nested and separate structures of at least 1,000 voxels in a body with an empty margin."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))

    def ball(centre, radius):
        offset = grid - np.asarray(centre).reshape(3, 1, 1, 1)
        return (offset**2).sum(axis=0) < radius**2

    labels = np.zeros(shape, np.uint8)
    labels[ball((0.2, -0.1, -0.35), 0.45)] = 5
    labels[ball((0.25, -0.1, -0.3), 0.25)] = 25
    labels[ball((-0.1, 0.2, 0.5), 0.3)] = 22
    labels[ball((-0.1, 0.2, 0.62), 0.2)] = 24
    labels[ball((-0.6, -0.5, 0.2), 0.25)] = 1
    image = np.where(labels > 0, (labels + 1.0) * 10, -700.0)
    body = np.zeros(shape, bool)
    body[2:-3, 3:-1, 1:-4] = True
    return np.where(body, image, 0).astype(np.int16), np.where(body, labels, 0).astype(np.uint8)


def written(folder, direction, spacing=(1.0, 1.5, 2.0), shape=(40, 46, 52)):
    """Write image and label with the given direction; return the case and the label's image."""
    files = {}
    for name, array in zip(("image", "label"), blobs(shape), strict=True):
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
    source = MsdSource(layout="msd", folder=".", labels=labels)
    store = CaseStore(folder / "store")
    settings = PreparationSettings(target_spacing=target_spacing)
    return prepare_case(case, source, card.table, settings, store), store


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_an_oracle_gives_back_the_label_file(orientation, tmp_path, oracle, card):
    case, label = written(tmp_path, ORIENTATIONS[orientation])
    record, store = prepared(case, card, tmp_path)
    assert record.crop_shape != record.uncropped_shape
    labels_ZYX = predict_case(
        oracle,
        store.read_image(case.key),
        record.modality,
        OriginalGrid.of(record),
        card.regions,
        SETTINGS,
    )
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
    case, label = written(tmp_path, ORIENTATIONS["RAS"], spacing, shape=(60, 90, 100))
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

    reference = record.reorientation.apply(sitk.GetArrayFromImage(label))
    for row in score_case(reference, labels_ZYX, card.regions, card.table):
        assert row["reference_voxels"] >= 1000
        assert row["dice"] >= 0.95, row  # what the coarser grid cannot hold


def test_only_the_regions_asked_for_are_painted(tmp_path, oracle, card):
    case, label = written(tmp_path, IDENTITY)
    record, store = prepared(case, card, tmp_path)
    image_CZYX = store.read_image(case.key)
    labels_ZYX = predict_case(
        oracle, image_CZYX, record.modality, OriginalGrid.of(record), ("liver", "spleen"), SETTINGS
    )
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
