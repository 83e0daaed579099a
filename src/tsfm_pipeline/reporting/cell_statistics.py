"""How sure a cell of the paper's tables is: its interval, and the test behind its mark."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tsfm_pipeline.evaluation.extra_targets import without_extra
from tsfm_pipeline.evaluation.metrics import ONLY
from tsfm_pipeline.evaluation.statistics import CONFIDENCE, SEED
from tsfm_pipeline.reporting.paper_tables import PaperTable, Scores

STATISTICS_COLUMNS = ("ours_low", "ours_high", "against", "p_holm")
"""`ours_low`, `ours_high`: 95 % confidence interval of our figure, that of the best weights where
there are such. `against`: the experiment that this cell's is tested against as its baseline;
`p_holm`: the largest corrected p-value among the cell's targets."""

SIGNIFICANT = 0.05


def with_statistics(
    frame: pd.DataFrame,
    table: PaperTable,
    scores: pd.DataFrame,
    tests: pd.DataFrame,
    resamples: int,
) -> pd.DataFrame:
    """Add STATISTICS_COLUMNS to a table.

    Args:
        frame: the table's long form (`comparison.build_table`).
        table: its definition.
        scores: rows of `metrics.SCORES_SCHEMA`.
        tests: rows of `evaluation.statistics.compare_experiments`.
        resamples: of the bootstrap.
    """
    rows_of = {(block.name, row.name): (block, row) for block in table.blocks for row in block.rows}
    columns = {column.key: column for column in table.columns}
    by_experiment = {str(name): rows for name, rows in scores.groupby("experiment")}
    by_baseline = {str(name): rows for name, rows in tests.groupby("baseline")}
    lines = []
    for cell in frame.to_dict("records"):
        low, high, against, p_holm = np.nan, np.nan, "", np.nan
        rows = by_experiment.get(str(cell["experiment"]))
        if rows is not None and cell["seeds"] == 1:
            weights = ("final", ONLY) if np.isnan(cell["ours_best"]) else ("best",)
            block, row = rows_of[cell["block"], cell["row"]]
            parts = table.scores_of(block, row, columns[cell["column"]])
            low, high = mean_interval(rows[rows["weights"].isin(weights)], parts, resamples)
            if (tested := by_baseline.get(str(cell["experiment"]))) is not None:
                against, p_holm = _test(tested, rows, parts)
        lines.append((low, high, against, p_holm))
    added = pd.DataFrame(lines, columns=list(STATISTICS_COLUMNS), index=frame.index)
    return pd.concat([frame, added], axis=1)


def mean_interval(
    scores: pd.DataFrame, parts: Sequence[Scores], resamples: int
) -> tuple[float, float]:
    """Return the percentile bootstrap's 95 % interval of a mean of means.

    The patients of each dataset are resampled whole, so targets of one dataset move together. Of a
    single target it is `evaluation.statistics.bootstrap_interval`.

    Args:
        scores: of one experiment and one checkpoint, rows of `metrics.SCORES_SCHEMA`.
        parts: what is averaged: the means of their targets' mean Dice.
        resamples: drawn with a fixed seed.

    Returns:
        Lower and upper bound; NaN where a dataset has fewer than two patients.
    """
    random = np.random.default_rng(SEED)
    drawn: dict[str, pd.DataFrame] = {}
    means = []
    for part in parts:
        if part.dataset not in drawn:
            rows = scores[(scores["dataset"] == part.dataset) & scores["dice"].notna()]
            if part.targets != "all" and sum(p.dataset == part.dataset for p in parts) == 1:
                rows = rows[rows["target"].isin(part.targets)]
            drawn[part.dataset] = _resampled_means(rows, resamples, random)
        found = drawn[part.dataset]
        wanted = _targets(part, scores)
        if not wanted or not set(wanted) <= set(found):
            return float("nan"), float("nan")
        means.append(found[wanted].mean(axis=1, skipna=False))
    tail = (1 - CONFIDENCE) / 2
    mean = np.mean(means, axis=0)
    low, high = np.nanquantile(mean, (tail, 1 - tail))
    return float(low), float(high)


def mean_dice(scores: pd.DataFrame, part: Scores) -> float:
    """Return the mean of a part's targets' mean Dice; NaN where one has none.

    Args:
        scores: of one experiment and one checkpoint, rows of `metrics.SCORES_SCHEMA`.
        part: what is averaged.
    """
    dice = scores[scores["dataset"] == part.dataset].groupby("target")["dice"].mean()
    return float(dice.reindex(_targets(part, scores)).astype(float).mean(skipna=False))


def _resampled_means(
    rows: pd.DataFrame, resamples: int, random: np.random.Generator
) -> pd.DataFrame:
    """Return each target's mean Dice (columns) in every resample; none without two patients."""
    dice = rows.assign(dice=rows["dice"].astype(float)).groupby(["patient", "target"])["dice"]
    sums = dice.sum().unstack(fill_value=0)
    counts = dice.count().unstack(fill_value=0)
    patients = len(sums)
    if patients < 2:
        return pd.DataFrame(index=range(resamples))
    drawn = random.integers(patients, size=(resamples, patients))
    times = np.zeros((resamples, patients))
    np.add.at(times, (np.arange(resamples)[:, None], drawn), 1)
    with np.errstate(invalid="ignore"):  # no patient with the target was drawn
        means = (times @ sums.to_numpy()) / (times @ counts.to_numpy())
    return pd.DataFrame(means, columns=sums.columns)


def _targets(part: Scores, scores: pd.DataFrame) -> list[str]:
    """Return the targets that a part names; all are those of the dataset that are not extra."""
    if part.targets != "all":
        return list(part.targets)
    rows = without_extra(scores[scores["dataset"] == part.dataset])
    return list(rows["target"].unique())


def _test(tests: pd.DataFrame, scores: pd.DataFrame, parts: Sequence[Scores]) -> tuple[str, float]:
    """Return what the cell is tested against, and the largest p-value of its targets."""
    for experiment, rows in tests.groupby("experiment", sort=False):
        p_values = rows.set_index(["dataset", "target"])["p_holm"]
        wanted = []
        for part in parts:
            wanted += [(part.dataset, target) for target in _targets(part, scores)]
        found = p_values.reindex(wanted)
        if len(found) and found.notna().all():
            return str(experiment), float(found.max())
    return "", float("nan")
