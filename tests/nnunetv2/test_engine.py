"""nnU-Net v2's raw format written from our cases, and the engine around its process.

The process itself is the real one in `test_real.py`; here a script stands for its Python.
"""

import dataclasses
import json
import sys
import textwrap
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.model.training_spec import TrainingSpec
from tsfm_pipeline.nnunetv2 import NnunetError, NnunetTask, run_nnunetv2
from tsfm_pipeline.nnunetv2.dataset import export_dataset, import_labels
from tsfm_pipeline.sources.msd import MsdSource
from tsfm_pipeline.sources.totalsegmentator import TotalSegmentatorSource

TABLE = LabelTable(targets={"spleen": 9, "kidney": 22, "kidney_tumor": 30})
ODD = (-1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0)
"""Direction of files whose axes are neither in our order nor along our signs."""


def write(path: Path, array: np.ndarray) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.7, 1.5, 3.0))
    image.SetOrigin((12.0, -30.0, 4.5))
    image.SetDirection(ODD)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


@pytest.fixture
def task(tmp_path: Path) -> NnunetTask:
    """Two cases of a dataset whose values are kidney 4, tumour 2, and 1, which is dropped."""
    rng = np.random.default_rng(0)
    raw = tmp_path / "raw"
    for case in ("a", "b", "c"):
        write(raw / f"Task/imagesTr/{case}.nii.gz", rng.normal(size=(5, 6, 7)).astype(np.float32))
        labels = rng.choice(np.array([0, 1, 2, 4], np.uint8), size=(5, 6, 7))
        write(raw / f"Task/labelsTr/{case}.nii.gz", labels)
    listed = [{"image": f"./imagesTr/{c}.nii.gz", "label": f"./labelsTr/{c}.nii.gz"} for c in "abc"]
    header = {
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "x", "2": "t", "4": "k"},
        "numTraining": 3,
        "training": listed,
    }
    (raw / "Task/dataset.json").write_text(json.dumps(header))
    labels = {1: None, 2: "kidney_tumor", 4: "kidney"}
    source = MsdSource(folder="Task", labels=labels).named("kits")
    spec = TrainingSpec(
        name="baseline.nnunet.kits",
        settings=TrainingSettings(epochs=3, iterations_per_epoch=2, workers=2),
        training=("kits/a",),
        validation=("kits/b",),
        table=TABLE,
        regions=("kidney", "kidney_tumor"),
    )
    cases = {case.key: case for case in source.find_cases(raw)}
    folder = tmp_path / "model"
    folder.mkdir()
    return NnunetTask(spec, cases, source, folder, python_that(tmp_path, ""))


def python_that(folder: Path, body: str) -> Path:
    """Return a program that takes the place of the other environment's Python."""
    (folder / "fake.py").write_text(
        textwrap.dedent("""
            import json, os, sys
            from pathlib import Path
            if sys.argv[1] == "-c":
                sys.exit(0)
            task = json.loads(Path(sys.argv[2]).read_text())
        """)
        + textwrap.dedent(body)
    )
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -I {folder / "fake.py"} "$@"\n')
    path.chmod(0o755)
    return path


PREDICTS = """
assert os.environ["nnUNet_raw"].endswith("model/raw")
for epoch in range(int(os.environ.get("FROM", 0)), task["epochs"]):
    print("nnU-Net says something of epoch", epoch)
    said = {"epoch": epoch, "train/loss": 1.5 - epoch, "val/dice": 0.5, "val/dice_ema": 0.4,
            "seconds_per_iteration": 0.1}
    print(task["mark"] + json.dumps(said))
for pairs in task["predictions"].values():
    for images, target in pairs:
        assert all(Path(image).exists() for image in images)
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).write_text("labels")
"""


def test_test_cases_are_predicted_and_unknown_to_the_training(task, tmp_path: Path) -> None:
    task = dataclasses.replace(task, spec=task.spec.model_copy(update={"test": ("kits/c",)}))
    python_that(tmp_path, PREDICTS)
    run_nnunetv2(task, lambda epoch, metrics: None)
    (split,) = json.loads((task.folder / "splits_final.json").read_text())
    assert split == {"train": ["a"], "val": ["b"]}
    described = json.loads((task.raw / "dataset.json").read_text())
    assert described["numTraining"] == 2
    files = {path.relative_to(task.raw).as_posix() for path in task.raw.glob("*/*.nii.gz")}
    assert files == {
        *("imagesTr/a_0000.nii.gz", "imagesTr/b_0000.nii.gz", "imagesTs/c_0000.nii.gz"),
        *("labelsTr/a.nii.gz", "labelsTr/b.nii.gz"),
    }
    predicted = {path.name for path in (task.folder / "predictions").glob("*/*")}
    assert predicted == {"c.nii.gz"}


def test_without_a_validation_case_nothing_starts(task) -> None:
    spec = task.spec.model_copy(update={"validation": (), "test": ("kits/b",)})
    with pytest.raises(NnunetError, match=r"needs a validation case.*splits\.inner_folds"):
        run_nnunetv2(dataclasses.replace(task, spec=spec), lambda epoch, metrics: None)
    assert not (task.folder / "raw").exists()


def test_labels_go_out_and_come_back_as_the_dataset_has_them(task, tmp_path: Path) -> None:
    export_dataset(task)
    described = json.loads((task.raw / "dataset.json").read_text())
    assert described["labels"] == {"background": 0, "kidney": 1, "kidney_tumor": 2}
    assert (described["channel_names"], described["numTraining"]) == ({"0": "CT"}, 2)
    link = task.raw / "imagesTr/a_0000.nii.gz"
    assert link.is_symlink()
    assert link.resolve() == (tmp_path / "raw/Task/imagesTr/a.nii.gz").resolve()
    (split,) = json.loads((task.folder / "splits_final.json").read_text())
    assert split == {"train": ["a"], "val": ["b"]}

    theirs = sitk.ReadImage(str(task.raw / "labelsTr/b.nii.gz"))
    given = sitk.ReadImage(str(tmp_path / "raw/Task/labelsTr/b.nii.gz"))
    original = sitk.GetArrayFromImage(given)
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(theirs), np.select([original == 4, original == 2], [1, 2])
    )
    assert theirs.GetDirection() == pytest.approx(given.GetDirection())
    assert theirs.GetOrigin() == pytest.approx(given.GetOrigin())

    path = tmp_path / "back/b.nii.gz"
    import_labels(task.raw / "labelsTr/b.nii.gz", path, task.targets, task.source, TABLE)
    back = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(back), np.where(original == 1, 0, original)
    )
    assert back.GetSpacing() == pytest.approx(given.GetSpacing())


def test_a_dataset_of_class_files_gets_a_mask_each(tmp_path: Path) -> None:
    array = np.zeros((4, 5, 6), np.uint8)
    array[1], array[2] = 1, 2
    write(tmp_path / "labels.nii.gz", array)
    labels = {"spleen": "spleen", "kidney_left": "kidney"}
    source = TotalSegmentatorSource(folder="x", labels=labels).named("ts")
    path = tmp_path / "s1/segmentations"
    path.parent.mkdir()
    import_labels(tmp_path / "labels.nii.gz", path, ["kidney", "spleen"], source, TABLE)
    masks = {
        file.name: sitk.GetArrayFromImage(sitk.ReadImage(str(file))) for file in path.iterdir()
    }
    assert masks.keys() == {"kidney_left.nii.gz", "spleen.nii.gz"}
    np.testing.assert_array_equal(masks["kidney_left.nii.gz"], array == 1)
    np.testing.assert_array_equal(masks["spleen.nii.gz"], array == 2)


def test_epochs_are_reported_and_the_rest_is_logged(task, tmp_path: Path) -> None:
    python_that(tmp_path, PREDICTS)
    reported = []
    run_nnunetv2(task, lambda epoch, metrics: reported.append((epoch, metrics["train/loss"])))
    assert reported == [(0, 1.5), (1, 0.5), (2, -0.5)]
    log = (task.folder / "log.txt").read_text()
    assert "nnU-Net says something of epoch 2" in log
    assert "@tsfm" not in log
    python_that(tmp_path, "sys.exit(7)")
    run_nnunetv2(task, lambda epoch, metrics: pytest.fail("it was finished"))


def test_a_folder_of_other_labels_is_refused(task, tmp_path: Path) -> None:
    python_that(tmp_path, PREDICTS)
    run_nnunetv2(task, lambda epoch, metrics: None)
    other = {"labels": {1: None, 2: "kidney", 4: "kidney_tumor"}}
    exchanged = task.source.model_copy(update=other)
    with pytest.raises(NnunetError, match=r"datasets\.kits\.labels .* train again"):
        run_nnunetv2(dataclasses.replace(task, source=exchanged), lambda epoch, metrics: None)
    run_nnunetv2(task, lambda epoch, metrics: pytest.fail("it was finished"))


LOADS_AND_WAITS = """
import subprocess, time
loader = subprocess.Popen(["sleep", "600"])
said = {"epoch": 0, "train/loss": loader.pid, "val/dice": 0.5}
print(task["mark"] + json.dumps(said), flush=True)
time.sleep(600)
"""


def test_an_interruption_ends_the_loader_processes_too(task, tmp_path: Path) -> None:
    python_that(tmp_path, LOADS_AND_WAITS)
    loaders: list[int] = []

    def interrupt(epoch: int, metrics: Mapping[str, float]) -> None:
        loaders.append(int(metrics["train/loss"]))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_nnunetv2(task, interrupt)
    until = time.monotonic() + 30
    while _runs(*loaders) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _runs(*loaders)


def _runs(number: int) -> bool:
    """Tell whether a process is there; one that has ended may wait to be asked for its status."""
    try:
        stat = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_a_failure_shows_the_end_of_the_log(task, tmp_path: Path) -> None:
    python_that(tmp_path, "print('RuntimeError: no such plans'); sys.exit(3)")
    with pytest.raises(NnunetError, match=r"(?s)status 3.*log\.txt.*no such plans"):
        run_nnunetv2(task, lambda epoch, metrics: None)


def test_predictions_that_are_missing_are_a_failure(task, tmp_path: Path) -> None:
    python_that(tmp_path, "")
    with pytest.raises(NnunetError, match="status 0"):
        run_nnunetv2(task, lambda epoch, metrics: None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is not there"),
        ('#!/bin/sh\necho "ImportError: torchvision::nms" >&2\nexit 1\n', "torchvision::nms"),
    ],
)
def test_an_environment_that_does_not_work_says_how_to_make_one(
    task, text: str | None, message: str
) -> None:
    task.python.unlink()
    if text is not None:
        task.python.write_text(text)
        task.python.chmod(0o755)
    with pytest.raises(NnunetError, match=f"{message}.*make nnunet"):
        run_nnunetv2(task, lambda epoch, metrics: None)
    assert not (task.folder / "raw").exists()


def test_the_environment_is_made_with_a_torch_that_ours_allows(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    (torch,) = (one for one in project["dependencies"] if one.startswith("torch>"))
    assert f'"nnunetv2>=2.8,<3" "{torch}"' in (repository / "Makefile").read_text()
