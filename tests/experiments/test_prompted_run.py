"""The prompted protocol over cases of raw files: rows that say so, and what fails."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import SimpleITK as sitk
import torch

from tsfm_pipeline.evaluation.metrics import PROMPTED, SCORES_SCHEMA
from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.experiments import prompted_run
from tsfm_pipeline.experiments.prompted_run import run_prompted
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.sources.source import LabelFile, Source, SourceCase

CPU = torch.device("cpu")
TABLE = LabelTable(
    targets={"liver": 5, "liver_tumor": 25, "spleen": 1},
    regions={"liver": ("liver", "liver_tumor")},
)
SETTINGS = EvaluationSettings(tumor_targets=("*_tumor",))


class AnySource(Source):
    """A dataset whose cases the test gives."""

    def list_cases(self, root: Path) -> list[SourceCase]:
        raise NotImplementedError


SOURCES = {"set": AnySource(folder=".", labels={1: "liver", 2: "liver_tumor"}).named("set")}


def _case(folder: Path, name: str, inside: float = 200.0) -> SourceCase:
    """Write a liver of 100 intensities more than its surroundings, with a tumour in it."""
    labels = np.zeros((24, 30, 36), np.uint8)
    labels[6:18, 8:22, 10:30] = 1
    labels[10:14, 12:16, 14:20] = 2
    image = np.where(labels > 0, inside, inside - 100).astype(np.float32)
    paths = []
    for kind, array in {"image": image, "label": labels}.items():
        volume = sitk.GetImageFromArray(array)
        volume.SetSpacing((1.5, 1.5, 1.5))
        paths.append(folder / f"{name}_{kind}.nii.gz")
        sitk.WriteImage(volume, str(paths[-1]))
    return SourceCase("set", name, f"patient_{name}", "CT", (paths[0],), (LabelFile(paths[1]),))


def _by_intensity(image, clicks, previous):
    """Outline what is bright."""
    assert len(clicks) == 1
    return image - (image.max() + image[image > image.min()].min()) / 2


@pytest.fixture
def segmenter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompted_run, "sam_med3d_segmenter", lambda path, device: _by_intensity)


@pytest.mark.usefixtures("segmenter")
def test_a_row_per_case_and_region_says_that_it_was_prompted(tmp_path: Path) -> None:
    cases = [_case(tmp_path, name) for name in ("a", "b")]
    rows, outcome = run_prompted("sam", tmp_path, cases, SOURCES, TABLE, SETTINGS, CPU)
    assert (outcome.experiment, outcome.stage, outcome.status) == ("sam", "scoring", "finished")
    pa.Table.from_pandas(rows, schema=SCORES_SCHEMA, preserve_index=False)
    assert list(zip(rows["case"], rows["target"], strict=True)) == [
        ("a", "liver"), ("a", "liver_tumor"), ("b", "liver"), ("b", "liver_tumor")
    ]  # fmt: skip
    assert set(rows["protocol"]) == {PROMPTED}
    assert set(rows["weights"]) == {"only"}
    assert list(rows["patient"])[:3] == ["patient_a", "patient_a", "patient_b"]
    liver, tumour = (rows[rows["target"] == name] for name in ("liver", "liver_tumor"))
    assert (liver["dice"] == 1).all()  # the tumour belongs to it
    inside, outside = 4 * 4 * 6, 12 * 14 * 20  # the whole liver is outlined instead
    assert tumour["dice"].to_numpy() == pytest.approx(2 * inside / (inside + outside))
    assert (rows["reference_outside_crop"] == 0).all()


@pytest.mark.usefixtures("segmenter")
def test_a_case_that_fails_is_named_and_leaves_no_rows(tmp_path: Path) -> None:
    cases = [_case(tmp_path, "a"), _case(tmp_path, "dark", inside=-50.0)]
    rows, outcome = run_prompted("sam", tmp_path, cases, SOURCES, TABLE, SETTINGS, CPU)
    assert rows.empty
    assert outcome.status == "failed"
    assert outcome.reason.startswith("set/dark: PromptError: the crop around the target has 0")


def test_a_checkpoint_that_is_not_there_is_named(tmp_path: Path) -> None:
    absent = tmp_path / "sam_med3d_turbo.pth"
    rows, outcome = run_prompted("sam", absent, [], SOURCES, TABLE, SETTINGS, CPU)
    assert rows.empty
    assert outcome.reason == f"{absent} is not there"
