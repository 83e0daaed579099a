import math

import pandas as pd
import pytest

from tsfm_pipeline.evaluation.metrics import PROMPTED
from tsfm_pipeline.reporting.dice_summary import DICE_COLUMNS, dice_summary


@pytest.mark.parametrize(
    ("target", "tumor"),
    [
        ("liver_tumor", True),
        ("breast_tumor", True),
        ("brain_edema", True),
        ("brain_tumor_necrosis", True),
        ("liver", False),
        ("kidney_cyst", False),
        ("hepatic_vessel", False),
        ("hippocampus_anterior", False),
    ],
)
def test_which_targets_are_tumours(evaluation, target, tumor):
    assert evaluation.is_tumor(target) is tumor


def test_best_final_and_baseline_side_by_side_with_means(evaluation, summary_of):
    summary = summary_of(
        ("pretrain.threshold", "only", "a", "liver", 0.1),
        ("pretrain.threshold", "only", "a", "liver_tumor", 0.05),
        ("pretrain.tsfm", "best", "a", "liver", 0.8),
        ("pretrain.tsfm", "final", "a", "liver", 0.7),
        ("pretrain.tsfm", "best", "a", "liver_tumor", 0.4),
        ("pretrain.tsfm", "best", "b", "liver", 0.6),
        ("pretrain.tsfm", "final", "b", "liver", 0.9),
        ("pretrain.tsfm", "best", "b", "spleen", float("nan")),
        ("transfer.x", "best", "c", "spleen", 0.5),
    )
    frame = dice_summary(summary, evaluation)
    assert tuple(frame.columns) == DICE_COLUMNS
    assert frame["experiment"].tolist() == ["pretrain.tsfm"] * 8 + ["transfer.x"] * 2
    rows = frame.set_index(["experiment", "dataset", "target"])
    liver = rows.loc[("pretrain.tsfm", "a", "liver")]
    assert liver[["best", "final", "threshold"]].tolist() == [0.8, 0.7, 0.1]
    assert (liver["n"], liver["n_both_empty"], liver["kind"]) == (4, 1, "organ")
    assert rows.loc[("pretrain.tsfm", "a", "liver_tumor"), "threshold"] == 0.05
    assert math.isnan(rows.loc[("pretrain.tsfm", "b", "liver"), "threshold"])
    organs = rows.loc[("pretrain.tsfm", "", "mean organ")]
    assert organs["n_missed"] == 6
    assert organs[["best", "final", "threshold"]].tolist() == pytest.approx([0.7, 0.8, 0.1])
    tumours = rows.loc[("pretrain.tsfm", "", "mean tumour")]
    assert tumours["best"] == 0.4
    assert math.isnan(tumours["final"])
    assert ("transfer.x", "", "mean tumour") not in rows.index
    foreground = rows.loc[("pretrain.tsfm", "a", "foreground mean")]
    assert foreground["best"] == pytest.approx(0.6)
    assert foreground["final"] == 0.7
    # nnU-Net's foreground mean has no figure where a target has none.
    assert math.isnan(rows.loc[("pretrain.tsfm", "b", "foreground mean"), "best"])


def test_a_method_without_checkpoints_is_no_baseline(evaluation, summary_of):
    prompted = [("sam", "only", "a", "liver", 0.9), ("sam", "only", "a", "spleen", 0.7)]
    summary = pd.concat(
        [
            summary_of(*prompted, protocol=PROMPTED),
            summary_of(
                ("pretrain.threshold", "only", "a", "liver", 0.1),
                ("pretrain.tsfm", "best", "a", "liver", 0.8),
            ),
        ]
    )
    rows = dice_summary(summary, evaluation).set_index(["experiment", "target"])
    assert set(rows.loc["sam", "protocol"]) == {PROMPTED}
    assert rows.loc[("sam", "liver"), ["final", "threshold", "n"]].tolist() == [0.9, 0.1, 4]
    assert rows.loc["sam", "best"].isna().all()
    assert rows.loc[("sam", "foreground mean"), "final"] == pytest.approx(0.8)
    assert rows.loc[("pretrain.tsfm", "liver"), "threshold"] == 0.1


def test_nothing_scored_gives_no_rows(evaluation, summary_of):
    frame = dice_summary(summary_of(), evaluation)
    assert frame.empty
    assert tuple(frame.columns) == DICE_COLUMNS
