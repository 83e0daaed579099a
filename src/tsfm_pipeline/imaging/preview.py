"""A picture of a case: one axial slice with label contours."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from tsfm_pipeline.imaging.geometry import TripleFloat
from tsfm_pipeline.imaging.labels import BACKGROUND, OUTSIDE

_WIDTH_INCHES = 4.0
_GOLDEN_TURN = 0.618034  # neighbouring label integers get colours far apart


def slice_preview(
    image_ZYX: NDArray[np.floating],
    labels_ZYX: NDArray[np.integer],
    spacing: TripleFloat = (1.0, 1.0, 1.0),
) -> bytes:
    """Draw the axial slice with most labelled voxels, as radiologists look at it.

    The patient's right is on the left and the front is up, which is how a canonical slice lies.

    Args:
        image_ZYX: one channel on a canonical grid; shown from its 1st to its 99th percentile.
        labels_ZYX: target integers on the same grid; each is outlined in a colour of its own.
        spacing: mm (z, y, x), for the picture's proportions.

    Returns:
        The bytes of a PNG file.
    """
    # matplotlib takes a second to load, and only pictures need it.
    from matplotlib import colormaps  # noqa: PLC0415
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    labelled_ZYX = (labels_ZYX != BACKGROUND) & (labels_ZYX != OUTSIDE)
    counts = labelled_ZYX.sum(axis=(1, 2))
    z = int(counts.argmax()) if counts.any() else len(counts) // 2
    image_YX, labels_YX = image_ZYX[z], labels_ZYX[z]
    aspect = spacing[1] / spacing[2]
    rows, columns = image_YX.shape
    figure = Figure(figsize=(_WIDTH_INCHES, _WIDTH_INCHES * rows * aspect / columns), dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    low, high = np.percentile(image_YX, (1, 99))
    axes.imshow(image_YX, cmap="gray", vmin=low, vmax=high, aspect=aspect, interpolation="bilinear")
    for value in np.unique(labels_YX[labelled_ZYX[z]]):
        colour = colormaps["hsv"](int(value) * _GOLDEN_TURN % 1.0)
        # The rim closes the outline of what is cut by the edge of the slice.
        mask = np.pad((labels_YX == value).astype(float), 1)
        across, down = np.arange(columns + 2) - 1, np.arange(rows + 2) - 1
        axes.contour(across, down, mask, levels=[0.5], colors=[colour], linewidths=1.4)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
