"""The report: every table of this run as one Markdown text."""

import pandas as pd

from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.reporting.comparison import SHOWN
from tsfm_pipeline.reporting.markdown import Provenance, paper_table_markdown
from tsfm_pipeline.reporting.paper_tables import PaperTables
from tsfm_pipeline.reporting.score_sections import (
    comparison_tests_markdown,
    dice_summary_markdown,
)
from tsfm_pipeline.reporting.staleness import unknown_pipelines


def report_markdown(
    comparison: pd.DataFrame,
    dice: pd.DataFrame,
    comparison_tests: pd.DataFrame,
    experiment_statuses: pd.DataFrame,
    paper_tables: PaperTables,
    evaluation: EvaluationSettings,
    provenance: Provenance,
) -> str:
    """Render our scores, the paper's tables beside them, the tests, and what failed.

    Args:
        comparison: the paper's tables in long form (`comparison.build_table`).
        dice: rows of `dice_summary.dice_summary`.
        comparison_tests: rows of `evaluation.statistics.compare_experiments`.
        experiment_statuses: experiment, status, reason and pool_version of each experiment.
        paper_tables: the paper's tables.
        evaluation: how was scored.
        provenance: for the headers.
    """
    parts = [dice_summary_markdown(dice, provenance, evaluation.nsd_tolerance_mm)]
    for name, table in paper_tables.root.items():
        rows = comparison[comparison["table"] == name]
        if rows["status"].isin(SHOWN).any():
            parts.append(paper_table_markdown(rows, table, provenance))
        else:
            parts.append(f"## {table.title}\n\nNot run in this environment.\n")
    parts.append(comparison_tests_markdown(comparison_tests, provenance))
    failed = experiment_statuses[experiment_statuses["status"] == "failed"]
    if not failed.empty:
        parts.append("## Failed experiments\n")
        parts += [f"- {row.experiment}: {row.reason}" for row in failed.itertuples()]
    unknown = unknown_pipelines(experiment_statuses)
    if unknown:
        parts.append(
            "## Pool version unknown\n\n- Run before it was recorded, so perhaps on another pool:"
            f" {', '.join(unknown)}."
        )
    return "\n".join(parts)
