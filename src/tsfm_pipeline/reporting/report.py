"""The report: every table of this run as one Markdown text."""

from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.reporting.beyond import BEYOND
from tsfm_pipeline.reporting.comparison import SHOWN
from tsfm_pipeline.reporting.markdown import (
    own_table_markdown,
    paper_table_markdown,
    reason_notes,
)
from tsfm_pipeline.reporting.paper_check import CHECK_TITLE, paper_check_markdown
from tsfm_pipeline.reporting.paper_tables import PaperTables
from tsfm_pipeline.reporting.provenance import Provenance
from tsfm_pipeline.reporting.report_tables import ReportTables, reasons_of
from tsfm_pipeline.reporting.score_sections import (
    comparison_tests_markdown,
    dice_summary_markdown,
)
from tsfm_pipeline.reporting.staleness import unknown_pipelines


def report_markdown(
    tables: ReportTables,
    paper_tables: PaperTables,
    evaluation: EvaluationSettings,
    provenance: Provenance,
) -> str:
    """Render our scores, the paper's tables beside them, the tests, and what failed.

    Args:
        tables: what it shows.
        paper_tables: definitions of the tables: the paper's, and the one beyond it.
        evaluation: how was scored.
        provenance: for the headers.
    """
    comparison, statuses = tables.comparison, tables.statuses
    reasons = reasons_of(statuses)
    parts = [dice_summary_markdown(tables.dice, provenance, evaluation.nsd_tolerance_mm)]
    for name, table in paper_tables.root.items():
        rows = comparison[comparison["table"] == name]
        if rows["status"].isin(SHOWN).any():
            render = own_table_markdown if name == BEYOND else paper_table_markdown
            parts.append(render(rows, table, provenance, reasons))
        else:
            notes = "".join(f"- {note}\n" for note in reason_notes(rows, reasons))
            parts.append(f"## {table.title}\n\nNot run in this environment.\n\n{notes}")
    parts.append(comparison_tests_markdown(tables.tests, provenance))
    parts.append(f"## {CHECK_TITLE}\n\n{paper_check_markdown(tables.paper_check)}\n")
    failed = statuses[statuses["status"] == "failed"]
    if not failed.empty:
        parts.append("## Failed experiments\n")
        parts += [f"- {row.experiment}: {row.reason}" for row in failed.itertuples()]
    unknown = unknown_pipelines(statuses)
    if unknown:
        parts.append(
            "## Pool version unknown\n\n- Run before it was recorded, so perhaps on another pool:"
            f" {', '.join(unknown)}."
        )
    return "\n".join(parts)
