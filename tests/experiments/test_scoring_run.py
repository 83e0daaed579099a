"""What a tracker gets of the scores."""

import numpy as np
import pandas as pd
import pytest

from tsfm_pipeline.evaluation.metrics import SCORES_SCHEMA
from tsfm_pipeline.evaluation.summary import summarise
from tsfm_pipeline.experiments.scoring_run import mean_dice, tracked_means

SHARED = {
    "experiment": "pretrain.tsfm",
    "protocol": "automatic",
    "both_empty": False,
    "false_positive_on_empty": False,
    "reference_voxels": 10,
    "prediction_voxels": 10,
}


def _row(weights: str, dataset: str, target: str, case: str, **figures: float) -> dict[str, object]:
    names = {"weights": weights, "dataset": dataset, "target": target, "case": case}
    return SHARED | names | {"patient": case} | figures


@pytest.fixture
def summary() -> pd.DataFrame:
    rows = [
        _row("best", "kits21", "kidney", "a", dice=0.9, nsd=0.8, hd95=3.0),
        _row("best", "kits21", "kidney", "b", dice=0.7, nsd=0.6, hd95=np.nan),
        _row("best", "lung", "lung_tumor", "c", dice=0.2, nsd=0.1, hd95=9.0)
        | {"reference_lesions": 4, "detected_lesions": 1, "false_positive_lesions": 2},
        _row("final", "kits21", "kidney", "a", dice=0.5, nsd=0.5, hd95=5.0),
        _row("final", "lung", "lung_tumor", "c", dice=np.nan, nsd=np.nan, hd95=np.nan),
    ]
    return summarise(pd.DataFrame(rows, columns=SCORES_SCHEMA.names))


def test_a_tracker_gets_every_measure_that_has_a_figure(summary: pd.DataFrame) -> None:
    assert tracked_means(summary) == pytest.approx(
        {
            "dice_best/kits21/kidney": 0.8,
            "nsd_best/kits21/kidney": 0.7,
            "hd95_best/kits21/kidney": 3.0,
            "dice_best/lung/lung_tumor": 0.2,
            "nsd_best/lung/lung_tumor": 0.1,
            "hd95_best/lung/lung_tumor": 9.0,
            "lesion_sensitivity_best/lung/lung_tumor": 0.25,
            "false_positive_lesions_best/lung/lung_tumor": 2.0,
            "dice_final/kits21/kidney": 0.5,
            "nsd_final/kits21/kidney": 0.5,
            "hd95_final/kits21/kidney": 5.0,
        }
    )


def test_the_mean_dice_keeps_best_and_final_apart(summary: pd.DataFrame) -> None:
    assert mean_dice(summary) == pytest.approx({"dice_best": (0.8 + 0.2) / 2, "dice_final": 0.5})
