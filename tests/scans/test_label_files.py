import colorsys
import json
import re

from tests.scans.conftest import TABLE
from tsfm_pipeline.scans.label_files import (
    itk_snap_labels,
    label_colour,
    label_names,
    labels_json,
    slicer_labels,
)

NAMES = label_names(TABLE, ("liver_tumor", "spleen", "liver"))


def test_itk_snap_reads_eight_fields_a_line():
    lines = [line for line in itk_snap_labels(NAMES).splitlines() if not line.startswith("#")]
    # as ITK-SNAP's reader: index, R, G, B, opacity, visibility, mesh, quoted label
    rows = [re.fullmatch(r"\s*(\d+)(\s+[\d.]+){6}\s+\"([^\"]+)\"", line) for line in lines]
    assert [(int(row[1]), row[3]) for row in rows] == [
        (0, "Clear Label"),
        (1, "spleen"),
        (5, "liver"),
        (25, "liver_tumor"),
    ]


def test_slicer_reads_six_fields_a_line():
    lines = [line.split(" ") for line in slicer_labels(NAMES).splitlines() if line[0] != "#"]
    assert [line[:2] for line in lines] == [
        ["0", "background"],
        ["1", "spleen"],
        ["5", "liver"],
        ["25", "liver_tumor"],
    ]
    assert all(len(line) == 6 for line in lines)
    assert all(0 <= int(part) <= 255 for line in lines for part in line[2:])


def test_no_two_of_the_pools_labels_look_alike():
    colours = [label_colour(value) for value in range(1, 43)]
    for first, one in enumerate(colours):
        for other in colours[:first]:
            assert sum(abs(a - b) for a, b in zip(one, other, strict=True)) > 40, (one, other)
    assert all(max(colour) > 150 for colour in colours)  # visible on black
    assert colorsys.rgb_to_hsv(*colours[0])[1] > 0.3


def test_labels_json_names_the_members():
    rows = json.loads(labels_json(TABLE, ("liver_tumor", "spleen", "liver")))
    assert [(row["id"], row["name"], row["members"]) for row in rows] == [
        (1, "spleen", ["spleen"]),
        (5, "liver", ["liver", "liver_tumor"]),
        (25, "liver_tumor", ["liver_tumor"]),
    ]
