"""Dice over the transfer budget: pretrained, from scratch, and the baselines."""

import numpy as np
import pandas as pd

from tsfm_pipeline.reporting.cells import shown
from tsfm_pipeline.reporting.figures.drawing import Drawing
from tsfm_pipeline.reporting.figures.style import (
    BLACK,
    GREY,
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


def draw_budgets(frame: pd.DataFrame, table: PaperTable, provenance: Provenance) -> Drawing:
    """Draw a panel per block and a line per method over the table's columns.

    Where none of them was run the figure says so and shows none.

    Args:
        frame: Table 2's long form, with `cell_statistics.STATISTICS_COLUMNS`.
        table: its definition; its columns are budgets.
        provenance: for the caption.
    """
    stale = frame["status"] == STALE
    data = frame.assign(ours=shown(frame).mask(stale))
    columns = ["block", "row", "column", "experiment", "status", "paper", "ours"]
    columns += ["ours_low", "ours_high", "n"]
    if data["ours"].isna().all():
        return Drawing(not_drawn(table.title, provenance, int(stale.sum())), data.loc[[], columns])
    caption = (
        "Dashed, hollow: the paper. Solid, filled: this run, with 95 % interval (patients"
        " resampled). The columns are the paper's budgets; an environment sets its own number of"
        f" epochs for each. {caption_of(provenance)}"
    )
    figure = titled_figure(10.5, 4.2, table.title, caption)
    panels = figure.subplots(1, len(table.blocks), squeeze=False)[0]
    place = {column.key: i for i, column in enumerate(table.columns)}
    headings = list(dict.fromkeys(row.heading for block in table.blocks for row in block.rows))
    for axes, block in zip(panels, table.blocks, strict=True):
        in_block = data[data["block"] == block.name]
        for row in block.rows:
            i = headings.index(row.heading)
            rows = in_block[in_block["row"] == row.name]
            # a little apart, so that equal curves do not hide each other
            x = rows["column"].map(place).to_numpy() + 0.06 * (i - (len(headings) - 1) / 2)
            colour = PALETTE[i % len(PALETTE)] if row.experiment else (BLACK, GREY)[i % 2]
            look = {"color": colour, "marker": MARKERS[i % len(MARKERS)], "markersize": 5}
            axes.plot(
                x, rows["paper"], ls="--", lw=1, mfc="white", label=f"{row.heading}, paper", **look
            )
            has = rows["ours"].notna().to_numpy()
            if has.any():
                ours = rows["ours"][has]
                sides = np.abs([rows["ours_low"][has] - ours, rows["ours_high"][has] - ours])
                axes.errorbar(
                    *(x[has], ours, np.nan_to_num(sides)),
                    capsize=2.5,
                    lw=1.6,
                    label=f"{row.heading}, ours",
                    **look,
                )
        axes.set_xticks(
            list(place.values()), [c.name for c in table.columns], rotation=30, ha="right"
        )
        axes.set_title(block.name, loc="left", fontsize=TEXT_SIZE)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlim(-0.3, len(place) - 0.7)
        tidy(axes)
    figure.supylabel("Dice", fontsize=TEXT_SIZE)
    entries = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=SMALL,
    )
    return Drawing(figure, data[columns])
