import math

import numpy as np
import pandas as pd
import pytest

from tsfm_pipeline.evaluation.metrics import PROMPTED
from tsfm_pipeline.evaluation.summary import SUMMARY_COLUMNS, foreground_mean, summarise

NAN = float("nan")
CASES = [(10, 10, 0.5), (10, 10, 1.0), (10, 0, 0.0), (0, 7, 0.0), (0, 0, NAN)]


def test_conventions_and_counts_of_one_target(score_rows):
    (row,) = summarise(score_rows(CASES)).to_dict("records")
    assert row["dice"] == pytest.approx(1.5 / 4)  # nnU-Net
    assert row["dice_both_empty_as_1"] == pytest.approx(2.5 / 5)  # MONAI, ignore_empty=False
    assert row["dice_without_empty_reference"] == pytest.approx(1.5 / 3)  # MONAI, ignore_empty=True
    counts = ("n", "n_both_empty", "n_false_positive_on_empty", "n_missed")
    assert [row[name] for name in counts] == [4, 1, 1, 1]


def test_groups_are_kept_apart_and_in_order(score_rows):
    scores = pd.concat(
        [
            score_rows(CASES),
            score_rows([(0, 0, NAN)], target="liver_tumor"),
            score_rows([(1, 1, 0.25)], weights="final"),
            score_rows([(1, 1, 0.75)], protocol=PROMPTED),
        ]
    )
    summary = summarise(scores)
    assert summary["target"].tolist() == ["liver", "liver_tumor", "liver", "liver"]
    assert summary["dice"].tolist()[2:] == [0.25, 0.75]
    assert summary["protocol"].tolist()[3] == PROMPTED
    assert math.isnan(summary["dice"][1])
    assert summary["dice_both_empty_as_1"][1] == 1.0


def test_a_summary_of_nothing_has_its_columns(score_rows):
    assert tuple(summarise(score_rows([])).columns) == SUMMARY_COLUMNS


def test_surface_means_leave_out_what_has_no_distance(score_rows):
    scores = score_rows(CASES).assign(nsd=[0.8, 1.0, 0.0, 0.0, NAN], hd95=[4, 2, NAN, NAN, NAN])
    (row,) = summarise(scores).to_dict("records")
    assert (row["nsd"], row["hd95"]) == (pytest.approx(0.45), 3.0)


def test_lesions_are_pooled_over_cases(score_rows):
    scores = score_rows(CASES).assign(
        reference_lesions=[1, 3, 4, 0, 0],
        detected_lesions=[1, 2, 0, 0, 0],
        false_positive_lesions=[0, 1, 0, 3, 0],
    )
    (row,) = summarise(scores).to_dict("records")
    assert (row["reference_lesions"], row["lesion_sensitivity"]) == (8, 3 / 8)
    assert row["false_positive_lesions"] == pytest.approx(4 / 5)
    (organ,) = summarise(score_rows(CASES)).to_dict("records")
    assert math.isnan(organ["reference_lesions"])
    none = scores.assign(reference_lesions=0, detected_lesions=0)
    assert math.isnan(summarise(none)["lesion_sensitivity"][0])


def test_the_interval_is_of_the_dice(score_rows):
    rng = np.random.default_rng(0)
    values = rng.normal(0.7, 0.1, 400)
    summary = summarise(score_rows([(1, 1, value) for value in values])).iloc[0]
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert summary["dice_low"] == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert summary["dice_high"] == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_the_foreground_mean_is_the_mean_of_the_targets_means(score_rows):
    scores = pd.concat(
        [
            score_rows([(1, 1, 0.2), (1, 1, 0.4), (0, 0, NAN)]),
            score_rows([(1, 1, 0.9)], target="spleen"),
            score_rows([(0, 0, NAN)], dataset="b"),
            score_rows([(1, 1, 0.9)], dataset="b", target="spleen"),
        ]
    )
    means = foreground_mean(summarise(scores)).set_index("dataset")["dice"]
    assert means["msd_liver"] == pytest.approx((0.3 + 0.9) / 2)
    assert math.isnan(means["b"])  # nnU-Net v2 takes np.mean, not nanmean, of the targets
