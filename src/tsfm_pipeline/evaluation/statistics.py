"""What chance could have done: bootstrap intervals, and paired tests between experiments."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from tsfm_pipeline.evaluation.extra_targets import without_extra

CONFIDENCE = 0.95
SEED = 233

FEWEST_PAIRS = 6
"""With fewer differing pairs no two-sided signed-rank test reaches p < 0.05: 2 / 2^5 > 0.05."""

COMPARISON_COLUMNS = (
    "experiment",
    "baseline",
    "weights",
    "dataset",
    "target",
    "mean_difference",
    "n_pairs",
    "n_left_out",
    "p",
    "p_holm",
    "status",
)


def bootstrap_interval(
    values: NDArray[np.floating], groups: NDArray, resamples: int
) -> tuple[float, float]:
    """Return the percentile bootstrap's 95 % confidence interval of the mean.

    Groups are resampled whole: scans of one patient are no independent cases.

    Args:
        values: one per case; NaN is left out.
        groups: the patient of each case.
        resamples: drawn with a fixed seed, so that a report repeats.

    Returns:
        Lower and upper bound; NaN with fewer than two patients.
    """
    kept = ~np.isnan(values)
    _, member = np.unique(groups[kept].astype(str), return_inverse=True)
    sums, counts = np.bincount(member, values[kept]), np.bincount(member)
    if len(sums) < 2:
        return float("nan"), float("nan")
    drawn = np.random.default_rng(SEED).integers(len(sums), size=(resamples, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Adjust p-values for being several (Holm 1979): the i-th smallest of m times m - i + 1."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    factors = np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted


def compare_experiments(
    scores: pd.DataFrame, pairs: Iterable[tuple[str, str]], weights: str = "final"
) -> pd.DataFrame:
    """Test on the same cases whether an experiment's Dice differs from its baseline's.

    Wilcoxon's signed-rank test, two-sided, per dataset and target over patients (the mean of a
    patient's cases), Holm-corrected over all tests of the table.

    Args:
        scores: rows of `metrics.SCORES_SCHEMA`; extra ones are not tested.
        pairs: (experiment, baseline); one that has no scores has no rows.
        weights: which checkpoints are compared. Nothing chose the final ones.

    Returns:
        Rows with COMPARISON_COLUMNS. `mean_difference`: experiment minus baseline; `n_pairs`:
        patients; `n_left_out`: cases in which only one of the two has a Dice (an empty reference
        that one of them left empty); `status`: tested, or why there is no p.
    """
    chosen = without_extra(scores[scores["weights"] == weights])
    by_experiment = {str(name): rows for name, rows in chosen.groupby("experiment")}
    rows = [
        row
        for one, other in pairs
        if one in by_experiment and other in by_experiment
        for row in _compare(by_experiment[one], by_experiment[other])
    ]
    table = pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS))
    tested = table["p"].notna()
    table.loc[tested, "p_holm"] = holm(list(table.loc[tested, "p"]))
    return table


def _compare(one: pd.DataFrame, other: pd.DataFrame) -> list[dict[str, object]]:
    keys = ["weights", "protocol", "dataset", "target", "case", "patient"]
    paired = one.merge(other, on=keys, suffixes=("", "_baseline"))
    rows: list[dict[str, object]] = []
    for names, group in paired.groupby(["weights", "dataset", "target"], sort=False):
        weights, dataset, target = names
        difference = group["dice"].astype(float) - group["dice_baseline"].astype(float)
        differences = difference.groupby(group["patient"]).mean().dropna()
        p, status = _signed_rank(differences.to_numpy())
        rows.append(
            {
                "experiment": group["experiment"].iloc[0],
                "baseline": group["experiment_baseline"].iloc[0],
                "weights": weights,
                "dataset": dataset,
                "target": target,
                "mean_difference": differences.mean(),
                "n_pairs": len(differences),
                "n_left_out": int((group["dice"].isna() != group["dice_baseline"].isna()).sum()),
                "p": p,
                "p_holm": float("nan"),
                "status": status,
            }
        )
    return rows


def _signed_rank(differences: NDArray[np.floating]) -> tuple[float, str]:
    differing = int(np.count_nonzero(differences))
    if differing < FEWEST_PAIRS:
        return float("nan"), f"too few: {differing} differing pairs, {FEWEST_PAIRS} needed"
    return float(stats.wilcoxon(differences).pvalue), "tested"
