import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import SimpleITK as sitk

from tests.scans.conftest import body
from tsfm_pipeline.scans.problem import ScanError


def test_kedro_segments_scans_without_a_pool(make_project, run_kedro, model, tmp_path):
    project = make_project()
    sitk.WriteImage(body(), str(tmp_path / "one.nii.gz"))
    given = {"input": str(tmp_path), "output": str(tmp_path / "out"), "model": str(model)}
    run_kedro(project, "predict", {"predict": given})
    assert (tmp_path / "out" / "one.nii.gz").exists()
    table = pd.read_csv(project / "data/08_reporting/test/predicted_volumes.csv")
    assert set(table["scan"]) == {"one"}
    (tmp_path / "broken.nii.gz").write_bytes(b"\x1f\x8bnothing")
    with pytest.raises(SystemExit, match="1"):
        run_kedro(project, "predict", {"predict": given})
    problems = pd.read_csv(project / "data/08_reporting/test/prediction_problems.csv")
    assert set(problems["scan"]) == {"broken"}
    with pytest.raises(ScanError, match=r"predict\.input, predict\.model not set"):
        run_kedro(project, "predict")


def test_release_command_takes_an_experiment_and_the_projects_licences(repository, model, tmp_path):
    experiment = tmp_path / "pretrain.tsfm"
    shutil.copytree(model, experiment / "aa11")
    done = subprocess.run(
        [sys.executable, "-m", "tsfm_pipeline", "release", "-m", experiment, "-o", tmp_path / "w"],
        cwd=repository,
        env=os.environ | {"TSFM_MODELS": str(tmp_path / "models")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "tsfm-predict -m w" in done.stderr
    assert (tmp_path / "models/w").resolve() == (tmp_path / "w").resolve()
    assert "| msd_liver | 2 |" in (tmp_path / "w" / "README.md").read_text()
