"""Our scores in the cells of the paper's tables."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

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
)
"""Long form: one line per cell. `row` is as printed, `column` is the column's key, `experiment`
gives our figure (empty where none does). A method without checkpoints has its figure in
`ours_final`. `n`: cases with a Dice, the smallest count where targets are averaged. `status`: done,
stale (a figure from another version of the pool), not run, failed, not scored, not implemented yet
or needs checkpoint."""

SHOWN = ("done", STALE)
"""Statuses of the cells that have a figure."""


@dataclass(frozen=True)
class Figure:
    """Our figure of one cell: Dice of both checkpoints, cases, and why there is none."""

    best: float
    final: float
    n: int
    status: str


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
    for block in table.blocks:
        for row in block.rows:
            figures: dict[str, Figure] = {}
            for column in table.columns:
                figures[column.key] = _figure(
                    row,
                    column,
                    block,
                    row_figures=figures,
                    summary=summary,
                    statuses=statuses,
                    stale=stale,
                )
                paper = row.paper.get(column.key, float("nan"))
                experiment = row.experiment_of(column)
                if np.isnan(paper) and experiment is None:
                    continue
                ours = figures[column.key]
                cell = (name, block.name, row.name, column.key, experiment or "", paper)
                lines.append((*cell, ours.best, ours.final, ours.n, ours.status))
    return pd.DataFrame(lines, columns=list(TABLE_COLUMNS))


def _figure(
    row: Row,
    column: Column,
    block: Block,
    *,
    row_figures: Mapping[str, Figure],
    summary: pd.DataFrame,
    statuses: Mapping[str, str],
    stale: Collection[str],
) -> Figure:
    experiment = row.experiment_of(column)
    if experiment is None:
        return _without(row.status or "")
    if column.mean_of:
        parts = [row_figures[key] for key in column.mean_of]
        missing = [part.status for part in parts if part.status not in SHOWN]
        if missing:
            return _without(missing[0])
        return Figure(
            best=float(np.mean([part.best for part in parts])),
            final=float(np.mean([part.final for part in parts])),
            n=min(part.n for part in parts),
            status=STALE if any(part.status == STALE for part in parts) else "done",
        )
    scores = column.scores or block.scores
    assert scores is not None  # the table's validator
    best, best_n = _mean(summary, experiment, ("best",), scores)
    final, final_n = _mean(summary, experiment, ("final", ONLY), scores)
    if np.isnan(best) and np.isnan(final):
        status = statuses.get(experiment, "not run")
        return _without("not scored" if status == "finished" else status)
    shown = STALE if experiment in stale else "done"
    return Figure(best, final, final_n if best_n == 0 else best_n, shown)


def _mean(
    summary: pd.DataFrame, experiment: str, weights: tuple[str, ...], scores: Scores
) -> tuple[float, int]:
    """Return the mean over the targets and the smallest case count; NaN where one is missing."""
    found = summary[
        (summary["experiment"] == experiment)
        & summary["weights"].isin(weights)
        & (summary["dataset"] == scores.dataset)
    ].set_index("target")
    everything = without_extra(found).index
    targets = list(everything) if scores.targets == "all" else list(scores.targets)
    found = found.reindex(targets)
    if found.empty or found["dice"].isna().any():
        return float("nan"), 0
    return float(found["dice"].mean()), int(found["n"].min())


def _without(status: str) -> Figure:
    return Figure(best=float("nan"), final=float("nan"), n=0, status=status)
