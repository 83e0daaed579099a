"""The tables of a report."""

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class ReportTables:
    """The tables that a report shows.

    Attributes:
        comparison: the paper's tables in long form, with `cell_statistics.STATISTICS_COLUMNS`.
        dice: rows of `dice_summary.dice_summary`.
        tests: rows of `evaluation.statistics.compare_experiments`.
        statuses: experiment, status, reason and pool_version of each experiment.
        paper_check: rows of `paper_check.check_paper`.
    """

    comparison: pd.DataFrame
    dice: pd.DataFrame
    tests: pd.DataFrame
    statuses: pd.DataFrame
    paper_check: pd.DataFrame


def reasons_of(statuses: pd.DataFrame) -> dict[str, str]:
    """Return why experiments failed or were not run; those without a recorded reason are not in it.

    Args:
        statuses: experiment and reason of each experiment.
    """
    rows = statuses[statuses["reason"].fillna("") != ""]
    return dict(zip(rows["experiment"], rows["reason"], strict=True))
