"""The real nnunetv2, where its environment is (`make nnunet`, or TSFM_NNUNET_PYTHON)."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from tests.pipelines.conftest import kedro

PYTHON = Path(os.environ.get("TSFM_NNUNET_PYTHON", ".venv-nnunet/bin/python")).absolute()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.is_file(), reason=f"no environment of nnunetv2: {PYTHON}"),
    pytest.mark.timeout(3600),
]

EPOCHS = 6
DATASETS = ("msd_liver", "msd_pancreas")
GRID = "experiments:\n" + "".join(
    f"  - {{name: own.{name}_{dataset}, role: baseline, method: {method}, datasets: [{dataset}]}}\n"
    for dataset in DATASETS
    for name, method in (("real", "nnunet"), ("native", "unet"))
)
"""The engine is chosen for methods named nnunet; `unet` has the same network and stays native."""

PARAMS = ",".join(
    (
        f"pool.datasets=[{','.join(DATASETS)}]",
        "pool.downstream=[]",
        "experiments.left_out=[pretrain.*]",
        f"experiments.baseline.training.epochs={EPOCHS}",
        "experiments.nnunet.engine=nnunetv2",
        f"experiments.nnunet.python={PYTHON}",
        "experiments.methods.unet.training.network=nnunet",
        "experiments.methods.unet.training.size=tiny",
        "experiments.methods.unet.training.loss=softmax",
    )
)
RUN = ("run", "--env", "test", "--params", PARAMS, "--pipelines")


@pytest.fixture(scope="module")
def project(make_project) -> Path:
    """A project with a pool of two phantom datasets, and experiments of its own for each."""
    project = make_project()
    (project / "conf/grid.yml").write_text(GRID)
    kedro(project, *RUN, "data_pool")
    return project


def epochs_of(folder: Path) -> list[int]:
    curve = next(folder.glob("*/metrics.jsonl"), None)
    return [json.loads(line)["epoch"] for line in curve.read_text().splitlines()] if curve else []


def test_an_interrupted_training_goes_on(project: Path) -> None:
    experiment = "own.real_msd_liver"
    command = (*RUN, "own", "--namespaces", experiment)
    models = project / "data/06_models/test" / experiment
    process = subprocess.Popen(
        [sys.executable, "-m", "kedro", *command],
        cwd=project,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while len(epochs_of(models)) < 2:
            assert process.poll() is None, (project / "tsfm.log").read_text()[-3000:]
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 143
    finally:
        process.kill()
    before = epochs_of(models)
    assert 1 < len(before) < EPOCHS
    kedro(project, *command)
    # the epoch that the signal cut off is done again, and none before it
    assert sorted(set(epochs_of(models))) == list(range(EPOCHS))
    log = next(models.glob("*/log.txt")).read_text()
    began = [int(number) for number in re.findall(r"Epoch (\d+) *$", log, re.MULTILINE)]
    assert sorted(set(began)) == list(range(EPOCHS))
    assert len(began) <= EPOCHS + 1
    assert began.count(0) == 1


def test_real_and_native_nnunet_stand_in_one_scored_table(project: Path) -> None:
    kedro(project, *RUN, "own")
    dice = pd.read_csv(project / "data/08_reporting/test/latest/dice.csv")
    for dataset, targets in (
        ("msd_liver", {"liver", "liver_tumor"}),
        ("msd_pancreas", {"pancreas", "pancreas_tumor"}),
    ):
        for name in ("real", "native"):
            rows = dice[dice["experiment"] == f"own.{name}_{dataset}"]
            assert targets <= set(rows["target"])
            assert rows["best"].notna().all() and rows["final"].notna().all()
    folder = project / "data/07_model_output/test"
    (prediction,) = folder.glob("own.real_msd_liver/*/final/msd_liver/*.nii.gz")
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(prediction)))
    assert set(np.unique(labels)) <= {0, 1, 2}
    # the training that was interrupted was recognised: it did not go on
    assert epochs_of(project / "data/06_models/test/own.real_msd_liver")[-1] == EPOCHS - 1
