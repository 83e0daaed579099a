"""What a report does not show, and why."""

from dataclasses import dataclass

import pandas as pd

from tsfm_pipeline.reporting.staleness import STALE


@dataclass(frozen=True)
class Missing:
    """Names that share a reason.

    Attributes:
        why: not run, failed, needs checkpoint, stale, ...
        what: experiments, or methods of the paper.
        names: of them, with the reason where one is recorded.
    """

    why: str
    what: str
    names: tuple[str, ...]


def what_is_missing(comparison: pd.DataFrame, statuses: pd.DataFrame) -> list[Missing]:
    """Count the experiments without a current figure, and the paper's methods without any.

    Args:
        comparison: all tables in long form (`comparison.build_table`).
        statuses: experiment, status and reason of each experiment.

    Returns:
        Failed, not run and stale experiments, then methods by their status; what has none is left
        out.
    """
    found = []
    for why in ("failed", "not run", "needs checkpoint"):
        rows = statuses[statuses["status"] == why]
        reasons = rows["reason"].fillna("")
        names = [
            f"{name}: {reason}" if reason else name
            for name, reason in zip(rows["experiment"], reasons, strict=True)
        ]
        found.append(Missing(why, "experiments", tuple(names)))
    stale = comparison.loc[comparison["status"] == STALE, "experiment"].unique()
    found.append(Missing(STALE, "experiments", tuple(stale)))
    methods = comparison[comparison["experiment"] == ""]
    for status, rows in methods.groupby("status", sort=False):
        names = [
            f"{str(row['table']).replace('_', ' ').capitalize()}: {row['row']}"
            for row in rows[["table", "row"]].drop_duplicates().to_dict("records")
        ]
        found.append(Missing(str(status), "methods", tuple(names)))
    return [entry for entry in found if entry.names]
