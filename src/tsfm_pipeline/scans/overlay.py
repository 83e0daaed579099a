"""A picture of a segmented scan: three planes with coloured outlines and a legend of names."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tsfm_pipeline.imaging.geometry import TripleFloat
from tsfm_pipeline.imaging.labels import BACKGROUND
from tsfm_pipeline.scans.label_files import label_colour
from tsfm_pipeline.scans.measures import Row, volume_text
from tsfm_pipeline.sources.source import Modality

CT_WINDOW_HU = (-160.0, 240.0)
"""The usual soft-tissue window: width 400, level 40."""

_HEIGHT_INCHES = 4.2
_MARGIN_INCHES = 0.3
_TITLE_INCHES = 0.4
_LEGEND_ROWS = 20
_SMALLEST_INCHES = 0.6  # of a plane that has room for letters at top and bottom

# Plane: axis it cuts, name, letters at the left, right, top and bottom edge. A canonical grid runs
# to the head, to the back and to the left; radiologists look at axial slices from the feet.
_PLANES = (
    (0, "axial", "RLAP"),
    (1, "coronal", "RLSI"),
    (2, "sagittal", "APSI"),
)


def draw_overlay(
    image_ZYX: NDArray[np.floating],
    labels_ZYX: NDArray[np.integer],
    spacing: TripleFloat,
    rows: Sequence[Row],
    modality: Modality,
    title: str,
) -> bytes:
    """Draw the axial, coronal and sagittal slice with most labelled voxels, or the middle one.

    The patient's right is on the left of axial and coronal views, the front on the left of
    sagittal ones; front or head is up. Proportions are in mm.

    Args:
        image_ZYX: one channel on a canonical grid.
        labels_ZYX: label integers on the same grid.
        spacing: mm (z, y, x).
        rows: of `measures.measure_targets`; the legend lists the targets that were found.
        modality: CT is shown in a soft-tissue window, MR from the 1st to the 99.5th percentile of
            its nonzero voxels.
        title: shown on top.

    Returns:
        The bytes of a PNG file.
    """
    # matplotlib takes a second to load, and only pictures need it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.lines import Line2D  # noqa: PLC0415

    low, high = display_window(image_ZYX, modality)
    extent = np.multiply(labels_ZYX.shape, spacing)
    # All three planes share one scale in mm; the tallest fills the height.
    scale = _HEIGHT_INCHES / max(extent[0], extent[1])
    widths = [extent[2] * scale, extent[2] * scale, extent[1] * scale]
    found = sorted((row for row in rows if row["voxels"]), key=lambda row: cast(int, row["label"]))
    present = [cast(int, row["label"]) for row in found]
    texts = [volume_text(row) for row in found]
    columns = max(-(-len(present) // _LEGEND_ROWS), 1)
    legend = columns * (0.7 + 0.08 * max(map(len, texts), default=12))
    width = sum(widths) + 4 * _MARGIN_INCHES + legend
    height = _HEIGHT_INCHES + 2 * _MARGIN_INCHES + _TITLE_INCHES
    figure = Figure(figsize=(width, height), dpi=110, facecolor="black")
    FigureCanvasAgg(figure)
    labelled_ZYX = labels_ZYX != BACKGROUND
    left = _MARGIN_INCHES
    for (axis, name, letters), inches in zip(_PLANES, widths, strict=True):
        tall = extent[1 if axis == 0 else 0] * scale
        bottom = _MARGIN_INCHES + (_HEIGHT_INCHES - tall) / 2
        axes = figure.add_axes((left / width, bottom / height, inches / width, tall / height))
        left += inches + _MARGIN_INCHES
        others = tuple(other for other in range(3) if other != axis)
        counts = labelled_ZYX.sum(axis=others)
        at = int(counts.argmax()) if counts.any() else len(counts) // 2
        image, labels = np.moveaxis(image_ZYX, axis, 0)[at], np.moveaxis(labels_ZYX, axis, 0)[at]
        _draw_plane(axes, image, labels, (low, high), axis)
        axes.set_title(f"{name} {at + 1}/{len(counts)}", color="white", fontsize=9, pad=4)
        _edge_letters(axes, letters if tall > _SMALLEST_INCHES else letters[:2])
    handles = [Line2D([], [], color=_rgb(value), linewidth=3) for value in present]
    if present:
        figure.legend(
            handles,
            texts,
            loc="center left",
            bbox_to_anchor=(left / width, 0.5),
            ncols=columns,
            frameon=False,
            labelcolor="white",
            fontsize=8,
        )
    else:
        figure.text(left / width, 0.5, "nothing found", color="white", fontsize=10)
    figure.text(
        _MARGIN_INCHES / width, 0.98, title, color="white", fontsize=10, va="top", weight="bold"
    )
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw_plane(
    axes: Any,
    image: NDArray[np.floating],
    labels: NDArray[np.integer],
    window: tuple[float, float],
    axis: int,
) -> None:
    """Draw one slice; rows of coronal and sagittal slices run to the head and are turned up."""
    if axis != 0:
        image, labels = image[::-1], labels[::-1]
    axes.set_axis_off()
    # The axes box has the slice's proportions in mm, so pixels may be stretched to fill it.
    axes.imshow(
        image,
        cmap="gray",
        vmin=window[0],
        vmax=window[1],
        aspect="auto",
        interpolation="bilinear",
    )
    rows, columns = labels.shape
    across, down = np.arange(columns + 2) - 1, np.arange(rows + 2) - 1
    for value in np.unique(labels[labels != BACKGROUND]):
        # The rim closes the outline of what is cut by the edge of the slice.
        mask = np.pad((labels == value).astype(float), 1)
        axes.contour(across, down, mask, levels=[0.5], colors=[_rgb(int(value))], linewidths=1.2)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)


def _edge_letters(axes: Any, letters: str) -> None:
    places = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.98), (0.5, 0.02))
    for letter, (x, y) in zip(letters, places, strict=False):
        axes.text(
            x,
            y,
            letter,
            transform=axes.transAxes,
            color="yellow",
            fontsize=8,
            ha={0.02: "left", 0.98: "right"}.get(x, "center"),
            va={0.02: "bottom", 0.98: "top"}.get(y, "center"),
        )


def _rgb(value: int) -> tuple[float, float, float]:
    red, green, blue = label_colour(value)
    return red / 255, green / 255, blue / 255


def display_window(image_ZYX: NDArray[np.floating], modality: Modality) -> tuple[float, float]:
    """Return the intensities shown as black and as white."""
    if modality == "CT":
        return CT_WINDOW_HU
    inside = image_ZYX[image_ZYX != 0]
    low, high = np.percentile(inside if inside.size else image_ZYX, (1, 99.5))
    return float(low), float(max(high, low + 1e-6))
