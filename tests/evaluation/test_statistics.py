import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tsfm_pipeline.evaluation.statistics import (
    COMPARISON_COLUMNS,
    bootstrap_interval,
    compare_experiments,
    holm,
)


def test_holm_by_hand():
    # 0.01 * 3; max(0.02 * 2, 0.03); max(0.04 * 1, 0.04)
    np.testing.assert_allclose(holm([0.04, 0.01, 0.02]), [0.04, 0.03, 0.04])
    np.testing.assert_allclose(holm([0.9, 0.6]), [1.0, 1.0])
    assert holm([]).size == 0


def test_holm_is_r_multtests():
    """p-values and R multtest's Holm column, as statsmodels' own test quotes them."""
    p = [
        *(0.838541367553, 0.642193923795, 0.680845947633, 0.967833824309, 0.71626938238),
        *(0.177096952723, 5.23656777208e-05, 0.0202732688798, 0.00028140506198, 0.0149877310796),
    ]
    expected = [1, 1, 1, 1, 1, 1, 5.23656777208e-4, 0.1419128821586, 2.53264555782e-3]
    np.testing.assert_allclose(holm(p), [*expected, 0.1199018486368], rtol=1e-10)


def test_the_bootstrap_of_three_cases_against_all_27_resamples():
    values = np.array([0.1, 0.5, 0.9])
    means = [np.mean(drawn) for drawn in itertools.product(values, repeat=3)]
    bounds = bootstrap_interval(values, np.array(["a", "b", "c"]), 20_000)
    exact = np.quantile(means, (0.025, 0.975), method="inverted_cdf")
    assert bounds == pytest.approx(tuple(exact), abs=1e-9)


def test_the_bootstrap_is_scipys_percentile_bootstrap():
    values = np.random.default_rng(1).beta(4, 2, 60)
    ours = bootstrap_interval(values, np.arange(60), 50_000)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=50_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=2e-3)


def test_patients_are_resampled_whole():
    """Copies of a scan are no evidence: the interval is that of one scan a patient."""
    values = np.random.default_rng(3).random(30)
    patients = np.arange(30)
    alone = bootstrap_interval(values, patients, 2000)
    copied = bootstrap_interval(np.repeat(values, 5), np.repeat(patients, 5), 2000)
    assert copied == pytest.approx(alone)
    pretended = bootstrap_interval(np.repeat(values, 5), np.arange(150), 2000)
    assert pretended[1] - pretended[0] < 0.6 * (alone[1] - alone[0])


def test_a_report_repeats_and_missing_values_are_left_out():
    values = np.array([0.2, 0.4, 0.9, 0.3])
    bounds = bootstrap_interval(values, np.array(list("abcd")), 500)
    assert bounds == bootstrap_interval(values, np.array(list("abcd")), 500)
    with_nan = bootstrap_interval(np.append(values, np.nan), np.array(list("abcde")), 500)
    assert with_nan == bounds
    assert all(map(math.isnan, bootstrap_interval(values[:1], np.array(["a"]), 500)))


def _final(score_rows, values, experiment, **names):
    cases = [(0 if math.isnan(v) else 1, 0 if math.isnan(v) else 1, v) for v in values]
    return score_rows(cases, experiment=experiment, weights="final", **names)


def test_pairs_are_tested_and_corrected_over_the_table(score_rows):
    rng = np.random.default_rng(4)
    scores, base = [], rng.random(12)
    for target, shift in (("liver", 0.05), ("spleen", 0.0)):
        better = base + shift + rng.normal(0, 0.02, 12)
        scores.append(_final(score_rows, base, "b", target=target))
        scores.append(_final(score_rows, better, "a", target=target).sample(frac=1, random_state=1))
    table = compare_experiments(pd.concat(scores), [("a", "b"), ("a", "not run")])
    assert tuple(table.columns) == COMPARISON_COLUMNS
    assert table["target"].tolist() == ["liver", "spleen"]
    assert table["status"].tolist() == ["tested"] * 2
    for row, (reference, better) in zip(
        table.to_dict("records"), [(scores[0], scores[1]), (scores[2], scores[3])], strict=True
    ):
        one, other = (frame.set_index("case")["dice"] for frame in (better, reference))
        assert row["mean_difference"] == pytest.approx(one.mean() - other.mean())
        assert row["p"] == stats.wilcoxon(one, other.reindex(one.index)).pvalue
        assert row["n_pairs"] == 12
    np.testing.assert_allclose(table["p_holm"], holm(table["p"]))
    assert table["p_holm"][0] < 0.01 < table["p_holm"][1]


def test_an_exact_p_by_hand(score_rows):
    """All six differences positive: 2 of the 2^6 sign patterns are as extreme."""
    base = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    better = [value + 0.01 * (i + 1) for i, value in enumerate(base)]
    scores = [_final(score_rows, better, "a"), _final(score_rows, base, "b")]
    (row,) = compare_experiments(pd.concat(scores), [("a", "b")]).to_dict("records")
    assert row["p"] == row["p_holm"] == pytest.approx(2 / 64)


def test_too_few_pairs_say_so(score_rows):
    for values in ([0.1, 0.2, 0.3, 0.4, 0.5], [0.0] * 9):
        better = [value + 0.1 if value else 0.0 for value in values]
        scores = [_final(score_rows, better, "a"), _final(score_rows, values, "b")]
        (row,) = compare_experiments(pd.concat(scores), [("a", "b")]).to_dict("records")
        assert math.isnan(row["p"])
        assert math.isnan(row["p_holm"])
        assert row["status"].startswith("too few")
        assert row["n_pairs"] == len(values)


def test_cases_that_only_one_scored_are_counted_and_patients_are_pairs(score_rows):
    patients = ["p", "p", "q", "r", "s"]
    nan = float("nan")
    one = _final(score_rows, [0.9, 0.7, 0.5, nan, nan], "a").assign(patient=patients)
    other = _final(score_rows, [0.4, 0.4, 0.5, 0.0, nan], "b").assign(patient=patients)
    (row,) = compare_experiments(pd.concat([one, other]), [("a", "b")]).to_dict("records")
    assert (row["n_pairs"], row["n_left_out"]) == (2, 1)
    assert row["mean_difference"] == pytest.approx((0.4 + 0) / 2)


def test_other_checkpoints_and_nothing_at_all(score_rows):
    best = pd.concat([score_rows([(1, 1, 0.5)], experiment=name) for name in "ab"])
    assert compare_experiments(best, [("a", "b")]).empty
    assert tuple(compare_experiments(best, []).columns) == COMPARISON_COLUMNS


def test_prompted_scores_are_not_compared_with_automatic_ones(score_rows):
    one = _final(score_rows, [0.5] * 8, "a", protocol="prompted with ground truth")
    other = _final(score_rows, [0.4] * 8, "b")
    assert compare_experiments(pd.concat([one, other]), [("a", "b")]).empty
