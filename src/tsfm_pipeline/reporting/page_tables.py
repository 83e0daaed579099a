"""The paper's tables in its own layout: a row per method, a column per target."""

from collections.abc import Hashable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from tsfm_pipeline.reporting.cell_statistics import SIGNIFICANT
from tsfm_pipeline.reporting.cells import shown
from tsfm_pipeline.reporting.comparison import SHOWN
from tsfm_pipeline.reporting.paper_tables import PaperTable
from tsfm_pipeline.reporting.staleness import STALE


@dataclass(frozen=True)
class Cell:
    """One cell; NaN where there is no number.

    Attributes:
        experiment: gives our figure; empty where none does.
        status: of our figure.
        paper: the printed number.
        ours: best weights', or those of a method that has no checkpoints.
        final: final weights'.
        low: lower bound of the 95 % interval of `ours`.
        high: upper bound.
        n: cases.
        seeds: trainings that it averages.
        sd: standard deviation over these.
        paper_is_best: whether `paper` is the highest printed in its column and block.
        ours_is_best: whether `ours` is the highest of ours there, and not the only one.
        against: the experiment it was tested against.
        p: of that test, corrected.
    """

    experiment: str
    status: str
    paper: float
    ours: float
    final: float
    low: float
    high: float
    n: int
    seeds: int
    sd: float
    paper_is_best: bool
    ours_is_best: bool
    against: str
    p: float

    @property
    def difference(self) -> float:
        """Ours minus the printed number."""
        return self.ours - self.paper

    @property
    def has_paper(self) -> bool:
        """Whether a number is printed."""
        return not np.isnan(self.paper)

    @property
    def has_ours(self) -> bool:
        """Whether there is a figure of ours."""
        return self.status in SHOWN

    @property
    def has_interval(self) -> bool:
        """Whether its interval is known."""
        return not np.isnan(self.low)

    @property
    def is_stale(self) -> bool:
        """Whether our figure is of another version of the pool."""
        return self.status == STALE

    @property
    def leads_somewhere(self) -> bool:
        """Whether one experiment stands behind it: not the mean over several datasets'."""
        return not is_pattern(self.experiment)

    @property
    def differs(self) -> bool:
        """Whether the test finds a difference from `against`."""
        return self.p < SIGNIFICANT


@dataclass(frozen=True)
class PageRow:
    """A method: its heading, and a cell or None per column."""

    heading: str
    cells: list[Cell | None]

    @property
    def has_paper(self) -> bool:
        """Whether any number is printed."""
        return any(cell is not None and cell.has_paper for cell in self.cells)


@dataclass(frozen=True)
class PageTable:
    """A table as it is drawn.

    Attributes:
        name: key in the parameters.
        title: our heading.
        caption: the paper's.
        notes: printed below it.
        groups: headings over the columns, with the columns they span; none where all are empty.
        columns: headings.
        blocks: heading (may be empty) and rows.
    """

    name: str
    title: str
    caption: str
    notes: tuple[str, ...]
    groups: list[tuple[str, int]]
    columns: list[str]
    blocks: list[tuple[str, list[PageRow]]]

    @property
    def has_paper(self) -> bool:
        """Whether any number is printed."""
        return any(row.has_paper for _, rows in self.blocks for row in rows)

    @property
    def experiments(self) -> list[str]:
        """The experiments whose figures it shows."""
        rows = [row for _, rows in self.blocks for row in rows]
        cells = [cell for row in rows for cell in row.cells]
        return [cell.experiment for cell in cells if cell is not None and cell.has_ours]


def is_pattern(experiment: str) -> bool:
    """Tell whether a cell names no experiment, but those of all its columns (`...nnunet.*`)."""
    return "*" in experiment


def page_table(frame: pd.DataFrame, table: PaperTable, name: str) -> PageTable:
    """Lay a table out.

    Args:
        frame: its long form, with `cell_statistics.STATISTICS_COLUMNS`.
        table: its definition.
        name: its key in the parameters.
    """
    groups = [
        (group, len(list(columns))) for group, columns in groupby(table.columns, lambda c: c.group)
    ]
    cells = _cells(frame)
    blocks = []
    for block in table.blocks:
        rows = [
            PageRow(
                heading=row.heading,
                cells=[cells.get((block.name, row.name, c.key)) for c in table.columns],
            )
            for row in block.rows
        ]
        blocks.append((block.name, rows))
    return PageTable(
        name=name,
        title=table.title,
        caption=table.caption,
        notes=table.notes,
        groups=groups if any(group for group, _ in groups) else [],
        columns=[column.name for column in table.columns],
        blocks=blocks,
    )


def _cells(frame: pd.DataFrame) -> dict[tuple[str, str, str], Cell]:
    frame = frame.assign(ours=shown(frame))
    current = frame["ours"].mask(frame["status"] == STALE)
    places = [frame["block"], frame["column"]]
    paper_is_best = frame["paper"] == frame["paper"].groupby(places).transform("max")
    several = current.groupby(places).transform("count") > 1
    printed = frame["paper"].groupby(places).transform("count") > 1
    ours_is_best = several & (current == current.groupby(places).transform("max"))
    frame = frame.assign(paper_is_best=paper_is_best & printed, ours_is_best=ours_is_best)
    return {
        (str(row["block"]), str(row["row"]), str(row["column"])): _cell(row)
        for row in frame.to_dict("records")
    }


def _cell(row: dict[Hashable, Any]) -> Cell:
    return Cell(
        experiment=str(row["experiment"]),
        status=str(row["status"]),
        paper=float(row["paper"]),
        ours=float(row["ours"]),
        final=float(row["ours_final"]),
        low=float(row["ours_low"]),
        high=float(row["ours_high"]),
        n=int(row["n"]),
        seeds=int(row["seeds"]),
        sd=float(row["ours_sd"]),
        paper_is_best=bool(row["paper_is_best"]),
        ours_is_best=bool(row["ours_is_best"]),
        against=str(row["against"]),
        p=float(row["p_holm"]),
    )
