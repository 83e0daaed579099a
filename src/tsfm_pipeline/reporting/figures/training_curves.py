"""Loss and pseudo-Dice of every training, on one page."""

import pandas as pd
from matplotlib.ticker import MaxNLocator

from tsfm_pipeline.reporting.figures.drawing import Drawing
from tsfm_pipeline.reporting.figures.style import (
    BLUE,
    SKY,
    SMALL,
    TEXT_SIZE,
    VERMILLION,
    caption_of,
    empty_note,
    titled_figure,
)
from tsfm_pipeline.reporting.provenance import Provenance

PER_ROW = 5
MOST_POINTS = 250
"""Of a line; a longer training is drawn every so many epochs."""


def draw_curves(history: pd.DataFrame, provenance: Provenance) -> Drawing:
    """Draw a small panel per training, as nnU-Net's progress picture.

    Args:
        history: rows of `training_history.read_history`.
        provenance: for the caption.
    """
    caption = (
        "Left axis, 0 to 1: pseudo-Dice of the validation patches (pale) and its moving average"
        " (blue), by which the best weights are chosen. Right axis: training loss (dashed)."
        f" {caption_of(provenance)}"
    )
    names = list(dict.fromkeys(history["experiment"]))
    rows = max(-(-len(names) // PER_ROW), 1)
    figure = titled_figure(12.0, 0.3 + 1.55 * rows, "Training curves", caption)
    if not names:
        empty_note(figure.add_subplot(), "nothing to show")
        return Drawing(figure, history)
    panels = figure.subplots(rows, PER_ROW, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        epochs = history[history["experiment"] == name]
        drawn = epochs.iloc[:: -(-len(epochs) // MOST_POINTS)]
        dot = {"marker": "."} if len(drawn) == 1 else {}
        loss = axes.twinx()
        loss.plot(drawn["epoch"], drawn["loss"], color=VERMILLION, ls="--", lw=0.9, **dot)
        axes.plot(drawn["epoch"], drawn["dice"], color=SKY, lw=0.9, **dot)
        axes.plot(drawn["epoch"], drawn["dice_ema"], color=BLUE, lw=1.5, **dot)
        axes.set_ylim(0, 1)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_title(name, loc="left", fontsize=6.5)
        for side in (axes, loss):
            side.tick_params(labelsize=6)
            side.spines["top"].set_visible(False)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    figure.supxlabel("epoch", fontsize=TEXT_SIZE)
    figure.legend(
        [*panels[0].lines, *loss.lines],
        ["pseudo-Dice", "its moving average", "training loss"],
        loc="outside lower right",
        ncols=3,
        frameon=False,
        fontsize=SMALL,
    )
    return Drawing(figure, history)
