"""The three figures that matter most, each beside the paper's in the same cells."""

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
        low: lower bound of the 95 % interval; NaN where there is none.
        high: upper bound.
        signed: whether it is a difference.
        over: which cells it is taken over.
    """

    title: str
    ours: float
    paper: float
    low: float
    high: float
    signed: bool
    over: str

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
    title = "Mean tumour Dice of TSFM after pre-training"
    mean = next(column for column in table.columns if column.mean_of)
    have = [key for key in mean.mean_of if not np.isnan(ours["table_1", "", "Ours", key])]
    if len(have) < len(mean.mean_of):
        averages = [
            _mean([cells["table_1", "", "Ours", key] for key in have]) for cells in (ours, paper)
        ]
        over = f"Table 1, {len(have)} of {len(mean.mean_of)} tumour columns"
        return Headline(title, *averages, np.nan, np.nan, signed=False, over=over)
    place = (comparison["table"] == "table_1") & (comparison["row"] == "Ours")
    cell = comparison[place & (comparison["column"] == mean.key)].iloc[0]
    return Headline(
        title,
        ours["table_1", "", "Ours", mean.key],
        paper["table_1", "", "Ours", mean.key],
        float(cell["ours_low"]),
        float(cell["ours_high"]),
        signed=False,
        over=f"Table 1, mean of {len(have)} tumour columns",
    )


def _pretraining_gain(table: PaperTable, ours: Cells, paper: Cells) -> Headline:
    title = "Gain by pre-training at the smallest budget"
    rows = ("Ours-pretrain", "Ours-nopretrain")
    for column in table.columns:
        blocks = [block.name for block in table.blocks]
        gains = {
            block: next(ours.differences("table_2", *rows, [(block, column.key)]), np.nan)
            for block in blocks
        }
        have = [(block, column.key) for block in blocks if not np.isnan(gains[block])]
        if have:
            return Headline(
                title,
                *(_mean([*cells.differences("table_2", *rows, have)]) for cells in (ours, paper)),
                np.nan,
                np.nan,
                signed=True,
                over=f"Table 2, {column.name}, mean of {len(have)} of {len(blocks)} datasets",
            )
    nothing = (np.nan, np.nan, np.nan, np.nan)
    return Headline(title, *nothing, signed=True, over="Table 2: pretrained minus scratch")


def _pool_gain(table: PaperTable, ours: Cells, paper: Cells) -> Headline:
    whole, *singles = [row.name for row in table.blocks[0].rows]
    places = [(single, ("", column.key)) for single in singles for column in table.columns]

    def gain(cells: Cells, single: str, where: tuple[str, str]) -> float:
        return next(cells.differences("table_3", whole, single, [where]), np.nan)

    have = [place for place in places if not np.isnan(gain(ours, *place))]
    return Headline(
        "Gain by the whole pool over a single dataset",
        *(_mean([gain(cells, *place) for place in have]) for cells in (ours, paper)),
        np.nan,
        np.nan,
        signed=True,
        over=f"Table 3, mean of {len(have)} of {len(places)} differences",
    )


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
