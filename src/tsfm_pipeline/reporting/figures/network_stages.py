"""The network that is trained, as the paper's Fig. 1(a): read off the module itself."""

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.patches import FancyBboxPatch

from tsfm_pipeline.network.diagram import Stage
from tsfm_pipeline.reporting.figures.drawing import Drawing
from tsfm_pipeline.reporting.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SMALL,
    titled_figure,
)

_COLUMNS = {
    "image": 0,
    "encoder": 0.95,
    "bottleneck": 2.05,
    "up": 3.15,
    "decoder": 3.15,
    "head": 4.2,
}
_COLOURS = {"encoder": BLUE, "decoder": GREEN, "bottleneck": PURPLE, "head": ORANGE}
_WIDTH, _HEIGHT = 0.74, 0.62  # of a box, where columns and resolutions are 1 apart
_ROW_INCHES = 0.72


def draw_stages(stages: Sequence[Stage], size: str) -> Drawing:
    """Draw every stage as a box, a resolution per row.

    Args:
        stages: of `network.diagram.trace_stages`.
        size: name of the network's size.
    """
    caption = (
        "Read off the module as this environment pre-trains it. Channels, and voxels (z, y, x) of"
        " one training sample. A: stem, B: residual block, C: down-sampling, D: transformer, E:"
        " up-sampling, F: head; dashed: skip connections."
    )
    levels = sum(stage.name.startswith("up") for stage in stages)
    figure = titled_figure(10.5, _ROW_INCHES * (levels + 1), f"Fig. 1: TSFM, size {size}", caption)
    axes = figure.subplots()
    places = {stage.name: _place(stage.name, levels) for stage in stages}
    for stage in stages:
        if not stage.name.startswith("up"):
            _box(axes, stage, places[stage.name])
    _down(axes, places, levels)
    for i in range(levels):
        below = places[f"decoder{i + 1}"] if i + 1 < levels else places["bottleneck"]
        _up(axes, below, places[f"decoder{i}"])
        _arrow(axes, _right(places[f"encoder{i}"]), _left(places[f"decoder{i}"]), "--")
        if f"head{i}" in places:
            _arrow(axes, _right(places[f"decoder{i}"]), _left(places[f"head{i}"]))
    axes.set_xlim(-0.45, 4.65)
    axes.set_ylim(-levels - 0.45, 0.45)
    axes.set_axis_off()
    return Drawing(figure, _table(stages))


def _place(name: str, levels: int) -> tuple[float, float]:
    kind, number = _parts(name)
    row = levels if kind == "bottleneck" else number
    return _COLUMNS[kind], -float(row)


def _parts(name: str) -> tuple[str, int]:
    kind, number = re.fullmatch(r"([a-z]+)(\d*)", name).groups()  # type: ignore[union-attr]
    return kind, int(number or 0)


def _box(axes: Any, stage: Stage, place: tuple[float, float]) -> None:
    colour = _COLOURS.get(_parts(stage.name)[0], GREY)
    x, y = place[0] - _WIDTH / 2, place[1] - _HEIGHT / 2
    axes.add_patch(
        FancyBboxPatch(
            *((x, y), _WIDTH, _HEIGHT),
            boxstyle="round,pad=0,rounding_size=0.06",
            facecolor="white",
            edgecolor=colour,
            linewidth=1.4,
        )
    )
    blocks = stage.blocks.replace(" of width ", " of ")
    text = f"{stage.channels} ch, {' x '.join(map(str, stage.grid))}"
    axes.text(*place, f"{blocks}\n{text}", ha="center", va="center", fontsize=SMALL, color=BLACK)


def _down(axes: Any, places: dict[str, tuple[float, float]], levels: int) -> None:
    _arrow(axes, _right(places["image"]), _left(places["encoder0"]))
    for i in range(levels):
        (x, y), (_, below) = places[f"encoder{i}"], places[f"encoder{i + 1}"]
        _arrow(axes, (x, y - _HEIGHT / 2), (x, below + _HEIGHT / 2))
    _arrow(axes, _right(places[f"encoder{levels}"]), _left(places["bottleneck"]))


def _up(axes: Any, below: tuple[float, float], decoder: tuple[float, float]) -> None:
    """Lead from the stage below, or from the bottleneck beside it, up to a decoder stage."""
    end = (decoder[0], decoder[1] - _HEIGHT / 2)
    start = (below[0], below[1] + _HEIGHT / 2)
    if below[0] != decoder[0]:
        start = (decoder[0], below[1])
        axes.plot([_right(below)[0], start[0]], [below[1]] * 2, color=GREY, lw=1)
    _arrow(axes, start, end)
    axes.text(end[0] + 0.04, end[1] - 0.19, "E", va="center", fontsize=SMALL, color=BLACK)


def _right(place: tuple[float, float]) -> tuple[float, float]:
    return place[0] + _WIDTH / 2, place[1]


def _left(place: tuple[float, float]) -> tuple[float, float]:
    return place[0] - _WIDTH / 2, place[1]


def _arrow(
    axes: Any, start: tuple[float, float], end: tuple[float, float], style: str = "-"
) -> None:
    axes.annotate(
        "",
        end,
        start,
        arrowprops={
            "arrowstyle": "->",
            "color": GREY,
            "lw": 1,
            "ls": style,
            "shrinkA": 0,
            "shrinkB": 0,
        },
    )


def _table(stages: Sequence[Stage]) -> pd.DataFrame:
    rows = [(stage.name, stage.blocks, stage.channels, *stage.grid) for stage in stages]
    return pd.DataFrame(rows, columns=["stage", "blocks", "channels", "z", "y", "x"])
