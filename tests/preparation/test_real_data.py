"""Real downloads from their folders to the store, against what nibabel reads from the files."""

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml

from tsfm_pipeline.imaging.geometry import TripleFloat
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.preparation.prepare import prepare_case
from tsfm_pipeline.preparation.settings import PreparationSettings
from tsfm_pipeline.sources import Datasets, SourceCase
from tsfm_pipeline.sources.case_index import build_case_index, case_from_row
from tsfm_pipeline.store.case_store import CaseStore

CONF = Path(__file__).parents[2] / "conf"
BASE = yaml.safe_load((CONF / "base/parameters_datasets.yml").read_text())["datasets"]
HIPPOCAMPUS = yaml.safe_load((CONF / "hippocampus/parameters_datasets.yml").read_text())
LABELS = yaml.safe_load((CONF / "base/parameters_labels.yml").read_text())["labels"]
OWN = {"hippocampus_anterior": 41, "hippocampus_posterior": 42, "sarcoma": 43}
TABLE = LabelTable.model_validate(LABELS | {"targets": LABELS["targets"] | OWN})
DATASETS = Datasets.model_validate(
    {
        "hippocampus": HIPPOCAMPUS["datasets"]["hippocampus"] | {"expected_cases": 200},
        "sts": {
            "layout": "folders",
            "folder": "STS_CT",
            "modality": "CT",
            "images": ["{case}/CT_image.nii.gz"],
            "label": "{case}/CT_mask.nii.gz",
            "labels": {1: "sarcoma"},
            "expected_cases": 5,
        },
        # a 3 mm CT of 30 slices with the files of all classes of v2, which v1 names alike
        "totalsegmentator": BASE["totalsegmentator"] | {"folder": "totalsegmentator_example"},
        "totalsegmentator_v2": BASE["totalsegmentator_v2"] | {"folder": "totalsegmentator_example"},
        "kits19": BASE["kits19"],
    }
).root


def check(case: SourceCase, store: CaseStore, spacing: TripleFloat) -> dict[int, int]:
    """Prepare a case; compare volume and centre of each large target with its raw file."""
    source = DATASETS[case.dataset]
    settings = PreparationSettings(target_spacing=spacing)
    record = prepare_case(case, source, TABLE, settings, store)
    stored = store.read_labels(case.key)
    mapping = source.value_mapping(TABLE)
    for file in case.labels:
        image = nibabel.load(file.path)
        values = np.asarray(image.dataobj)
        for value in np.unique(values[values > 0]):
            target = mapping[file.class_name or int(value)]
            voxels = np.argwhere(values == value)
            volume = len(voxels) * abs(np.linalg.det(image.affine[:3, :3]))
            if volume < 60 * np.prod(spacing):
                continue
            ras = nibabel.affines.apply_affine(image.affine, voxels.mean(axis=0))
            found = record.geometry.index_to_world(np.argwhere(stored == target))
            assert record.target_voxels[target] * np.prod(record.geometry.spacing) == (
                pytest.approx(volume, rel=0.15)
            ), (case.key, target)
            np.testing.assert_allclose(
                found.mean(axis=0), ras * [-1, -1, 1], atol=0.4 * max(spacing)
            )
    return record.target_voxels


def cases_of(dataset: str, root: Path) -> list[SourceCase]:
    index = build_case_index(DATASETS, [dataset], root)
    assert not index["problem"].any()
    return [case_from_row(row) for _, row in index.iterrows()]


def test_hippocampus(realdata: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cases = cases_of("hippocampus", realdata)
    assert not caplog.records  # all 200 are there, and dataset.json's labels are mapped
    store = CaseStore(tmp_path)
    for case in cases[::20]:
        assert set(check(case, store, (2.0, 2.0, 2.0))) == {41, 42}


def test_sarcomas_by_a_naming_pattern(realdata: Path, tmp_path: Path) -> None:
    cases = cases_of("sts", realdata)
    assert [case.case for case in cases] == [f"STS_{n:03d}" for n in (1, 3, 5, 10, 14)]
    for case in cases:
        assert set(check(case, CaseStore(tmp_path), (6.0, 4.0, 4.0))) == {43}


@pytest.mark.parametrize(("release", "classes"), [("", 17), ("_v2", 24)])
def test_totalsegmentator(realdata: Path, tmp_path: Path, release: str, classes: int) -> None:
    (case,) = cases_of(f"totalsegmentator{release}", realdata)
    assert len(case.labels) == classes
    found = check(case, CaseStore(tmp_path), (3.0, 3.0, 3.0))
    assert found


@pytest.mark.parametrize(
    "number",
    [15, pytest.param(23, id="23"), pytest.param(160, id="160, 512 x 796")],
)
def test_kits19(realdata: Path, tmp_path: Path, number: int) -> None:
    """Labels as released (15 and 23 with a qform only); the image is made on their grid."""
    folder = tmp_path / "raw" / "kits19" / "data" / f"case_{number:05d}"
    folder.mkdir(parents=True)
    raw = realdata / "kits19_labels" / folder.name / "segmentation.nii.gz"
    label = nibabel.load(shutil.copy(raw, folder))
    values = np.asarray(label.dataobj)
    image = (values * 60 + 20).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(image, label.affine), folder / "imaging.nii")
    (case,) = cases_of("kits19", tmp_path / "raw")
    assert case.patient == f"kits_{number:05d}"
    store = CaseStore(tmp_path / "store")
    assert set(check(case, store, (6.0, 4.0, 4.0))) == {22, 23}
    image, labels = store.read_image(case.key)[0], store.read_labels(case.key)
    for target, hounsfield in ((22, 80), (23, 140)):
        assert np.median(image[labels == target]) == pytest.approx(hounsfield, abs=2)
