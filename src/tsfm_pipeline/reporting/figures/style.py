"""How all pictures look: colours that colour-blind readers tell apart, captions that fit."""

import textwrap
from typing import Any

from matplotlib.figure import Figure

from tsfm_pipeline.reporting.provenance import Provenance

BLACK, GREY, LIGHT = "#000000", "#6b6b6b", "#d0d0d0"
BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
ORANGE, PURPLE, SKY = "#E69F00", "#CC79A7", "#56B4E9"
PALETTE = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY)
"""Okabe and Ito 2008, without the yellow that white paper swallows."""
MARKERS = "osD^vPX"
"""With the colours, so that a grey print tells methods apart, too."""

TITLE_SIZE, TEXT_SIZE, SMALL = 11, 9, 8
_LINE_INCHES = 0.17
_TITLE_INCHES = 0.24
_LETTERS_PER_INCH = 13.5  # of TEXT_SIZE, with some room: readers' fonts differ


def titled_figure(
    width: float, height: float, title: str, caption: str, pixels_per_inch: float = 100
) -> Figure:
    """Start a figure whose title and caption have room of their own, in whole lines.

    Args:
        width: inches.
        height: inches of the part below the caption.
        title: a line or more.
        caption: what is to be seen, and on which data.
        pixels_per_inch: of images within the figure when it is saved as SVG.
    """
    titles = textwrap.wrap(title, int(width * _LETTERS_PER_INCH * 0.7))
    captions = textwrap.wrap(caption, int(width * _LETTERS_PER_INCH))
    head = _TITLE_INCHES * len(titles) + _LINE_INCHES * len(captions) + 0.12
    figure = Figure(figsize=(width, height + head), dpi=pixels_per_inch, layout="constrained")
    total = height + head
    engine: Any = figure.get_layout_engine()
    engine.set(rect=(0, 0, 1, height / total))
    left = 0.06 / width
    figure.text(
        left, 1 - 0.05 / total, "\n".join(titles), va="top", fontsize=TITLE_SIZE, weight="bold"
    )
    below = (0.05 + _TITLE_INCHES * len(titles)) / total
    figure.text(left, 1 - below, "\n".join(captions), va="top", fontsize=TEXT_SIZE, color=GREY)
    return figure


def caption_of(provenance: Provenance) -> str:
    """Say in a caption on which data, and whether stale results are left out."""
    data = f"{provenance.data_note} " if provenance.phantoms else ""
    others = "; what was run on another pool is left out" if provenance.stale else ""
    return f"{data}Workspace {provenance.workspace}, dataset pool {provenance.pool}{others}."


def not_drawn(title: str, provenance: Provenance, stale: int) -> Figure:
    """Return the figure of a table without a figure of ours: its title, and a line that says why.

    The paper's numbers alone would be taken for ours. `stale` is how many are left out as such.
    """
    why = f"{stale} stale figures are left out." if stale else "Nothing of this table was run here."
    caption = f"{why} {caption_of(provenance)}"
    return titled_figure(8.0, 0.1, title, caption)


def tidy(axes: Any, grid: str = "both") -> None:
    """Leave the axes as little ink as they need."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=SMALL)
    axes.grid(axis=grid, alpha=0.25)
    axes.set_axisbelow(True)


def empty_note(axes: Any, text: str) -> None:
    """Say in an empty panel why it is empty."""
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=TEXT_SIZE
    )
    axes.set_axis_off()
