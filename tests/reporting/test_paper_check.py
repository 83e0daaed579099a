"""The paper's claims, against a transcription that was made apart from the parameters.

Below are the paper's tables as they are printed: Table 1 in its two halves, 2 and 3 line by line.
"""

from pathlib import Path

import numpy as np
import pytest

from tsfm_pipeline.reporting.cells import Cells
from tsfm_pipeline.reporting.paper_check import (
    CLAIMS,
    check_paper,
    in_unit,
    paper_check_markdown,
)
from tsfm_pipeline.reporting.paper_tables import PaperTables

PAGE = Path(__file__).parents[2] / "docs" / "paper_check.md"

LEFT = """
Liver/liver Liver/tumor Lung/tumor Pancreas/pancreas Pancreas/tumor HepaticVessel/vessel HepaticVessel/tumor
nnU-Net 0.9621 0.5781 0.6216 0.8092 0.5791 0.6400 0.7360
SwinUNETR-base 0.9297 0.4927 0.5257 0.7471 0.5121 0.5884 0.6142
nnU-Net-datasetpool 0.9579 0.5722 0.5884 0.7938 0.5643 0.6377 0.7315
SAM-Med3D 0.9235 0.5387 0.4492 0.5768 0.3144 0.1564 0.5685
Ours 0.9619 0.6209 0.6391 0.8071 0.6535 0.6426 0.7462
"""  # noqa: E501
RIGHT = """
Colon/tumor KiTS2021/kidney KiTS2021/tumor Breast/tumor mean
nnU-Net 0.5271 0.9684 0.8695 0.7451 0.6652
SwinUNETR-base 0.4880 0.9135 0.5788 0.6446 0.5508
nnU-Net-datasetpool 0.5815 0.9618 0.8328 0.7261 0.6566
SAM-Med3D 0.4554 0.6835 0.4426 0.7524 0.5030
Ours 0.6620 0.9650 0.8608 0.7923 0.7106
"""
TRANSFER = {  # Ours-pretrain, Ours-nopretrain, STU-Net-pretrain at 10, 20, 50, 100; nnU-Net's 1000
    "BraTS2020/tumor": """
        0.5158 0.5355 0.5481 0.5571
        0.1023 0.2056 0.2789 0.3763
        0.5162 0.5362 0.5475 0.5548
        0.5553""",
    "KiTS2019/tumor": """
        0.6723 0.7953 0.8045 0.8503
        0.1306 0.2221 0.5589 0.7413
        0.6146 0.7182 0.8003 0.8036
        0.8454""",
    "Abdomen/multi-organ": """
        0.9309 0.9355 0.9402 0.9437
        0.6946 0.7963 0.8686 0.9025
        0.9264 0.9395 0.9416 0.9426
        0.9337""",
}
SINGLE = {"Ours-pretrain": (0.5571, 0.8503, 0.9437), "Ours(AMOS22)": (0.5446, 0.8329, 0.9397)}
SINGLE["Ours(Pancreas)"] = (0.5423, 0.8219, 0.9245)


def halves(text):
    """Return method -> heading -> number."""
    header, *lines = (line.split() for line in text.strip().splitlines())
    return {name: dict(zip(header, map(float, n), strict=True)) for name, *n in lines}


TABLE_1 = {name: row | halves(RIGHT)[name] for name, row in halves(LEFT).items()}
TABLE_2 = {
    block: [list(map(float, line.split())) for line in text.strip().splitlines()]
    for block, text in TRANSFER.items()
}


@pytest.fixture
def printed(tables):
    return Cells.printed(PaperTables.model_validate(tables))


def test_the_parameters_are_the_transcription(tables, printed):
    columns = {
        "/".join((c.group, c.name)) if c.name else "mean": c.key for c in tables["table_1"].columns
    }
    transcribed = {
        ("table_1", "", row, columns[heading]): value
        for row, values in TABLE_1.items()
        for heading, value in values.items()
    }
    rows = ("Ours-pretrain", "Ours-nopretrain", "STU-Net-pretrain")
    for block, (*curves, (last,)) in TABLE_2.items():
        transcribed["table_2", block, "nnU-Net-1000epoch", "epoch1000"] = last
        for row, values in zip(rows, curves, strict=True):
            for budget, value in zip((10, 20, 50, 100), values, strict=True):
                transcribed["table_2", block, row, f"epoch{budget}"] = value
    for row, values in SINGLE.items():
        for key, value in zip(("brats2020", "kits19", "abdomenct1k"), values, strict=True):
            transcribed["table_3", "", row, key] = value
    assert dict(printed.values) == transcribed


def tumours(row):
    return np.array([v for heading, v in TABLE_1[row].items() if heading.endswith("/tumor")])


def over_nnunet(column):
    return [curves[0][column] - curves[-1][0] for curves in TABLE_2.values()]


def test_every_claim_by_hand(printed):
    found = check_paper(printed, Cells({}))
    ours, nnunet = tumours("Ours"), tumours("nnU-Net")
    both = [[v for h, v in TABLE_1[row].items() if h != "mean"] for row in ("Ours", "nnU-Net")]
    difference = np.subtract(*both)
    at_50, at_100 = over_nnunet(2), over_nnunet(3)
    stunet = [curves[0][3] - curves[2][3] for curves in TABLE_2.values()]
    whole, amos, pancreas = (np.array(SINGLE[row]) for row in SINGLE)
    expected = [
        (ours - nnunet).mean(),
        ours.mean() / nnunet.mean() - 1,
        difference.mean(),
        (ours - nnunet).mean(),
        sum(difference > 0),
        *at_50,
        np.mean(at_50),
        *at_100,
        np.mean(at_100),
        np.mean(at_100),
        np.mean(at_50),
        sum(d > 0 for d in at_100),
        sum(d > 0 for d in stunet),
        *(tumours(row).mean() for row in TABLE_1),
        (ours - tumours("nnU-Net-datasetpool")).mean(),
        (whole - amos).mean(),
        (whole - pancreas).mean(),
    ]
    assert found["printed"].tolist() == pytest.approx(expected)
    assert found["ours"].isna().all()
    lead = found["printed"].iloc[0]
    assert in_unit(lead, "points") == "+4.5 points"  # where the abstract says 2 %


def test_printed_means_are_claimed_as_they_are_printed():
    means = {c.measure.partition(":")[0]: c.claimed for c in CLAIMS if c.unit == "Dice"}
    assert {row: float(text) for row, text in means.items()} == {
        row: values["mean"] for row, values in TABLE_1.items()
    }


def test_ours_are_computed_where_nothing_is_missing(tables, printed):
    ours = Cells({place: value / 2 for place, value in printed.values.items()})
    found = check_paper(printed, ours)
    points = found["unit"] == "points"
    assert found["ours"][points].tolist() == pytest.approx(list(found["printed"][points] / 2))
    some = {place: v for place, v in ours.values.items() if place[3] != "colon_tumor"}
    assert np.isnan(check_paper(printed, Cells(some))["ours"].iloc[0])


def test_the_page_of_the_docs_says_the_same(printed):
    assert paper_check_markdown(check_paper(printed, Cells({}))) in PAGE.read_text()
