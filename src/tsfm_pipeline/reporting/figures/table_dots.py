"""A table of the paper as dots: printed numbers hollow, ours filled, with their intervals."""

from typing import Any

import numpy as np
import pandas as pd

from tsfm_pipeline.reporting.cells import shown
from tsfm_pipeline.reporting.figures.drawing import Drawing
from tsfm_pipeline.reporting.figures.style import (
    BLACK,
    MARKERS,
    PALETTE,
    SMALL,
    TEXT_SIZE,
    caption_of,
    not_drawn,
    tidy,
    titled_figure,
)
from tsfm_pipeline.reporting.paper_tables import PaperTable
from tsfm_pipeline.reporting.provenance import Provenance
from tsfm_pipeline.reporting.staleness import STALE

ROW_INCHES = 0.42


def draw_table(frame: pd.DataFrame, table: PaperTable, provenance: Provenance) -> Drawing:
    """Draw a line per column of the table and a mark per method.

    Columns without a figure of ours are left out; where all are, the figure says so and shows
    none. Stale figures are left out; the caption says both.

    Args:
        frame: the table's long form, with `cell_statistics.STATISTICS_COLUMNS`.
        table: its definition.
        provenance: for the caption.
    """
    stale = frame["status"] == STALE
    data = frame.assign(ours=shown(frame).mask(stale))
    ours_in = data.groupby(["block", "column"], sort=False)["ours"].transform("count") > 0
    caption = ["Hollow: the paper. Filled: this run, with 95 % interval (patients resampled)."]
    columns = ["block", "row", "column", "experiment", "status", "paper", "ours"]
    columns += ["ours_low", "ours_high", "n"]
    if not ours_in.any():
        return Drawing(not_drawn(table.title, provenance, int(stale.sum())), data.loc[[], columns])
    if not ours_in.all():
        without = data.loc[~ours_in, ["block", "column"]].drop_duplicates()
        caption.append(f"{len(without)} columns without a figure of ours are left out.")
        data = data[ours_in]
    caption.append(caption_of(provenance))

    names = {
        (block.name, column.key): " ".join(filter(None, (block.name or column.group, column.name)))
        for block in table.blocks
        for column in table.columns
    }
    present = set(zip(data["block"], data["column"], strict=True))
    places = [place for place in names if place in present]
    headings = {row.name: row.heading for block in table.blocks for row in block.rows}
    methods = [name for name in headings if name in set(data["row"])]

    figure = titled_figure(
        8.0,
        0.9 + ROW_INCHES * len(places) + 0.22 * len(methods) / 3,
        table.title,
        " ".join(caption),
    )
    axes = figure.add_subplot()
    height = {place: -i for i, place in enumerate(places)}
    # Marks of one line stand a little apart, so that equal numbers do not hide each other.
    shifts = np.linspace(0.28, -0.28, len(methods)) if len(methods) > 1 else [0.0]
    ours_of = [
        name for name in methods if (data.loc[data["row"] == name, "experiment"] != "").any()
    ]
    for i, (method, shift) in enumerate(zip(methods, shifts, strict=True)):
        rows = data[data["row"] == method]
        y = np.array([height[p] for p in zip(rows["block"], rows["column"], strict=True)]) + shift
        colour = PALETTE[ours_of.index(method) % len(PALETTE)] if method in ours_of else BLACK
        look: dict[str, Any] = {
            "marker": MARKERS[i % len(MARKERS)],
            "ls": "",
            "markersize": 6,
            "color": colour,
        }
        if rows["paper"].notna().any():
            axes.plot(rows["paper"], y, mfc="white", label=f"{headings[method]}, paper", **look)
        if rows["ours"].notna().any():
            has = rows["ours"].notna().to_numpy()
            low, high = rows["ours_low"][has], rows["ours_high"][has]
            axes.hlines(y[has], low, high, color=colour, linewidth=1.6)
            axes.plot(rows["ours"][has], y[has], label=f"{headings[method]}, ours", **look)
    for y in range(1, len(places)):
        axes.axhline(-y + 0.5, color="#eeeeee", linewidth=0.8, zorder=0)
    axes.set_yticks(list(height.values()), [names[place] for place in places])
    axes.set_ylim(-len(places) + 0.5, 0.5)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("Dice", fontsize=TEXT_SIZE)
    tidy(axes, grid="x")
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=SMALL)
    return Drawing(figure, data[columns])
