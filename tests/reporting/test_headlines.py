import numpy as np
import pytest

from tests.reporting.test_comparison import TUMOURS
from tsfm_pipeline.evaluation.summary import summarise
from tsfm_pipeline.reporting.dice_summary import dice_summary
from tsfm_pipeline.reporting.headlines import headlines
from tsfm_pipeline.reporting.paper_tables import PaperTables


@pytest.fixture
def found(tables, comparison_of, evaluation):
    def make(scores, stale=()):
        root = PaperTables.model_validate(tables)
        dice = dice_summary(summarise(scores, 10), evaluation)
        return headlines(comparison_of(scores, stale=stale), root, dice, stale)

    return make


def test_the_three_figures_by_hand(found, scores_of):
    tumours = [
        ("pretrain.tsfm", dataset, target, [0.1 * i, 0.1 * i + 0.2])
        for i, (dataset, target) in enumerate(TUMOURS.items())
    ]
    transfers = [
        ("transfer.kits19.pretrained.epoch20", "kits19", "kidney_tumor", [0.5, 0.7]),
        ("transfer.kits19.scratch.epoch20", "kits19", "kidney_tumor", [0.2, 0.2]),
        ("transfer.kits19.pretrained.epoch100", "kits19", "kidney_tumor", [0.8, 0.8]),
        ("ablation.amos22.kits19", "kits19", "kidney_tumor", [0.7, 0.7]),
        ("ablation.pancreas.kits19", "kits19", "kidney_tumor", [0.5, 0.5]),
    ]
    mean, gain, pool = found(scores_of(*tumours, *transfers))
    assert mean.ours == pytest.approx(np.mean([0.1 * i + 0.1 for i in range(7)]))
    assert mean.paper == 0.7106
    assert mean.low < mean.ours < mean.high
    assert gain.ours == pytest.approx(0.6 - 0.2)
    assert gain.paper == pytest.approx(0.7953 - 0.2221)  # of the same dataset and budget
    assert "20epoch" in gain.over and "1 of 3" in gain.over
    assert pool.ours == pytest.approx(((0.8 - 0.7) + (0.8 - 0.5)) / 2)
    assert pool.paper == pytest.approx(((0.8503 - 0.8329) + (0.8503 - 0.8219)) / 2)
    assert str(gain).startswith("Gain by pre-training at the smallest budget: +0.4000 (paper +0.57")


def test_some_tumours_are_averaged_and_counted(found, scores_of):
    mean, *_ = found(scores_of(("pretrain.tsfm", "msd_liver", "liver_tumor", [0.4, 0.6])))
    assert (mean.ours, mean.paper) == (pytest.approx(0.5), 0.6209)
    assert "1 of 7" in mean.over


def test_what_was_not_run_or_is_stale_has_no_figure(found, scores_of):
    scores = scores_of(("pretrain.tsfm", "msd_liver", "liver_tumor", [0.4, 0.6]))
    for headline in found(scores, stale={"pretrain.tsfm"}):
        assert np.isnan(headline.ours) and np.isnan(headline.paper)
        assert "not run" in str(headline)


def test_on_a_pool_of_ones_own_the_best_of_what_was_run_stands_instead(found, scores_of):
    scores = scores_of(
        ("pretrain.tsfm", "hippocampus", "anterior", [0.8, 0.9]),
        ("pretrain.tsfm", "hippocampus", "posterior", [0.7, 0.8]),
        ("own.swin", "hippocampus", "anterior", [0.9, 0.9]),
        ("own.swin", "hippocampus", "posterior", [0.4, 0.4]),
        ("own.swin", "thyroid", "thyroid", [0.3, 0.3, 0.3]),
    )
    thyroid, hippocampus = found(scores)  # most cases first
    assert hippocampus.ours == pytest.approx((0.85 + 0.75) / 2)
    assert (hippocampus.title, hippocampus.over) == (
        "Best mean Dice on hippocampus",
        "pretrain.tsfm, 2 targets, 2 cases",
    )
    assert str(thyroid) == "Best mean Dice on thyroid: 0.3000; own.swin, 1 target, 3 cases"
    again = found(scores, stale={"pretrain.tsfm"})
    assert again[1].ours == pytest.approx((0.9 + 0.4) / 2)
