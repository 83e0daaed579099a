"""Cases as pictures: the slice, the reference's outline, and each prediction's."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tsfm_pipeline.reporting.case_slices import CaseSlice, Masks
from tsfm_pipeline.reporting.example_cases import Example
from tsfm_pipeline.reporting.figures.drawing import Drawing
from tsfm_pipeline.reporting.figures.style import (
    ORANGE,
    SKY,
    SMALL,
    caption_of,
    empty_note,
    titled_figure,
)
from tsfm_pipeline.reporting.provenance import Provenance

PANEL_INCHES = 2.1
PIXELS_PER_INCH = 80
"""Of the slices in an SVG; a page of a dozen cases stays small enough to send."""
PANELS_PER_ROW = 6
FAILURES_PER_ROW = 4

Pictured = Sequence[tuple[Example, CaseSlice]]

_LINES = "Solid orange: reference. Dashed blue: prediction."


def draw_examples(pictured: Pictured, left_out: int, provenance: Provenance) -> Drawing:
    """Draw each case, then each system's prediction of it, as the paper's Fig. 2.

    Args:
        pictured: cases with their slices.
        left_out: cases whose raw files or predictions are not there.
        provenance: for the caption.
    """
    caption = (
        f"{_LINES} For each dataset the case nearest to the median Dice, in the slice of the"
        f" targets' largest extent; the number is the whole case's Dice.{_without(left_out)}"
        f" {caption_of(provenance)}"
    )
    widest = max((len(example.systems) + 1 for example, _ in pictured), default=1)
    columns = max(widest, PANELS_PER_ROW) if len(pictured) > 1 else widest
    packed = _packed(pictured, columns)
    rows = max(len(packed), 1)
    title = "Segmentation results"
    width, height = PANEL_INCHES * columns, (PANEL_INCHES + 0.3) * rows
    figure = titled_figure(width, height, title, caption, PIXELS_PER_INCH)
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.ravel():
        axes.set_axis_off()
    for row, cases in zip(panels, packed, strict=False):
        free = iter(row)
        for example, cut in cases:
            _show(next(free), cut, cut.reference, [], _shortened(example.key))
            for heading in example.systems:
                axes = next(free)
                _show(axes, cut, cut.reference, cut.predictions[heading], _shortened(heading))
                _in_corner(axes, f"{example.dice[heading]:.3f}")
    if not pictured:
        empty_note(panels[0, 0], "nothing to show")
    return Drawing(figure, _table(pictured))


def draw_failures(pictured: Pictured, left_out: int, provenance: Provenance) -> Drawing:
    """Draw the worst cases with what went wrong.

    Args:
        pictured: cases of one system and one target each, with their slices.
        left_out: cases whose raw files or predictions are not there.
        provenance: for the caption.
    """
    caption = (
        f"{_LINES} The worst case of every experiment, dataset and target, and of these the worst,"
        " in the slice of the largest extent. missed: nothing predicted. false positive: no"
        " reference. lateral swap: the other side's prediction fits better. elsewhere: no voxel"
        f" shared.{_without(left_out)} {caption_of(provenance)}"
    )
    rows = max(-(-len(pictured) // FAILURES_PER_ROW), 1)
    width = PANEL_INCHES * FAILURES_PER_ROW * 1.15
    height = (PANEL_INCHES + 0.55) * rows
    figure = titled_figure(width, height, "Worst cases", caption, PIXELS_PER_INCH)
    panels = figure.subplots(rows, FAILURES_PER_ROW, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, (example, cut) in zip(panels, pictured, strict=False):
        (heading,) = example.systems
        lines = [heading, f"{example.key}", f"{example.targets[0]}: {cut.note}"]
        _show(
            axes,
            cut,
            cut.reference,
            cut.predictions[heading],
            "\n".join(_shortened(line, 34) for line in lines),
        )
        _in_corner(axes, f"{example.dice[heading]:.3f}")
    if not pictured:
        empty_note(panels[0], "nothing to show")
    return Drawing(figure, _table(pictured))


def _packed(pictured: Pictured, columns: int) -> list[list[tuple[Example, CaseSlice]]]:
    """Put as many cases into a row as there is room for, in their order."""
    packed: list[list[tuple[Example, CaseSlice]]] = []
    room = 0
    for example, cut in pictured:
        needed = len(example.systems) + 1
        if needed > room:
            packed.append([])
            room = columns
        packed[-1].append((example, cut))
        room -= needed
    return packed


def _show(axes: Any, cut: CaseSlice, reference: Masks, prediction: Masks, title: str) -> None:
    low, high = cut.window
    axes.imshow(cut.image_YX, cmap="gray", vmin=low, vmax=high, aspect=cut.aspect)
    rows, columns = cut.image_YX.shape
    for masks, colour, style in ((reference, ORANGE, "solid"), (prediction, SKY, "dashed")):
        for mask in masks:
            if mask.any():
                # The rim closes the outline of what is cut by the edge.
                rim = np.pad(mask.astype(float), 1)
                across, down = np.arange(columns + 2) - 1, np.arange(rows + 2) - 1
                axes.contour(
                    across, down, rim, [0.5], colors=[colour], linewidths=1.1, linestyles=style
                )
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_title(title, loc="left", fontsize=6.5)


def _in_corner(axes: Any, text: str) -> None:
    axes.text(
        *(0.03, 0.04, text),
        transform=axes.transAxes,
        color="white",
        fontsize=SMALL,
        bbox={"facecolor": "black", "alpha": 0.6, "pad": 1.5, "edgecolor": "none"},
    )


def _shortened(text: str, most: int = 30) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _without(left_out: int) -> str:
    if not left_out:
        return ""
    return f" {left_out} cases are left out: their raw files or predictions are not there."


def _table(pictured: Pictured) -> pd.DataFrame:
    rows = [
        (example.key, ", ".join(example.targets), heading, experiment, example.dice[heading], note)
        for example, cut in pictured
        for note in [cut.note]
        for heading, experiment in example.systems.items()
    ]
    names = ["case", "targets", "system", "experiment", "dice", "note"]
    return pd.DataFrame(rows, columns=names)
