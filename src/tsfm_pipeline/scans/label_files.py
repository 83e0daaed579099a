"""Names and colours of labels, for people and for the viewers ITK-SNAP and 3D Slicer."""

import colorsys
import json
from collections.abc import Sequence
from pathlib import Path

from tsfm_pipeline.files import write_text
from tsfm_pipeline.imaging.labels import LabelTable

ITK_SNAP = "labels.txt"
SLICER = "labels.ctbl"
JSON = "labels.json"

_GOLDEN_TURN = 0.618034  # neighbouring integers get colours far apart
_SHADES = ((0.85, 1.0), (0.4, 1.0), (0.8, 0.78), (0.6, 1.0), (0.7, 0.88))

Colour = tuple[int, int, int]


def label_names(table: LabelTable, regions: Sequence[str]) -> dict[int, str]:
    """Map the integer that a region is painted with to its name, in order of the integers."""
    return dict(sorted((table.region_ids(region)[0], region) for region in regions))


def label_colour(value: int) -> Colour:
    """Return the colour (red, green, blue, 0-255) that a label has in every file and picture."""
    # Hues come near again after 8, 13, 21, 34 integers, none of them a multiple of 5.
    saturation, brightness = _SHADES[value % len(_SHADES)]
    rgb = colorsys.hsv_to_rgb(value * _GOLDEN_TURN % 1.0, saturation, brightness)
    red, green, blue = (round(255 * part) for part in rgb)
    return red, green, blue


def write_label_files(folder: Path, names: dict[int, str]) -> None:
    """Write the label description of ITK-SNAP and the colour table of 3D Slicer."""
    write_text(folder / ITK_SNAP, itk_snap_labels(names))
    write_text(folder / SLICER, slicer_labels(names))


def itk_snap_labels(names: dict[int, str]) -> str:
    """Return a label description file: index, colour, opacity, visibility, mesh, name."""
    lines = [
        "################################################",
        "# ITK-SnAP Label Description File",
        "# File format:",
        "# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL",
        "################################################",
        '    0     0    0    0        0  0  0    "Clear Label"',
    ]
    for value, name in names.items():
        red, green, blue = label_colour(value)
        lines.append(f'{value:5d} {red:5d} {green:4d} {blue:4d}        1  1  1    "{name}"')
    return "\n".join(lines) + "\n"


def slicer_labels(names: dict[int, str]) -> str:
    """Return a colour table: index, name without blanks, red, green, blue, opacity."""
    lines = ["# Color table file labels.ctbl", f"# {len(names) + 1} values", "0 background 0 0 0 0"]
    for value, name in names.items():
        red, green, blue = label_colour(value)
        lines.append(f"{value} {name.replace(' ', '_')} {red} {green} {blue} 255")
    return "\n".join(lines) + "\n"


def labels_json(table: LabelTable, regions: Sequence[str]) -> str:
    """Return the labels of a model for programs: id, name, colour, members of the region."""
    rows = [
        {
            "id": value,
            "name": name,
            "colour": list(label_colour(value)),
            "members": list(table.composed_targets(name)),
        }
        for value, name in label_names(table, regions).items()
    ]
    return json.dumps(rows, indent=1) + "\n"
