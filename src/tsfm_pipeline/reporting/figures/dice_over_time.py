"""What a transfer gives for its training time."""

import pandas as pd

from tsfm_pipeline.reporting.cells import shown
from tsfm_pipeline.reporting.figures.drawing import Drawing
from tsfm_pipeline.reporting.figures.style import (
    MARKERS,
    PALETTE,
    SMALL,
    TEXT_SIZE,
    caption_of,
    empty_note,
    tidy,
    titled_figure,
)
from tsfm_pipeline.reporting.paper_tables import PaperTable
from tsfm_pipeline.reporting.provenance import Provenance
from tsfm_pipeline.reporting.staleness import STALE


def draw_times(frame: pd.DataFrame, table: PaperTable, provenance: Provenance) -> Drawing:
    """Draw a panel per block: Dice of every experiment over the hours of its training.

    Args:
        frame: Table 2's long form, with `cell_statistics.STATISTICS_COLUMNS`.
        table: its definition.
        provenance: for the hours and the caption.
    """
    hours = {name: origin.hours for name, origin in provenance.origins.items()}
    data = frame.assign(
        ours=shown(frame).mask(frame["status"] == STALE),
        hours=frame["experiment"].map(hours).astype(float),
    )
    data = data[data["ours"].notna() & data["hours"].notna()]
    caption = (
        "Wall-clock hours of the transfer training alone, steps and validation, whatever machine"
        " and however many processes it ran on; pre-training is not counted. With 95 % interval."
        f" {caption_of(provenance)}"
    )
    figure = titled_figure(10.5, 3.7, "Dice over training time", caption)
    panels = figure.subplots(1, len(table.blocks), squeeze=False)[0]
    headings = list(dict.fromkeys(row.heading for block in table.blocks for row in block.rows))
    entries = {}
    for axes, block in zip(panels, table.blocks, strict=True):
        in_block = data[data["block"] == block.name]
        if in_block.empty:
            empty_note(axes, f"{block.name}: not run")
            continue
        for row in block.rows:
            rows = in_block[in_block["row"] == row.name].sort_values("hours")
            if rows.empty:
                continue
            i = headings.index(row.heading)
            colour = PALETTE[i % len(PALETTE)]
            axes.vlines(rows["hours"], rows["ours_low"], rows["ours_high"], color=colour, lw=1.2)
            (entries[row.heading],) = axes.plot(
                rows["hours"], rows["ours"], marker=MARKERS[i % len(MARKERS)], color=colour, lw=1
            )
        axes.set_xscale("log")
        axes.set_ylim(-0.02, 1.02)
        axes.set_title(block.name, loc="left", fontsize=TEXT_SIZE)
        axes.set_xlabel("hours of training", fontsize=TEXT_SIZE)
        tidy(axes)
    figure.supylabel("Dice", fontsize=TEXT_SIZE)
    if entries:
        figure.legend(
            list(entries.values()),
            list(entries),
            loc="outside lower center",
            ncols=4,
            frameon=False,
            fontsize=SMALL,
        )
    columns = ["block", "row", "column", "experiment", "hours", "ours", "ours_low", "ours_high"]
    return Drawing(figure, data[columns])
