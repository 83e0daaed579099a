import pytest
from matplotlib.text import Text


@pytest.fixture
def nothing_is_cut():
    """Check that all texts of a figure lie within it, and that no title covers another's."""

    def check(figure):
        figure.set_dpi(120)
        figure.draw_without_rendering()
        ticks = {
            label
            for axes in figure.axes
            for axis in (axes.xaxis, axes.yaxis)
            for label in axis.get_ticklabels(which="both")
        }  # matplotlib keeps some beyond the axis, and never draws them
        for text in figure.findobj(Text):
            if text.get_text() and text.get_visible() and text not in ticks:
                box = text.get_window_extent()
                assert box.x0 >= 0 and box.y0 >= 0, text.get_text()
                assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, text.get_text()
        title, caption = (text.get_window_extent() for text in figure.texts[:2])
        assert caption.y1 <= title.y0
        assert all(axes.get_tightbbox().y1 <= caption.y0 + 1 for axes in figure.axes)

    return check
