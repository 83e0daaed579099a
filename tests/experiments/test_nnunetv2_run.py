"""What the real nnU-Net leaves, brought into the form that our own trainings have.

A stand-in for its process writes what `tests/nnunetv2/test_real.py` has it write.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

from tsfm_pipeline.experiments import nnunetv2_run
from tsfm_pipeline.experiments.nnunetv2_run import import_predictions, train_nnunetv2
from tsfm_pipeline.experiments.outcome import ModelRecord
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.model.training_spec import TrainingSpec
from tsfm_pipeline.nnunetv2 import NnunetTask
from tsfm_pipeline.sources.case_index import build_case_index
from tsfm_pipeline.sources.msd import MsdSource

TABLE = LabelTable(
    targets={"kidney": 22, "kidney_tumor": 30}, regions={"kidney": ("kidney", "kidney_tumor")}
)
SPEC = TrainingSpec(
    name="baseline.nnunet.kits",
    settings=TrainingSettings(epochs=2),
    training=("kits/a",),
    validation=("kits/b",),
    table=TABLE,
    regions=("kidney", "kidney_tumor"),
)
PREDICTED = np.random.default_rng(0).integers(0, 3, (4, 5, 6)).astype(np.uint8)
"""In nnU-Net's integers: kidney 1, tumour 2."""


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two cases whose dataset writes a kidney as 7 and its tumour as 3."""
    for case in "ab":
        write(tmp_path / f"raw/Task/imagesTr/{case}.nii.gz", np.ones((4, 5, 6), np.float32))
        write(tmp_path / f"raw/Task/labelsTr/{case}.nii.gz", np.full((4, 5, 6), 7, np.uint8))
    listed = [{"image": f"./imagesTr/{c}.nii.gz", "label": f"./labelsTr/{c}.nii.gz"} for c in "ab"]
    header = {
        "modality": {"0": "CT"},
        "labels": {"0": "background", "3": "tumor", "7": "kidney"},
        "numTraining": 2,
        "training": listed,
    }
    (tmp_path / "raw/Task/dataset.json").write_text(json.dumps(header))
    return tmp_path / "raw"


def nnunet(task: NnunetTask, report) -> None:
    for epoch in (0, 1, 1):  # epoch 1 was interrupted and repeated
        report(epoch, {"train/loss": 1.0 - epoch, "val/dice": 0.5})
    for weights in ("best", "final"):
        write(task.prediction(weights, "b"), PREDICTED)


def test_epochs_and_predictions_are_kept_as_ours_are(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nnunetv2_run, "run_nnunetv2", nnunet)
    source = MsdSource(folder="Task", labels={3: "kidney_tumor", 7: "kidney"}).named("kits")
    index = build_case_index({"kits": source}, ["kits"], raw)
    reported = []
    folder = tmp_path / "models/baseline.nnunet.kits/0123"
    train_nnunetv2(
        SPEC,
        {"kits": source},
        index,
        folder,
        tmp_path,
        lambda epoch, metrics: reported.append(epoch),
    )
    assert reported == [0, 1, 1]
    epochs = ModelFolder(folder).epochs()
    assert [(line["epoch"], line["train/loss"]) for line in epochs] == [(0, 1.0), (1, 0.0)]

    record = ModelRecord(
        experiment=SPEC.name, status="finished", folder=f"{SPEC.name}/0123", digest="0123"
    )
    store = SimpleNamespace(
        record=lambda key: SimpleNamespace(annotated=("kidney", "kidney_tumor"))
    )
    rows = import_predictions(
        record, {"kits": source}, store, tmp_path / "models", tmp_path / "out"
    )
    assert [row[:6] for row in rows] == [
        (SPEC.name, weights, "kits/b", "kits", "b", "kidney,kidney_tumor")
        for weights in ("best", "final")
    ]
    for row in rows:
        theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / row[6])))
        np.testing.assert_array_equal(theirs, np.choose(PREDICTED, [0, 7, 3]))
