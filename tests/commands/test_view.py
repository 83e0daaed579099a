"""`tsfm-pipeline view`: cases and predictions are found where the catalogue has them."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from tests.store.test_cases import FOREGROUND, INTENSITIES, SHAPE, make_record
from tsfm_pipeline.commands import view
from tsfm_pipeline.experiments.prediction_run import PREDICTIONS_SCHEMA
from tsfm_pipeline.sources.case_index import CASE_INDEX_SCHEMA
from tsfm_pipeline.store import CaseStore

CONF = ["--conf-source", str(Path(__file__).parents[2] / "conf")]
CASE = "msd_liver/liver_0"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with a prepared case, and a prediction of it."""
    monkeypatch.chdir(tmp_path)
    labels = np.zeros(SHAPE, np.uint8)
    labels[5:9, 5:9, 5:9] = 5
    store = CaseStore(tmp_path / "data/03_primary/phantom/cases")
    record = make_record(dataset="msd_liver", case="liver_0")
    store.write(record, np.zeros((1, *SHAPE), np.float32), labels, FOREGROUND, INTENSITIES)
    predictions = tmp_path / "data/07_model_output/phantom"
    index = tmp_path / "data/02_intermediate/phantom"
    for folder in (predictions, index):
        folder.mkdir(parents=True)
    for name, shift in (("image", 0), ("label", 0), ("prediction", 2)):
        array = np.zeros((20, 20, 20), np.uint8)
        array[4 + shift : 8 + shift, 4:8, 4:8] = 1
        nib.save(nib.Nifti1Image(array, np.eye(4)), predictions / f"{name}.nii.gz")
    row = dict.fromkeys(CASE_INDEX_SCHEMA.names, "")
    row |= {"dataset": "msd_liver", "case": "liver_0", "patient": "liver_0", "modality": "CT"}
    row |= {"images": [str(predictions / "image.nii.gz")], "label_classes": [""]}
    row |= {"label_files": [str(predictions / "label.nii.gz")]}
    pd.DataFrame([row]).to_parquet(index / "case_index.parquet")
    found = ("pretrain.tsfm", "best", CASE, *CASE.split("/"), "liver", "prediction.nii.gz")
    table = pd.DataFrame([found], columns=PREDICTIONS_SCHEMA.names)
    table.to_parquet(predictions / "pretrain_tsfm_predictions.parquet")
    return tmp_path


def test_a_prepared_case_gets_a_page(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert view.main([CASE, *CONF]) == 0
    page = Path(capsys.readouterr().out.splitlines()[-1])  # Kedro logs before it
    assert page.is_relative_to(project / "data" / "08_reporting" / "phantom")
    assert 'data-target="liver"' in page.read_text()
    assert (page.parent / "viewer" / "niivue.umd.js").is_file()


def test_a_prediction_gets_a_page_with_its_dice(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert view.main([CASE, "--experiment", "pretrain.tsfm", *CONF]) == 0
    page = Path(capsys.readouterr().out.splitlines()[-1])  # Kedro logs before it
    assert 'data-dice="0.5"' in page.read_text()  # half of each box lies in the other


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["msd_liver/liver_1"], "did you mean 'msd_liver/liver_0'?"),
        ([CASE, "--experiment", "pretrain.tsf"], "did you mean 'pretrain.tsfm'?"),
        (
            ["msd_liver/liver_1", "--experiment", "pretrain.tsfm"],
            "did you mean 'msd_liver/liver_0'?",
        ),
        ([CASE, "--experiment", "pretrain.nnunet"], "no prediction of msd_liver/liver_0"),
        ([CASE, "--experiment", "pretrain.tsfm", "--weights", "final"], "with final weights"),
    ],
)
def test_what_is_not_there_is_told(
    project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert view.main([*arguments, *CONF]) == 2
    assert message in capsys.readouterr().err
