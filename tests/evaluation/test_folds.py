"""Scores of several folds as those of one cross-validation."""

import numpy as np
import pandas as pd
import pytest

from tsfm_pipeline.evaluation.folds import FoldError, pool_folds
from tsfm_pipeline.evaluation.metrics import AUTOMATIC, SCORES_SCHEMA
from tsfm_pipeline.evaluation.summary import summarise


def scores(experiment: str, cases: dict[str, tuple[str, float]]) -> pd.DataFrame:
    """Make rows from case -> (patient, Dice)."""
    rows = [
        {
            **dict.fromkeys(SCORES_SCHEMA.names, np.nan),
            **{"experiment": experiment, "weights": "best", "protocol": AUTOMATIC},
            **{"dataset": "kits19", "case": case, "patient": patient, "target": "kidney"},
            **{"dice": dice, "both_empty": False, "false_positive_on_empty": False},
            **{"reference_voxels": 9, "prediction_voxels": 9},
        }
        for case, (patient, dice) in cases.items()
    ]
    return pd.DataFrame(rows, columns=SCORES_SCHEMA.names)


FIRST = {"a": ("anna", 0.9), "b": ("bert", 0.5)}
SECOND = {"c": ("carl", 0.7), "d": ("dora", 0.2), "e": ("dora", 0.4)}


def test_a_mean_is_over_all_cases_and_its_interval_over_all_patients() -> None:
    folds = {"fold0": scores("pretrain.tsfm", FIRST), "fold1": scores("pretrain.tsfm", SECOND)}
    pooled, lacking = pool_folds(folds)
    (row,) = summarise(pooled).to_dict("records")
    assert lacking == {}
    assert (row["n"], row["dice"]) == (5, pytest.approx((0.9 + 0.5 + 0.7 + 0.2 + 0.4) / 5))
    # not the mean of the folds' means, 0.567
    (whole,) = summarise(scores("pretrain.tsfm", FIRST | SECOND)).to_dict("records")
    assert (row["dice_low"], row["dice_high"]) == (whole["dice_low"], whole["dice_high"])


def test_what_a_fold_lacks_is_named_and_left_out() -> None:
    only = scores("transfer.x", {"a": ("anna", 0.1)})
    folds = {
        "fold0": pd.concat([scores("pretrain.tsfm", FIRST), only]),
        "fold1": scores("pretrain.tsfm", SECOND),
    }
    pooled, lacking = pool_folds(folds)
    assert set(pooled["experiment"]) == {"pretrain.tsfm"}
    assert lacking == {"transfer.x": "fold1"}


def test_folds_that_share_a_case_are_refused() -> None:
    folds = {
        "fold0": scores("pretrain.tsfm", FIRST),
        "fold1": scores("pretrain.tsfm", SECOND | {"b": ("bert", 0.5)}),
    }
    with pytest.raises(FoldError, match=r"fold0 and fold1 have both scored kits19/b.*splits\.fold"):
        pool_folds(folds)
