"""The paper's sentences with numbers beside what its own tables give, and what ours give."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from tsfm_pipeline.reporting.cells import Cells
from tsfm_pipeline.reporting.markdown import MISSING, markdown_table

TUMOURS = (
    "liver_tumor",
    "lung_tumor",
    "pancreas_tumor",
    "hepatic_vessel_tumor",
    "colon_tumor",
    "kidney_tumor",
    "breast_tumor",
)
TARGETS = (*TUMOURS, "liver", "pancreas", "hepatic_vessel", "kidney")
"""All columns of Table 1 but the mean."""
DOWNSTREAM = ("BraTS2020/tumor", "KiTS2019/tumor", "Abdomen/multi-organ")
"""The blocks of Table 2."""

CHECK_TITLE = "The paper's sentences with numbers, and what its tables give"
CHECK_COLUMNS = ("place", "quote", "claimed", "measure", "unit", "printed", "ours")

Unit = Literal["points", "percent", "Dice", "count"]


@dataclass(frozen=True)
class Claim:
    """A statement of the paper that its tables can be asked about.

    Attributes:
        place: in the paper.
        quote: word for word.
        claimed: its number.
        measure: what is computed from the tables.
        unit: of that: points (hundredths of Dice), percent of the other's, Dice, or a count.
        compute: gives it; NaN where a number is missing.
    """

    place: str
    quote: str
    claimed: str
    measure: str
    unit: Unit
    compute: Callable[[Cells], float]


def check_paper(printed: Cells, ours: Cells) -> pd.DataFrame:
    """Compute every claim from the paper's tables and from ours.

    Args:
        printed: the paper's numbers.
        ours: our figures in the same places.

    Returns:
        Rows with CHECK_COLUMNS; `ours` is NaN where a figure is missing.
    """
    rows = [
        (
            *(claim.place, claim.quote, claim.claimed, claim.measure, claim.unit),
            claim.compute(printed),
            claim.compute(ours),
        )
        for claim in CLAIMS
    ]
    return pd.DataFrame(rows, columns=list(CHECK_COLUMNS))


def paper_check_markdown(frame: pd.DataFrame) -> str:
    """Render `check_paper` as a table; without a column of ours where it is empty."""
    header = ["where", "the paper says", "claimed", "computed", "paper's tables"]
    kinds = ["printed"]
    if frame["ours"].notna().any():
        header.append("ours")
        kinds.append("ours")
    lines = [
        [
            *(str(row[name]) for name in ("place", "quote", "claimed", "measure")),
            *(in_unit(row[kind], row["unit"]) for kind in kinds),
        ]
        for row in frame.to_dict("records")
    ]
    return markdown_table(header, lines, text_columns=4)


def in_unit(value: float, unit: Unit) -> str:
    """Write a computed value in its unit; `-` for none."""
    if np.isnan(value):
        return MISSING
    if unit == "count":
        return f"{value:.0f}"
    if unit == "percent":
        return f"{100 * value:+.1f} %"
    return f"{100 * value:+.1f} points" if unit == "points" else f"{value:.5f}"


def _mean_difference(row: str, other: str, columns: Iterable[str]) -> Callable[[Cells], float]:
    """Return the mean over columns of Table 1 of row minus other."""
    return lambda cells: _complete_mean(
        cells["table_1", "", row, key] - cells["table_1", "", other, key] for key in columns
    )


def _over_nnunet(budget: str) -> list[Callable[[Cells], float]]:
    """Return TSFM at a budget minus nnU-Net after 1,000 epochs: per dataset, and the mean."""

    def difference(cells: Cells, block: str) -> float:
        ours = cells["table_2", block, "Ours-pretrain", budget]
        return ours - cells["table_2", block, "nnU-Net-1000epoch", "epoch1000"]

    def of(block: str) -> Callable[[Cells], float]:
        return lambda cells: difference(cells, block)

    singles = [of(block) for block in DOWNSTREAM]
    return [*singles, lambda cells: _complete_mean(single(cells) for single in singles)]


def _above(one: Callable[[Cells], list[float]]) -> Callable[[Cells], float]:
    """Count positive differences; NaN where there is none to count."""

    def count(cells: Cells) -> float:
        differences = one(cells)
        return float(sum(d > 0 for d in differences)) if differences else float("nan")

    return count


def _against_nnunet(cells: Cells) -> list[float]:
    where = [("", key) for key in TARGETS]
    return list(cells.differences("table_1", "Ours", "nnU-Net", where))


def _against_stunet(cells: Cells) -> list[float]:
    where = [(block, "epoch100") for block in DOWNSTREAM]
    return list(cells.differences("table_2", "Ours-pretrain", "STU-Net-pretrain", where))


def _after_100_epochs(cells: Cells) -> list[float]:
    values = [single(cells) for single in _over_nnunet("epoch100")[:-1]]
    return [value for value in values if not np.isnan(value)]


def _mean_tumour(row: str) -> Callable[[Cells], float]:
    return lambda cells: _complete_mean(cells["table_1", "", row, key] for key in TUMOURS)


def _pool_gain(row: str) -> Callable[[Cells], float]:
    """Return the whole pool minus a single dataset, mean over Table 3."""
    return lambda cells: _complete_mean(
        cells["table_3", "", "Ours-pretrain", key] - cells["table_3", "", row, key]
        for key in ("brats2020", "kits19", "abdomenct1k")
    )


def _complete_mean(values: Iterable[float]) -> float:
    """Return the mean; NaN where one is."""
    return float(np.mean(list(values)))


def _budget_claims(place: str, quote: str, claimed: str, budget: str) -> list[Claim]:
    names = [*(block.partition("/")[0] for block in DOWNSTREAM), "mean of the three"]
    epochs = budget.removeprefix("epoch")
    return [
        Claim(
            place,
            quote,
            claimed,
            f"Table 2, {name}: TSFM after {epochs} epochs minus nnU-Net after 1000",
            "points",
            compute,
        )
        for name, compute in zip(names, _over_nnunet(budget), strict=True)
    ]


_TWO = (
    "The average performance of our pre-trained model is 2% higher than that of nnU-Net across"
    " various tumor types"
)
_THREE = "achieving an average improvement of 3% over nnU-Net in tumor segmentation"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        *("abstract", _TWO, "+2 %", "Table 1: TSFM minus nnU-Net, mean of 7 tumour columns"),
        unit="points",
        compute=_mean_difference("Ours", "nnU-Net", TUMOURS),
    ),
    Claim(
        *("abstract", _TWO, "+2 %", "Table 1: the same as a percentage of nnU-Net's mean"),
        unit="percent",
        compute=lambda cells: _mean_tumour("Ours")(cells) / _mean_tumour("nnU-Net")(cells) - 1,
    ),
    Claim(
        *(
            "abstract",
            _TWO,
            "+2 %",
            "Table 1: TSFM minus nnU-Net over all 11 columns, organs included",
        ),
        unit="points",
        compute=_mean_difference("Ours", "nnU-Net", TARGETS),
    ),
    Claim(
        *("3.2", _THREE, "+3 %", "Table 1: TSFM minus nnU-Net, mean of 7 tumour columns"),
        unit="points",
        compute=_mean_difference("Ours", "nnU-Net", TUMOURS),
    ),
    Claim(
        *("3.2", "surpassing nnU-Net in most cases", "most"),
        measure="Table 1: columns of 11 in which TSFM is above nnU-Net",
        unit="count",
        compute=_above(_against_nnunet),
    ),
    *_budget_claims(
        "abstract",
        "TSFM only needs 5% training epochs of nnU-Net to achieve similar performance",
        "about 0",
        "epoch50",
    ),
    *_budget_claims(
        "abstract",
        "can surpass nnU-Net by 2% on average with 10% training epoch",
        "+2 %",
        "epoch100",
    ),
    _budget_claims(
        "Table 2",
        "After 100 epochs of transfer training, TSFM can achieve an average performance improvement"
        " of about 3% compared to nnU-Net trained for 1000 epochs",
        "about +3 %",
        "epoch100",
    )[-1],
    _budget_claims(
        "3.3",
        "With only 5% of the trained epoch, we can achieve a performance close to nnU-Net",
        "about 0",
        "epoch50",
    )[-1],
    Claim(
        "4",
        "our model only needs 10% training epochs of nnU-Net to surpass its performance",
        "above",
        "Table 2: datasets of 3 in which 100 epochs are above nnU-Net's 1000",
        unit="count",
        compute=_above(_after_100_epochs),
    ),
    Claim(
        "3.3",
        "also surpassing the STU-Net fine-tuning results at 100 epochs",
        "above",
        "Table 2: datasets of 3 in which TSFM is above STU-Net after 100 epochs",
        unit="count",
        compute=_above(_against_stunet),
    ),
    *(
        Claim(
            *("Table 1", "mean Dice for tumor", printed, f"{row}: mean of its 7 tumour columns"),
            unit="Dice",
            compute=_mean_tumour(row),
        )
        for row, printed in (
            ("nnU-Net", "0.6652"),
            ("SwinUNETR-base", "0.5508"),
            ("nnU-Net-datasetpool", "0.6566"),
            ("SAM-Med3D", "0.5030"),
            ("Ours", "0.7106"),
        )
    ),
    Claim(
        "3.4",
        "the TSFM network structure outperforms nnU-Net",
        "above",
        "Table 1: TSFM minus nnU-Net on the pool, mean of 7 tumour columns",
        unit="points",
        compute=_mean_difference("Ours", "nnU-Net-datasetpool", TUMOURS),
    ),
    *(
        Claim(
            "3.4",
            "significantly better transferability when trained with the dataset pool",
            "above",
            f"Table 3: whole pool minus {name} alone, mean of the three datasets",
            unit="points",
            compute=_pool_gain(row),
        )
        for row, name in (("Ours(AMOS22)", "AMOS22"), ("Ours(Pancreas)", "Pancreas"))
    ),
)
