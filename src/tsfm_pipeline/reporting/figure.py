"""Our figures against the paper's as a picture."""

import pandas as pd
from matplotlib.figure import Figure

from tsfm_pipeline.reporting.markdown import Provenance
from tsfm_pipeline.reporting.paper_tables import PaperTable
from tsfm_pipeline.reporting.staleness import STALE

PAPER = "#8a8a8a"
OURS = ("#0b6e99", "#d1495b", "#2e8b57")


def comparison_figure(frame: pd.DataFrame, table: PaperTable, provenance: Provenance) -> Figure:
    """Draw a line per cell heading: the paper's number hollow, ours filled, joined by a bar.

    Stale figures are left out, and the legend says so.

    Args:
        frame: the table's long form (`comparison.build_table`).
        table: its definition; only its rows with an experiment are drawn.
        provenance: for the subtitle.

    Returns:
        A figure that needs no display.
    """
    places = [(block.name, column.key) for block in table.blocks for column in table.columns]
    names = [
        " ".join(part for part in (block.name or column.group, column.name) if part)
        for block in table.blocks
        for column in table.columns
    ]
    height = {place: -i for i, place in enumerate(places)}
    figure = Figure(figsize=(8, 1.6 + 0.34 * len(places)), layout="constrained")
    axes = figure.add_subplot()
    headings = {
        row.name: row.heading for block in table.blocks for row in block.rows if row.experiment
    }
    for colour, (name, heading) in zip(OURS, headings.items(), strict=False):
        rows = frame[frame["row"] == name]
        y = [height[place] for place in zip(rows["block"], rows["column"], strict=True)]
        stale = rows["status"] == STALE
        ours = rows["ours_best"].fillna(rows["ours_final"]).mask(stale)
        left_out = "; stale ones left out" if stale.any() else ""
        if rows["paper"].notna().any():
            axes.hlines(y, rows["paper"], ours, color=colour, alpha=0.35, linewidth=2)
            axes.plot(
                rows["paper"], y, "o", mfc="white", mec=colour, label=f"{heading}, paper", ls=""
            )
            axes.plot(ours, y, "o", color=colour, label=f"{heading}, ours (best){left_out}", ls="")
        else:
            axes.plot(ours, y, "x", color=PAPER, label=f"{heading} (ours){left_out}", ls="")
    axes.set_yticks(list(height.values()), names)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("Dice")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.suptitle(table.title, x=0.01, ha="left", fontsize=11, weight="bold", wrap=True)
    caption = provenance.header().replace("*", "").replace("`", "")
    axes.set_title(caption, loc="left", fontsize=9, wrap=True)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure
