import math

import numpy as np
import pandas as pd
import pytest

from tsfm_pipeline.evaluation.metrics import SUMMARY_COLUMNS, dice, score_case, summarise
from tsfm_pipeline.imaging.labels import OUTSIDE, LabelTable

TABLE = LabelTable(
    targets={"liver": 5, "liver_tumor": 25, "spleen": 1},
    regions={"liver": ("liver", "liver_tumor")},
)


def test_dice_of_hand_made_masks():
    a = np.zeros((4, 4, 4), bool)
    b = a.copy()
    a[0, 0, :3] = True
    b[0, 0, 1:] = True
    assert dice(a, b) == pytest.approx(2 * 2 / 6)
    assert dice(a, a) == 1.0


def test_dice_follows_nnunets_convention_for_empty_masks():
    empty, full = np.zeros((2, 2, 2), bool), np.ones((2, 2, 2), bool)
    assert math.isnan(dice(empty, empty))
    assert dice(empty, full) == 0.0
    assert dice(full, empty) == 0.0


def test_regions_are_scored_as_dice_of_their_masks():
    rng = np.random.default_rng(0)
    reference = rng.choice([0, 1, 5, 25, OUTSIDE], (6, 7, 8)).astype(np.uint8)
    prediction = rng.choice([0, 1, 5, 25], (6, 7, 8)).astype(np.uint8)
    rows = score_case(reference, prediction, ["liver", "liver_tumor", "spleen"], TABLE)
    for row, ids in zip(rows, [(5, 25), (25,), (1,)], strict=True):
        a, b = np.isin(reference, ids), np.isin(prediction, ids)
        assert row["dice"] == pytest.approx(dice(a, b))
        assert (row["reference_voxels"], row["prediction_voxels"]) == (a.sum(), b.sum())
    assert [row["target"] for row in rows] == ["liver", "liver_tumor", "spleen"]


def test_a_tumour_taken_for_liver_costs_only_the_tumour():
    reference = np.full((2, 2, 2), 5, np.uint8)
    reference[0] = 25
    prediction = np.full((2, 2, 2), 5, np.uint8)
    liver, tumor = score_case(reference, prediction, ["liver", "liver_tumor"], TABLE)
    assert liver["dice"] == 1.0
    assert tumor["dice"] == 0.0


def test_different_grids_are_refused():
    with pytest.raises(ValueError, match="different grids"):
        score_case(np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2, 3), np.uint8), ["liver"], TABLE)


def _scores(values, **names):
    return pd.DataFrame(
        [
            {
                "experiment": "pretrain.tsfm",
                "weights": "best",
                "dataset": "msd_liver",
                "case": str(i),
                "target": "liver",
                "dice": value,
                "reference_voxels": 1,
                "prediction_voxels": 1,
                **names,
            }
            for i, value in enumerate(values)
        ]
    )


def test_means_leave_out_and_count_the_empty_cases():
    scores = pd.concat(
        [
            _scores([0.5, float("nan"), 1.0, 0.0]),
            _scores([float("nan")], target="liver_tumor"),
            _scores([0.25], weights="final"),
        ]
    )
    summary = summarise(scores).set_index(["weights", "target"])
    assert summary.loc[("best", "liver"), "dice"] == pytest.approx(0.5)
    assert summary.loc[("best", "liver"), ["n", "n_empty"]].tolist() == [3, 1]
    assert math.isnan(summary.loc[("best", "liver_tumor"), "dice"])
    assert summary.loc[("best", "liver_tumor"), ["n", "n_empty"]].tolist() == [0, 1]
    assert summary.loc[("final", "liver"), "dice"] == 0.25


def test_a_summary_of_nothing_has_its_columns():
    assert tuple(summarise(_scores([])).columns) == SUMMARY_COLUMNS
