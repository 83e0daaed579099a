"""What a pool holds, as pictures."""

from base64 import b64encode
from io import BytesIO, StringIO
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.image import imsave
from numpy.typing import NDArray

TRAINING, VALIDATION, TEST, UNUSED = "#0b6e99", "#7fb8d0", "#e0a458", "#d9d9d9"
DOWNSTREAM = "#8a6d3b"
_BAR = 0.62
_GREY = 1.8


def overview_figure(datasets: pd.DataFrame) -> Figure:
    """Draw cases, spacing and size of every dataset, side by side.

    Args:
        datasets: rows of `tables.dataset_table`.

    Returns:
        A figure that needs no display. Lines reach from the smallest to the largest value, dots
        are medians; x and y are one panel, because they hardly differ.
    """
    figure = Figure(figsize=(12.5, 1.5 + 0.3 * len(datasets)), layout="constrained")
    ratios = [1.5, 1, 1, 1, 1]
    panels = figure.subplots(1, 5, sharey=True, width_ratios=ratios)
    place = -np.arange(len(datasets))
    _draw_cases(panels[0], datasets, place)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=4, frameon=False, fontsize=8)
    for axes, (measure, title) in zip(
        panels[1:],
        (
            ("spacing_z", "slice spacing, mm"),
            ("spacing_x", "pixel spacing, mm"),
            ("size_z", "slices"),
            ("size_x", "pixels per row"),
        ),
        strict=True,
    ):
        _draw_ranges(axes, datasets, place, measure)
        axes.set_title(title, loc="left", fontsize=9)
    panels[0].set_yticks(place, list(datasets["dataset"]), fontsize=9)
    for label, part in zip(panels[0].get_yticklabels(), datasets["part"], strict=True):
        label.set_color(DOWNSTREAM if part == "downstream" else "black")
    for axes in panels:
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=8)
        axes.grid(axis="x", alpha=0.25)
        axes.set_axisbelow(True)
    return figure


def targets_figure(targets: pd.DataFrame) -> Figure:
    """Draw the voxels of each target over all datasets, largest first, on a logarithmic axis.

    Args:
        targets: rows of `tables.target_table`.
    """
    shown = targets[targets["cases"] > 0]
    voxels = shown.groupby("target")[["voxels", "cases"]].sum().sort_values("voxels")
    figure = Figure(figsize=(9, 0.8 + 0.22 * len(voxels)), layout="constrained")
    axes = figure.add_subplot()
    place = np.arange(len(voxels))
    tumours = voxels.index.str.contains("tumor")
    axes.barh(place, voxels["voxels"], _BAR, color=np.where(tumours, "#d1495b", TRAINING))
    for y, (count, cases) in enumerate(voxels.to_numpy()):
        axes.text(count * 1.1, y, f"{cases} cases", va="center", fontsize=7, color="#555555")
    axes.set_xscale("log")
    axes.set_yticks(place, list(voxels.index), fontsize=8)
    axes.set_ylim(-0.6, len(voxels) - 0.4)
    axes.set_xlim(right=voxels["voxels"].max() * 6)
    axes.set_xlabel("voxels in the pool; tumours in red", fontsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    return figure


def as_svg(figure: Figure) -> str:
    """Return a figure as an SVG element for an HTML page; its texts stay texts."""
    buffer = StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "tsfm", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def thumbnail_address(thumbnail_ZYX: NDArray[np.floating]) -> str:
    """Draw a thumbnail's three middle slices side by side, as a `data:` address of a PNG.

    Args:
        thumbnail_ZYX: mean 0 and sd 1, canonical (`imaging.voxel_fingerprint`).

    Returns:
        The axial slice with the front up, the coronal and the sagittal one with the head up.
    """
    z, y, x = (size // 2 for size in thumbnail_ZYX.shape)
    slices = [thumbnail_ZYX[z], thumbnail_ZYX[::-1, y], thumbnail_ZYX[::-1, :, x]]
    buffer = BytesIO()
    picture = np.hstack(slices).astype(np.float32)
    imsave(buffer, picture, vmin=-_GREY, vmax=_GREY, cmap="gray", format="png")
    return f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"


def _draw_cases(axes: Any, datasets: pd.DataFrame, place: np.ndarray) -> None:
    left = np.zeros(len(datasets))
    for name, colour, counts in (
        ("training", TRAINING, datasets["training"]),
        ("validation", VALIDATION, datasets["validation"]),
        ("test", TEST, datasets["test"]),
        ("left out or quarantined", UNUSED, datasets["left_out"] + datasets["quarantined"]),
    ):
        axes.barh(place, counts, _BAR, left=left, color=colour, label=name)
        left += counts.to_numpy()
    for y, total in zip(place, left, strict=True):
        axes.text(total + left.max() * 0.015, y, f"{total:.0f}", va="center", fontsize=8)
    axes.set_xlim(0, left.max() * 1.14)
    axes.set_title("cases", loc="left", fontsize=9)


def _draw_ranges(axes: Any, datasets: pd.DataFrame, place: np.ndarray, measure: str) -> None:
    low, middle, high = (datasets[f"{measure}_{name}"] for name in ("min", "median", "max"))
    colours = np.where(datasets["part"] == "downstream", DOWNSTREAM, TRAINING)
    axes.hlines(place, low, high, color=colours, alpha=0.45, linewidth=3)
    axes.scatter(middle, place, s=26, color=colours, zorder=3)
    axes.set_xlim(0, high.max() * 1.08)  # a dot at the end is not cut
