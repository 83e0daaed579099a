"""Label maps written as their dataset would write them, and read back."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.imaging.volume import read_image
from tsfm_pipeline.preparation.labels import prediction_path, read_prediction, write_targets
from tsfm_pipeline.sources import Datasets, SourceCase
from tsfm_pipeline.sources.msd import MsdSource

BASE = Path(__file__).parents[2] / "conf" / "base"
DATASETS = Datasets.model_validate(
    yaml.safe_load((BASE / "parameters_datasets.yml").read_text())["datasets"]
).root
TABLE = LabelTable.model_validate(
    yaml.safe_load((BASE / "parameters_labels.yml").read_text())["labels"]
)


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_dataset_gets_its_own_values_and_gives_the_targets_back(dataset, tmp_path) -> None:
    source = DATASETS[dataset]
    file = tmp_path / "image.nii.gz"
    affine = np.array([[0, 0, 2.0, 5], [0, -1.5, 0, 3], [1.0, 0, 0, 1], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(np.arange(4 * 6 * 11, dtype=np.int16).reshape(4, 6, 11), affine), file)
    image = read_image([file])
    targets = source.annotated_targets("CT", TABLE)
    rng = np.random.default_rng(0)
    everything = np.array([0, *TABLE.targets.values(), 255], np.uint8)
    labels = rng.choice(everything, image.geometry.shape)
    path = prediction_path(tmp_path / "out", "c1", source)
    like = (image.file_geometry, image.reorientation)
    write_targets(path, labels, targets, source, TABLE, like)

    case = SourceCase(dataset, "c1", "p", "CT", (file,), ())
    ids = [TABLE.id_of(name) for name in targets]
    expected = np.where(np.isin(labels, ids), labels, 0)
    np.testing.assert_array_equal(read_prediction(path, case, source, TABLE, image), expected)

    # and, read by nobody of ours, the numbers and names of the configuration
    for value, target in source.labels.items():
        if source.class_files:
            raw = nib.load(path / f"{value}.nii.gz")
            found = np.asarray(raw.dataobj) == 1
        else:
            raw = nib.load(path)
            found = np.asarray(raw.dataobj) == value
        in_file = image.reorientation.invert(labels == TABLE.id_of(target)).T
        np.testing.assert_array_equal(found, in_file)
        np.testing.assert_allclose(raw.affine, affine, atol=1e-6)


def test_of_several_values_the_lowest_is_written_and_large_ones_fit(tmp_path) -> None:
    source = MsdSource(
        folder=".", labels={600: "spleen", 500: "spleen", 2: "liver", 1: None}
    ).named("d")
    assert source.source_values(TABLE) == {1: 500, 5: 2}
    file = tmp_path / "image.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((3, 4, 5), np.int16), np.eye(4)), file)
    image = read_image([file])
    labels = np.zeros((5, 4, 3), np.uint8)
    labels[0], labels[1], labels[2] = 1, 5, 7
    path = prediction_path(tmp_path, "one", source)
    like = (image.file_geometry, image.reorientation)
    write_targets(path, labels, ("spleen", "liver"), source, TABLE, like)
    assert np.unique(np.asarray(nib.load(path).dataobj)).tolist() == [0, 2, 500]
    write_targets(path, labels, ("liver",), source, TABLE, like)
    assert np.unique(np.asarray(nib.load(path).dataobj)).tolist() == [0, 2]


@pytest.mark.parametrize("labels", [{-1: "spleen"}, {-1: "spleen", 200: "liver"}])
def test_values_below_zero_are_written_too(tmp_path, labels) -> None:
    source = MsdSource(folder=".", labels=labels).named("d")
    file = tmp_path / "image.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((3, 4, 5), np.int16), np.eye(4)), file)
    image = read_image([file])
    targets = np.zeros((5, 4, 3), np.uint8)
    targets[0] = 1
    targets[1] = 5 if 200 in labels else 0
    path = prediction_path(tmp_path, "one", source)
    names = tuple(labels.values())
    write_targets(path, targets, names, source, TABLE, (image.file_geometry, image.reorientation))
    assert np.unique(np.asarray(nib.load(path).dataobj)).tolist() == sorted({0, *labels})
    case = SourceCase("d", "one", "p", "CT", (file,), ())
    np.testing.assert_array_equal(read_prediction(path, case, source, TABLE, image), targets)
