"""The Dice values of tables by their place, printed or ours, for what is computed from them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from tsfm_pipeline.reporting.paper_tables import PaperTables
from tsfm_pipeline.reporting.staleness import STALE

Place = tuple[str, str, str, str]
"""Table, block (empty in a table of one block), row as printed, and column key."""


@dataclass(frozen=True)
class Cells:
    """Dice by place; what is not there is NaN, and so is what is computed from it."""

    values: Mapping[Place, float]

    @classmethod
    def printed(cls, tables: PaperTables) -> "Cells":
        """Return the paper's numbers."""
        return cls(
            {
                (name, block.name, row.name, key): value
                for name, table in tables.root.items()
                for block in table.blocks
                for row in block.rows
                for key, value in row.paper.items()
            }
        )

    @classmethod
    def of(cls, frame: pd.DataFrame, kind: Literal["paper", "ours"]) -> "Cells":
        """Return the values of the tables in long form; of ours, stale ones are left out."""
        if kind == "paper":
            values = frame["paper"]
        else:
            values = shown(frame).mask(frame["status"] == STALE)
        places = frame[["table", "block", "row", "column"]].itertuples(index=False, name=None)
        return cls(dict(zip(places, values, strict=True)))

    def __getitem__(self, place: Place) -> float:
        return self.values.get(place, float("nan"))

    def differences(
        self, table: str, row: str, other: str, where: Iterable[tuple[str, str]]
    ) -> Iterator[float]:
        """Yield row minus other at (block, column) places; those without one are left out."""
        for block, column in where:
            value = self[table, block, row, column] - self[table, block, other, column]
            if not np.isnan(value):
                yield value


def shown(frame: pd.DataFrame) -> "pd.Series[float]":
    """Return our figure of each cell: the best weights', or the only one."""
    return frame["ours_best"].astype(float).fillna(frame["ours_final"].astype(float))
