"""What a tracker gets of the scores."""

import numpy as np
import pandas as pd
import pytest

from tsfm_pipeline.evaluation.metrics import SCORES_SCHEMA
from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.evaluation.summary import summarise
from tsfm_pipeline.experiments.scoring_run import headline_dice
from tsfm_pipeline.reporting.dice_summary import dice_summary

SETTINGS = EvaluationSettings(tumor_targets=("*_tumor",))
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
def rows() -> pd.DataFrame:
    scored = [
        _row("best", "kits21", "kidney", "a", dice=0.9, nsd=0.8, hd95=3.0),
        _row("best", "kits21", "kidney", "b", dice=0.7, nsd=0.6, hd95=np.nan),
        _row("best", "lung", "lung_tumor", "c", dice=0.2, nsd=0.1, hd95=9.0)
        | {"reference_lesions": 4, "detected_lesions": 1, "false_positive_lesions": 2},
        _row("final", "kits21", "kidney", "a", dice=0.5, nsd=0.5, hd95=5.0),
        _row("final", "lung", "lung_tumor", "c", dice=np.nan, nsd=np.nan, hd95=np.nan),
    ]
    return pd.DataFrame(scored, columns=SCORES_SCHEMA.names)


def test_the_headline_is_the_same_for_every_experiment(rows: pd.DataFrame) -> None:
    dice = dice_summary(summarise(rows), SETTINGS)
    assert headline_dice(dice) == pytest.approx(
        {
            "dice/organ": (0.9 + 0.7) / 2,
            "dice/tumour": 0.2,
            "dice/mean": (0.8 + 0.2) / 2,  # over targets, not cases
            "dice_final/organ": 0.5,
            "dice_final/mean": 0.5,
        }
    )


def test_a_method_with_one_set_of_weights_has_the_same_names(rows: pd.DataFrame) -> None:
    dice = dice_summary(summarise(rows[rows["weights"] == "final"]), SETTINGS)
    assert headline_dice(dice) == pytest.approx({"dice/organ": 0.5, "dice/mean": 0.5})


def test_what_saw_the_ground_truth_does_not_count(rows: pd.DataFrame) -> None:
    prompted = rows[rows["weights"] == "best"].assign(protocol="box", dice=1.0)
    dice = dice_summary(summarise(pd.concat([rows, prompted])), SETTINGS)
    assert headline_dice(dice)["dice/mean"] == pytest.approx((0.8 + 0.2) / 2)
