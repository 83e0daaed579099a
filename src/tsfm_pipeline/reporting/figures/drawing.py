"""A figure with what it shows, before and after it is saved."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """A picture and the table of what it shows.

    Attributes:
        figure: the picture.
        data: what it shows.
        on_page: whether the report's page has it; a file of its own it is in any case.
    """

    figure: "Figure"
    data: pd.DataFrame
    on_page: bool = True


@dataclass(frozen=True)
class SavedDrawing:
    """What can be read back of a drawing.

    Attributes:
        svg: the picture as an SVG element, whose texts are texts; empty where no page has it.
        data: what it shows; names of cases are texts.
    """

    svg: str
    data: pd.DataFrame
