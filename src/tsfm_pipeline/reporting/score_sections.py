"""The report's sections on our own scores, as Markdown."""

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd

from tsfm_pipeline.evaluation.statistics import FEWEST_PAIRS
from tsfm_pipeline.evaluation.threshold import BASELINE
from tsfm_pipeline.reporting.dice_summary import experiment_title
from tsfm_pipeline.reporting.markdown import MISSING, markdown_table, number
from tsfm_pipeline.reporting.provenance import Provenance

DICE_HEADER = (
    *("dataset", "target", "best", "95 % CI", "final", "threshold", "NSD", "HD95 mm"),
    *("cases", "missed", "empty", "false"),
)

EXTRA_NOTE = (
    "- *In italics*: another reading of the targets above, scored from the same predictions, a"
    " label without what lies in it or a union, in no mean and no test (docs/evaluation.md)."
)

COMPARED = ("experiment", "baseline")
"""The two sides of a test."""


def dice_summary_markdown(
    frame: pd.DataFrame, provenance: Provenance, nsd_tolerance_mm: float
) -> str:
    """Render `dice_summary` with one table per experiment, then lesions and conventions."""
    parts = ["## Dice per experiment, dataset and target", "", provenance.header(), ""]
    for (experiment, protocol), rows in frame.groupby(["experiment", "protocol"], sort=False):
        lines = [_dice_line(row, provenance) for row in rows.to_dict("records")]
        title = _title(experiment, protocol, provenance)
        parts += [f"### {title}", "", markdown_table(DICE_HEADER, lines, text_columns=2), ""]
    shown = [*map(str, frame["experiment"])]
    if frame["threshold"].notna().any():
        shown.append(BASELINE)
    parts += [
        *(f"- {note}" for note in provenance.notes(shown)),
        *(f"- {note}" for note in provenance.selected_on(shown)),
        "- best, final: mean Dice over the held-out cases with each checkpoint. The other columns"
        " are the best one's. A method without checkpoints stands under final.",
        "- 95 % CI: percentile bootstrap of the mean over patients; none for a single patient.",
        *([EXTRA_NOTE] if (frame["kind"] == "extra").any() else []),
        "- threshold: best intensity interval per target, fitted on the training cases.",
        f"- NSD: normalised surface Dice at {nsd_tolerance_mm:g} mm; HD95: 95th percentile"
        " Hausdorff distance, without the missed and false cases, which have none"
        " (docs/evaluation.md).",
        "- cases: those with a Dice; missed: the prediction is empty, the reference is not (Dice"
        " 0); empty: both are, so there is no Dice; false: only the reference is empty (Dice 0).",
        "",
        *_lesions(frame, provenance),
        *_conventions(frame, provenance),
    ]
    return "\n".join(parts)


def comparison_tests_markdown(frame: pd.DataFrame, provenance: Provenance) -> str:
    """Render `evaluation.statistics.compare_experiments`: the pairs that could be tested."""
    tested = frame[frame["status"] == "tested"]
    parts = ["## Experiments against each other", ""]
    if not tested.empty:
        header = [
            *("experiment", "against", "target", "difference"),
            *("patients", "left out", "p", "p (Holm)"),
        ]
        lines = [
            [
                *(provenance.marked(str(row[name]), str(row[name])) for name in COMPARED),
                str(row["target"]),
                f"{row['mean_difference']:+.4f}",
                str(row["n_pairs"]),
                str(row["n_left_out"]),
                _p_value(row["p"]),
                _p_value(row["p_holm"]),
            ]
            for row in tested.to_dict("records")
        ]
        parts += [
            markdown_table(header, lines, text_columns=3),
            "",
            "- Mean difference in Dice of the final checkpoints on the same held-out cases. Left"
            " out: cases in which only one of the two has a Dice.",
            "- p: two-sided Wilcoxon signed-rank test over patients; p (Holm): corrected over all"
            " tests of this table.",
            *(f"- {note}" for note in provenance.notes(tested[[*COMPARED]].to_numpy().ravel())),
        ]
    untested = len(frame) - len(tested)
    if untested or tested.empty:
        parts.append(
            f"- Without a test: {untested} comparisons, because fewer than {FEWEST_PAIRS} patients"
            " differ. Their differences are in comparison_tests.csv."
        )
    return "\n".join([*parts, ""])


def _title(experiment: object, protocol: object, provenance: Provenance) -> str:
    return provenance.marked(experiment_title(str(experiment), str(protocol)), str(experiment))


def _dice_line(row: dict[Hashable, Any], provenance: Provenance) -> list[str]:
    mean = row["kind"] == "mean"
    emphasis = {"mean": "**", "extra": "*"}.get(str(row["kind"]), "")
    interval = (
        MISSING
        if np.isnan(row["best_low"])
        else f"{number(row['best_low'])}-{number(row['best_high'])}"
    )
    threshold = number(row["threshold"])
    if threshold != MISSING:
        threshold = provenance.marked(threshold, BASELINE)
    counts = ("n", "n_missed", "n_both_empty", "n_false_positive_on_empty")
    return [
        str(row["dataset"]),
        f"{emphasis}{row['target']}{emphasis}",
        number(row["best"]),
        "" if mean else interval,
        number(row["final"]),
        threshold,
        number(row["nsd"]),
        number(row["hd95"], digits=1),
        *("" if mean and name == "n" else str(row[name]) for name in counts),
    ]


def _lesions(frame: pd.DataFrame, provenance: Provenance) -> list[str]:
    tumours = frame[frame["reference_lesions"].notna() & (frame["kind"] != "mean")]
    if tumours.empty:
        return []
    lines = [
        [
            _title(row["experiment"], row["protocol"], provenance),
            str(row["dataset"]),
            str(row["target"]),
            f"{row['reference_lesions']:.0f}",
            number(row["lesion_sensitivity"]),
            number(row["false_positive_lesions"], digits=2),
        ]
        for row in tumours.to_dict("records")
    ]
    header = ["experiment", "dataset", "target", "lesions", "sensitivity", "false per case"]
    return [
        "## Lesions of the tumour targets",
        "",
        markdown_table(header, lines, text_columns=3),
        "",
        "- Lesions are connected components (26 neighbours) of the reference; one is found when the"
        " prediction of the best checkpoint touches it, and a predicted one that touches none is"
        " false.",
        "",
    ]


def _conventions(frame: pd.DataFrame, provenance: Provenance) -> list[str]:
    """Show the means of all conventions where a case makes them differ."""
    empty = frame["n_both_empty"] + frame["n_false_positive_on_empty"] > 0
    differing = frame[empty & frame["kind"].isin(("organ", "tumour"))]
    if differing.empty:
        return []
    names = ("best", "dice_both_empty_as_1", "dice_without_empty_reference")
    lines = [
        [
            _title(row["experiment"], row["protocol"], provenance),
            str(row["dataset"]),
            str(row["target"]),
            *(number(row[name]) for name in names),
            str(row["n_both_empty"]),
            str(row["n_false_positive_on_empty"]),
        ]
        for row in differing.to_dict("records")
    ]
    header = [
        *("experiment", "dataset", "target", "nnU-Net", "empty counts 1", "empty left out"),
        *("empty", "false"),
    ]
    return [
        "## Where the conventions for empty references differ",
        "",
        markdown_table(header, lines, text_columns=3),
        "",
        "- Mean Dice of the best checkpoint. nnU-Net (all other tables): both empty is left out, a"
        " false positive counts 0. Empty counts 1: both empty is a perfect 1 (MONAI,"
        " ignore_empty=False). Empty left out: no case with an empty reference counts (MONAI,"
        " ignore_empty=True).",
        "",
    ]


def _p_value(value: float) -> str:
    if np.isnan(value):
        return MISSING
    return f"{value:.4f}" if value >= 1e-4 else f"{value:.1e}"
