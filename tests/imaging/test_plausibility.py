"""One rule says what no scanner makes, for the pool and for scans of one's own."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.scans.conftest import write_model
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.preparation.screening import screen_case
from tsfm_pipeline.scans.finding import find_scans
from tsfm_pipeline.scans.loading import load_scan
from tsfm_pipeline.scans.problem import problem_of
from tsfm_pipeline.sources.msd import MsdSource

TABLE = LabelTable(targets={"spleen": 1})
SOURCE = MsdSource(layout="msd", folder="T", labels={1: "spleen"}).named("t")


def screened(folder: Path, modality: str) -> dict:
    (folder / "dataset.json").write_text(f'{{"modality": {{"0": "{modality}"}}}}')
    (case,) = SOURCE.find_cases(folder.parent)
    return screen_case(case, SOURCE, TABLE).found


def write(path: Path, values: np.ndarray, spacing) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


WILD = (5, 6, 7)


@pytest.mark.parametrize(
    ("modality", "shape", "spacing", "value", "said"),
    [
        ("MRI", (14, 16, 18), (1, 1, 1), 1e38, "a voxel has 1e+38, beside which"),
        ("CT", (14, 16, 18), (1, 1, 1), 2e5, "no CT in HU"),
        ("MRI", (14, 16, 18), (1, 1, 1), "constant", "every voxel is 7, the image is empty"),
        ("MRI", (1, 1, 1), (1, 1, 1), 7, "every voxel is 7, the image is empty"),
        ("MRI", (14, 16, 18), (0.005, 1, 1), 7, "0.005 mm between voxels"),
        ("MRI", (14, 16, 18), (1, 1e-30, 1), 7, "1e-30 mm between voxels"),
        ("MRI", (14, 16, 18), (1, 1, 31), 7, "31 mm between voxels"),
        ("MRI", (14, 16, 18), (1, 1, 1), 3e6, ""),
    ],
)
def test_both_ways_in_say_the_same(modality, shape, spacing, value, said, tmp_path):
    values = np.random.default_rng(0).normal(100, 20, shape).astype(np.float32)
    if value == "constant":
        values[...] = 7
    else:
        values[tuple(min(at, size - 1) for at, size in zip(WILD, shape, strict=True))] = value
    write(tmp_path / "T" / "imagesTr" / "a.nii.gz", values, spacing)
    label = np.zeros(shape, np.uint8)
    label[0] = 1
    write(tmp_path / "T" / "labelsTr" / "a.nii.gz", label, spacing)
    found = screened(tmp_path / "T", modality)
    card = write_model(
        tmp_path / "model",
        modalities=("CT", "MR"),
        target_spacing=None if "e-30" in said or "0.005" in said else (1.0, 1.0, 1.0),
    )
    (scan,), _ = find_scans(tmp_path / "T" / "imagesTr")
    short = "CT" if modality == "CT" else "MR"
    if not said:
        assert found["verdict"] == "ok"
        assert load_scan(scan, card, short).modality == short
        return
    assert found["verdict"] == "quarantined"
    assert said in found["cause"]
    with pytest.raises(ValueError) as raised:
        load_scan(scan, card, short)
    problem = problem_of(raised.value, "a", scan.path)
    assert f"{scan.path}: {problem.reason}; {problem.remedy}" == found["cause"]
