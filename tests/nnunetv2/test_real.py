"""The real nnunetv2, where its environment is (`make nnunet`, or TSFM_NNUNET_PYTHON)."""

import os
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


def test_it_trains_predicts_and_is_scored_in_our_table(make_project) -> None:
    project = make_project()
    kedro(project, "run", "--env", "test", "--pipelines", "data_pool")
    kedro(
        project,
        "run",
        "--env",
        "test",
        "--pipelines",
        "baseline",
        "--params",
        f"experiments.nnunet.engine=nnunetv2,experiments.nnunet.python={PYTHON}",
        "--namespaces",
        "baseline.nnunet.msd_liver",
    )
    folder = project / "data/07_model_output/test"
    scores = pd.read_parquet(folder / "baseline_nnunet_msd_liver_scores.parquet")
    assert set(scores["weights"]) == {"best", "final"}
    assert set(scores["target"]) == {"liver", "liver_tumor"}
    (prediction,) = folder.glob("baseline.nnunet.msd_liver/*/final/msd_liver/*.nii.gz")
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(prediction)))
    assert set(np.unique(labels)) <= {0, 1, 2}
