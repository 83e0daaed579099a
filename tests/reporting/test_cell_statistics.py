import numpy as np
import pytest

from tests.reporting.test_comparison import cell
from tsfm_pipeline.evaluation.statistics import bootstrap_interval
from tsfm_pipeline.reporting.cell_statistics import mean_interval
from tsfm_pipeline.reporting.paper_tables import Scores

BRATS = ("brain_tumor_necrosis", "brain_edema", "brain_tumor_enhancing")
KITS = "transfer.kits19"


def scores_entry(dataset, *targets):
    return Scores(dataset=dataset, targets=targets)


def random_dice(seed, n):
    return np.random.default_rng(seed).uniform(0, 1, n)


def test_of_one_target_it_is_the_interval_of_the_per_target_table(scores_of):
    dice = random_dice(1, 12)
    scores = scores_of(("e", "d", "t", dice), weights=("best",))
    expected = bootstrap_interval(dice, np.array([f"p{i}" for i in range(12)]), 400)
    assert mean_interval(scores, [scores_entry("d", "t")], 400) == pytest.approx(expected)


def test_targets_of_one_dataset_are_resampled_together(scores_of):
    """Where one target is what the other lacks of 1, every patient's mean is 0.5."""
    dice = random_dice(2, 15)
    scores = scores_of(("e", "d", "a", dice), ("e", "d", "b", 1 - dice), weights=("best",))
    low, high = mean_interval(scores, [scores_entry("d", "a", "b")], 300)
    assert (low, high) == (pytest.approx(0.5), pytest.approx(0.5))
    alone = mean_interval(scores, [scores_entry("d", "a")], 300)
    assert alone[1] - alone[0] > 0.1


def test_a_mean_over_datasets_is_as_sure_as_theory_says(scores_of):
    """The variance of the mean of k independent means is the sum of theirs over k squared."""
    parts = [(f"d{i}", random_dice(10 + i, 40)) for i in range(4)]
    scores = scores_of(*((("e", name, "t", dice)) for name, dice in parts), weights=("best",))
    low, high = mean_interval(scores, [scores_entry(name, "t") for name, _ in parts], 4000)
    deviation = np.sqrt(sum(dice.var() / len(dice) for _, dice in parts)) / 4
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.08)


def test_a_single_patient_or_a_missing_target_has_no_interval(scores_of):
    scores = scores_of(("e", "d", "t", [0.5]), ("e", "f", "t", [0.5, 0.6]), weights=("best",))
    assert np.isnan(mean_interval(scores, [scores_entry("d", "t")], 100)).all()
    assert np.isnan(mean_interval(scores, [scores_entry("f", "u")], 100)).all()
    both = [scores_entry("f", "t"), scores_entry("d", "t")]
    assert np.isnan(mean_interval(scores, both, 100)).all()


def test_a_cell_is_marked_where_every_target_of_it_differs(scores_of, comparison_of):
    better, worse = np.linspace(0.6, 0.8, 12), np.linspace(0.3, 0.4, 12)
    brats = "transfer.brats2020"
    scores = scores_of(
        (f"{KITS}.pretrained.epoch10", "kits19", "kidney_tumor", better),
        (f"{KITS}.scratch.epoch10", "kits19", "kidney_tumor", worse),
        *((f"{brats}.pretrained.epoch10", "brats2020", target, better) for target in BRATS),
        # one of the three targets is the same in both
        *((f"{brats}.scratch.epoch10", "brats2020", target, worse) for target in BRATS[:2]),
        (f"{brats}.scratch.epoch10", "brats2020", BRATS[2], better),
    )
    frame = comparison_of(scores)
    frame = frame[frame["table"] == "table_2"]
    marked = cell(frame, "Ours-nopretrain", "epoch10", "KiTS2019/tumor")
    assert marked["against"] == f"{KITS}.pretrained.epoch10"
    assert marked["p_holm"] < 0.05
    assert marked["ours_low"] < marked["ours_best"] < marked["ours_high"]
    unmarked = cell(frame, "Ours-nopretrain", "epoch10", "BraTS2020/tumor")
    assert not unmarked["p_holm"] < 0.05
    reference = cell(frame, "Ours-pretrain", "epoch10", "KiTS2019/tumor")
    assert reference["against"] == ""


def test_without_a_figure_there_are_no_statistics(comparison_of, scores_of):
    frame = comparison_of(scores_of())
    assert frame["ours_low"].isna().all()
    assert (frame["against"] == "").all()
