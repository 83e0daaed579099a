"""Our scores in the cells of the paper's tables."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tsfm_pipeline.evaluation.extra_targets import without_extra
from tsfm_pipeline.evaluation.metrics import ONLY
from tsfm_pipeline.reporting.paper_tables import Block, Column, PaperTable, Row, Scores
from tsfm_pipeline.reporting.staleness import STALE

TABLE_COLUMNS = (
    "table",
    "block",
    "row",
    "column",
    "experiment",
    "paper",
    "ours_best",
    "ours_final",
    "n",
    "status",
    "seeds",
    "ours_sd",
)
"""Long form: one line per cell. `row` is as printed, `column` is the column's key, `experiment`
gives our figure (empty where none does), the first of several. A method without checkpoints has its
figure in `ours_final`. `n`: cases with a Dice, the smallest count where targets are averaged.
`status`: done, stale (a figure from another version of the pool), not run, failed, not scored or
needs checkpoint. `seeds`: trainings that our figure averages, 0 without one; `ours_sd`: the
standard deviation over several, of the best weights where there are such."""

SHOWN = ("done", STALE)
"""Statuses of the cells that have a figure."""

Means = dict[tuple[str, str, str], dict[str, tuple[float, int, bool]]]
"""(experiment, weights, dataset) -> target -> mean Dice, its cases, and whether it is a region."""


@dataclass(frozen=True)
class Figure:
    """Our figure of one cell: Dice of both checkpoints, cases, why there is none, and spread."""

    best: float
    final: float
    n: int
    status: str
    seeds: int = 1
    sd: float = float("nan")

    @property
    def shown(self) -> float:
        """The best weights' Dice, or that of a method without checkpoints."""
        return self.final if np.isnan(self.best) else self.best


def build_table(
    name: str,
    table: PaperTable,
    summary: pd.DataFrame,
    statuses: Mapping[str, str],
    stale: Collection[str] = (),
) -> pd.DataFrame:
    """Put the paper's number and ours into every cell.

    Args:
        name: of the table, written into the rows.
        table: the paper's numbers and where ours come from.
        summary: mean scores with the columns of `evaluation.summary.summarise`.
        statuses: experiment -> finished, failed or not run; an experiment that it lacks and that
            has no scores counts as not run.
        stale: experiments that were run on another version of the pool.

    Returns:
        Rows with TABLE_COLUMNS, block by block in the paper's order. Cells that have neither a
        printed number nor an experiment are left out.
    """
    lines = []
    means = _means(summary)
    for block in table.blocks:
        for row in block.rows:
            figures: dict[str, Figure] = {}
            for column in table.columns:
                figures[column.key] = _figure(
                    table,
                    (block, row, column),
                    row_figures=figures,
                    means=means,
                    statuses=statuses,
                    stale=stale,
                )
                paper = row.paper.get(column.key, float("nan"))
                experiment = row.experiment_of(column)
                if np.isnan(paper) and experiment is None:
                    continue
                ours = figures[column.key]
                cell = (name, block.name, row.name, column.key, experiment or "", paper)
                lines.append(
                    (*cell, ours.best, ours.final, ours.n, ours.status, ours.seeds, ours.sd)
                )
    return pd.DataFrame(lines, columns=list(TABLE_COLUMNS))


def _figure(
    table: PaperTable,
    place: tuple[Block, Row, Column],
    *,
    row_figures: Mapping[str, Figure],
    means: Means,
    statuses: Mapping[str, str],
    stale: Collection[str],
) -> Figure:
    _, row, column = place
    experiments = row.experiments_of(column)
    if not experiments:
        return _without("")
    if column.mean_of:
        return _mean_of([row_figures[key] for key in column.mean_of])
    parts = table.scores_of(*place)
    figures = [_training(name, parts, means, statuses, stale) for name in experiments]
    found = [figure for figure in figures if figure.status in SHOWN]
    if len(found) < 2:
        return found[0] if found else figures[0]
    return replace(
        _mean_of(found), seeds=len(found), sd=float(np.std([one.shown for one in found], ddof=1))
    )


def _mean_of(parts: Sequence[Figure]) -> Figure:
    missing = [part.status for part in parts if part.status not in SHOWN]
    if missing:
        return _without(missing[0])
    return Figure(
        best=float(np.mean([part.best for part in parts])),
        final=float(np.mean([part.final for part in parts])),
        n=min(part.n for part in parts),
        status=STALE if any(part.status == STALE for part in parts) else "done",
    )


def _training(
    experiment: str,
    parts: Sequence[Scores],
    means: Means,
    statuses: Mapping[str, str],
    stale: Collection[str],
) -> Figure:
    """Return the figure of one training; its cases are those of the best weights."""
    best, best_n = _mean(means, experiment, ("best",), parts)
    final, final_n = _mean(means, experiment, ("final", ONLY), parts)
    if np.isnan(best) and np.isnan(final):
        status = statuses.get(experiment, "not run")
        return _without("not scored" if status == "finished" else status)
    shown = STALE if experiment in stale else "done"
    return Figure(best, final, final_n if best_n == 0 else best_n, shown)


def _means(summary: pd.DataFrame) -> Means:
    """Lay out a summary to be looked up cell by cell, which is slow in a data frame."""
    regions = set(without_extra(summary).index)
    found: Means = {}
    names = ("experiment", "weights", "dataset", "target", "dice", "n")
    columns = (summary[name].tolist() for name in names)
    for row, experiment, kind, dataset, target, dice, n in zip(
        summary.index, *columns, strict=True
    ):
        figures = found.setdefault((experiment, kind, dataset), {})
        figures[target] = (float(dice), int(n), row in regions)
    return found


def _mean(
    means: Means, experiment: str, weights: Sequence[str], parts: Sequence[Scores]
) -> tuple[float, int]:
    """Return the mean of the parts' means over targets and the smallest case count.

    NaN where a target is missing.
    """
    averages, counts = [], []
    for part in parts:
        found: dict[str, tuple[float, int, bool]] = {}
        for kind in weights:
            found |= means.get((experiment, kind, part.dataset), {})
        regions = [target for target, (_, _, region) in found.items() if region]
        targets = regions if part.targets == "all" else part.targets
        figures = [found[target] for target in targets if target in found]
        if not figures or len(figures) < len(targets):
            return float("nan"), 0
        averages.append(float(np.mean([dice for dice, _, _ in figures])))
        counts.append(min(n for _, n, _ in figures))
    mean = float(np.mean(averages))
    return (mean, min(counts)) if not np.isnan(mean) else (mean, 0)


def _without(status: str) -> Figure:
    return Figure(best=float("nan"), final=float("nan"), n=0, status=status, seeds=0)
