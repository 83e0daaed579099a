"""The three figures that matter most, each beside the paper's in the same cells."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tsfm_pipeline.reporting.cells import Cells
from tsfm_pipeline.reporting.paper_tables import PaperTable, PaperTables


@dataclass(frozen=True)
class Headline:
    """One figure.

    Attributes:
        title: what it is.
        ours: NaN where nothing was run.
        paper: from the printed numbers of the same cells.
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
        ours, paper = (f"{value:{sign}.4f}" for value in (self.ours, self.paper))
        text = "not run" if np.isnan(self.ours) else f"{ours} (paper {paper})"
        return f"{self.title}: {text}; {self.over}"


def headlines(comparison: pd.DataFrame, tables: PaperTables) -> list[Headline]:
    """Return TSFM's mean tumour Dice, the gain by pre-training, and the gain by the whole pool.

    Stale figures count as missing. Tables that the parameters leave out give no headline.

    Args:
        comparison: all tables in long form, with `cell_statistics.STATISTICS_COLUMNS`.
        tables: their definitions.
    """
    ours, paper = (Cells.of(comparison, kind) for kind in ("ours", "paper"))
    found = []
    if (table := tables.root.get("table_1")) is not None:
        found.append(_mean_tumour(table, comparison, ours, paper))
    if (table := tables.root.get("table_2")) is not None:
        found.append(_pretraining_gain(table, ours, paper))
    if (table := tables.root.get("table_3")) is not None:
        found.append(_pool_gain(table, ours, paper))
    return found


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
