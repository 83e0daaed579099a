"""The three figures that matter most: beside the paper's, or the best of what was run instead."""

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tsfm_pipeline.evaluation.metrics import AUTOMATIC
from tsfm_pipeline.reporting.cells import Cells
from tsfm_pipeline.reporting.paper_tables import PaperTable, PaperTables

MOST_OWN = 3
"""Headlines of a run that has nothing of the paper's."""


@dataclass(frozen=True)
class Headline:
    """One figure.

    Attributes:
        title: what it is.
        ours: NaN where nothing was run.
        paper: from the printed numbers of the same cells; NaN where the paper has none.
        signed: whether it is a difference.
        over: which cells it is taken over.
        low: lower bound of the 95 % interval; NaN where there is none.
        high: upper bound.
    """

    title: str
    ours: float
    paper: float
    signed: bool
    over: str
    low: float = math.nan
    high: float = math.nan

    def __str__(self) -> str:
        """Return it as a line of the log."""
        sign = "+" if self.signed else ""
        text = "not run" if np.isnan(self.ours) else f"{self.ours:{sign}.4f}"
        if not np.isnan(self.paper):
            text += f" (paper {self.paper:{sign}.4f})"
        return f"{self.title}: {text}; {self.over}"


def headlines(
    comparison: pd.DataFrame,
    tables: PaperTables,
    dice: pd.DataFrame,
    stale: Collection[str] = (),
) -> list[Headline]:
    """Return TSFM's mean tumour Dice, the gain by pre-training, and the gain by the whole pool.

    Where nothing of these was run, as on a pool of one's own datasets, the best training on each
    dataset stands instead. Stale figures count as missing. Tables that the parameters leave out
    give no headline.

    Args:
        comparison: all tables in long form, with `cell_statistics.STATISTICS_COLUMNS`.
        tables: their definitions.
        dice: rows of `dice_summary.dice_summary`.
        stale: experiments that were run on another version of the pool.
    """
    ours, paper = (Cells.of(comparison, kind) for kind in ("ours", "paper"))
    found = []
    if (table := tables.root.get("table_1")) is not None:
        found.append(_mean_tumour(table, comparison, ours, paper))
    if (table := tables.root.get("table_2")) is not None:
        found.append(_pretraining_gain(table, ours, paper))
    if (table := tables.root.get("table_3")) is not None:
        found.append(_pool_gain(table, ours, paper))
    if all(np.isnan(headline.ours) for headline in found):
        return _best_of_own(dice[~dice["experiment"].isin(stale)]) or found
    return found


def _best_of_own(dice: pd.DataFrame) -> list[Headline]:
    """Return the highest mean Dice on each of the datasets with most cases."""
    rows = dice[dice["kind"].isin(("organ", "tumour")) & dice["protocol"].eq(AUTOMATIC)]
    rows = rows.assign(ours=rows["best"].fillna(rows["final"]))
    means = rows.groupby(["experiment", "dataset"], sort=False).agg(
        ours=("ours", "mean"), targets=("target", "count"), n=("n", "min")
    )
    best = means.dropna().reset_index().sort_values("ours", ascending=False, kind="stable")
    best = best.drop_duplicates("dataset").sort_values("n", ascending=False, kind="stable")
    return [
        Headline(
            title=f"Best mean Dice on {row['dataset']}",
            ours=float(row["ours"]),
            paper=math.nan,
            signed=False,
            over=f"{row['experiment']}, {_counted(row['targets'], 'target')},"
            f" {_counted(row['n'], 'case')}",
        )
        for row in best.head(MOST_OWN).to_dict("records")
    ]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _mean_tumour(
    table: PaperTable, comparison: pd.DataFrame, ours: Cells, paper: Cells
) -> Headline:
    mean = next(column for column in table.columns if column.mean_of)
    have = [key for key in mean.mean_of if not np.isnan(ours["table_1", "", "Ours", key])]
    complete = len(have) == len(mean.mean_of)
    keys = [mean.key] if complete else have
    low = high = math.nan
    if complete:
        place = (comparison["table"] == "table_1") & (comparison["row"] == "Ours")
        cell = comparison[place & (comparison["column"] == mean.key)].iloc[0]
        low, high = float(cell["ours_low"]), float(cell["ours_high"])
    return Headline(
        title="Mean tumour Dice of TSFM after pre-training",
        ours=_mean([ours["table_1", "", "Ours", key] for key in keys]),
        paper=_mean([paper["table_1", "", "Ours", key] for key in keys]),
        signed=False,
        over=f"Table 1, mean of {len(have)} of {len(mean.mean_of)} tumour columns",
        low=low,
        high=high,
    )


def _pretraining_gain(table: PaperTable, ours: Cells, paper: Cells) -> Headline:
    rows = ("Ours-pretrain", "Ours-nopretrain")
    have: list[tuple[str, str]] = []
    over = "Table 2, no budget"
    for column in table.columns:
        places = [(block.name, column.key) for block in table.blocks]
        have = [place for place in places if [*ours.differences("table_2", *rows, [place])]]
        if have:
            over = f"Table 2, {column.name}, mean of {len(have)} of {len(places)} datasets"
            break
    return Headline(
        title="Gain by pre-training at the smallest budget",
        ours=_mean([*ours.differences("table_2", *rows, have)]),
        paper=_mean([*paper.differences("table_2", *rows, have)]),
        signed=True,
        over=over,
    )


def _pool_gain(table: PaperTable, ours: Cells, paper: Cells) -> Headline:
    whole, *singles = [row.name for row in table.blocks[0].rows]
    places = [(single, ("", column.key)) for single in singles for column in table.columns]

    def gains(cells: Cells, places: list[tuple[str, tuple[str, str]]]) -> list[float]:
        return [
            gain
            for single, where in places
            for gain in cells.differences("table_3", whole, single, [where])
        ]

    have = [place for place in places if gains(ours, [place])]
    return Headline(
        title="Gain by the whole pool over a single dataset",
        ours=_mean(gains(ours, have)),
        paper=_mean(gains(paper, have)),
        signed=True,
        over=f"Table 3, mean of {len(have)} of {len(places)} differences",
    )


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
