"""Which cases the report pictures: a typical one per dataset, and the worst of all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tsfm_pipeline.evaluation.extra_targets import without_extra
from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.reporting.paper_tables import PaperTables

MOST_FAILURES = 12


@dataclass(frozen=True)
class Example:
    """A case to be pictured with the predictions of some experiments.

    Attributes:
        key: of the case, dataset/case.
        targets: whose outlines are drawn.
        systems: heading -> experiment.
        dice: heading -> mean Dice over the targets; NaN where none has one.
        note: why this case; for a failure what went wrong.
    """

    key: str
    targets: tuple[str, ...]
    systems: dict[str, str]
    dice: dict[str, float]
    note: str = ""


def systems_of_tables(
    comparison: pd.DataFrame, scores: pd.DataFrame, tables: PaperTables
) -> dict[str, dict[str, str]]:
    """Say which experiments of the tables have scores on a dataset.

    Args:
        comparison: all tables in long form.
        scores: rows of `metrics.SCORES_SCHEMA`.
        tables: definitions of those that are looked at.

    Returns:
        Dataset -> heading of the row -> experiment; of a row of several budgets the largest. An
        experiment that stands in several tables is there once.
    """
    headings = {
        (name, block.name, row.name): row.heading
        for name, table in tables.root.items()
        for block in table.blocks
        for row in block.rows
    }
    datasets = {str(e): list(rows.unique()) for e, rows in scores.groupby("experiment")["dataset"]}
    found: dict[str, dict[str, str]] = {}
    for cell in comparison[comparison["table"].isin(tables.root)].to_dict("records"):
        experiment = str(cell["experiment"])
        for dataset in datasets.get(experiment, []):
            systems = found.setdefault(dataset, {})
            if experiment not in systems.values():
                heading = headings[str(cell["table"]), str(cell["block"]), str(cell["row"])]
                systems[heading] = experiment
    return found


def typical_cases(
    scores: pd.DataFrame, systems: Mapping[str, Mapping[str, str]], evaluation: EvaluationSettings
) -> list[Example]:
    """Choose for each dataset the case nearest to the median Dice of the first system.

    Args:
        scores: rows of `metrics.SCORES_SCHEMA`; the best weights' are used.
        systems: of `systems_of_tables`.
        evaluation: which targets are tumours; of a dataset that has some, only these count.
    """
    scores = without_extra(scores[(scores["weights"] == "best") & scores["dice"].notna()])
    examples = []
    for dataset, experiments in systems.items():
        rows = scores[scores["dataset"] == dataset]
        tumours = rows["target"].map(evaluation.is_tumor).astype(bool)
        rows = rows[tumours] if tumours.any() else rows
        means = {
            heading: found
            for heading, experiment in experiments.items()
            if len(found := rows[rows["experiment"] == experiment].groupby("case")["dice"].mean())
        }
        if not means:
            continue
        first = next(iter(means.values()))
        case = str((first - first.median()).abs().idxmin())
        examples.append(
            Example(
                key=f"{dataset}/{case}",
                targets=tuple(dict.fromkeys(rows["target"])),
                systems={heading: experiments[heading] for heading in means},
                dice={heading: float(found.get(case, np.nan)) for heading, found in means.items()},
            )
        )
    return examples


def failures(
    scores: pd.DataFrame, experiments: Sequence[str], most: int = MOST_FAILURES
) -> list[Example]:
    """Choose the worst case of every experiment, dataset and target, and of these the worst.

    Args:
        scores: rows of `metrics.SCORES_SCHEMA`; of checkpoints the best is used.
        experiments: which of them.
        most: how many are chosen.

    Returns:
        Worst first; among equals larger references come first, because to lose them is worse.
        `note`: missed, false positive, elsewhere or partly, as far as the scores tell.
    """
    chosen = scores["experiment"].isin(experiments) & (scores["weights"] == "best")
    rows = without_extra(scores[chosen & scores["dice"].notna()])
    rows = rows.sort_values(["dice", "reference_ml"], ascending=[True, False])
    rows = rows.drop_duplicates(["experiment", "dataset", "target"]).head(most)
    return [
        Example(
            key=f"{row['dataset']}/{row['case']}",
            targets=(str(row["target"]),),
            systems={str(row["experiment"]): str(row["experiment"])},
            dice={str(row["experiment"]): float(row["dice"])},
            note=_reason(row["reference_voxels"], row["prediction_voxels"], row["dice"]),
        )
        for row in rows.to_dict("records")
    ]


def _reason(reference: int, prediction: int, dice: float) -> str:
    if prediction == 0:
        return "missed"
    if reference == 0:
        return "false positive"
    return "elsewhere" if dice == 0 else "partly"
