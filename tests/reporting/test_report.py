"""The report as one text."""

import pandas as pd

from tests.reporting.test_markdown import PHANTOMS
from tsfm_pipeline.evaluation.statistics import COMPARISON_COLUMNS
from tsfm_pipeline.reporting.cells import Cells
from tsfm_pipeline.reporting.comparison import TABLE_COLUMNS
from tsfm_pipeline.reporting.dice_summary import dice_summary
from tsfm_pipeline.reporting.paper_check import check_paper
from tsfm_pipeline.reporting.paper_tables import PaperTables
from tsfm_pipeline.reporting.report import report_markdown
from tsfm_pipeline.reporting.report_tables import ReportTables


def report(statuses, summary, evaluation, version="v1") -> str:
    frame = pd.DataFrame(statuses, columns=["experiment", "status", "reason"])
    tables = ReportTables(
        comparison=pd.DataFrame(columns=list(TABLE_COLUMNS)),
        dice=dice_summary(summary, evaluation),
        tests=pd.DataFrame(columns=list(COMPARISON_COLUMNS)),
        statuses=frame.assign(pool_version=version),
        paper_check=check_paper(Cells({}), Cells({})),
    )
    return report_markdown(tables, PaperTables.model_validate({}), evaluation, PHANTOMS)


def test_what_failed_is_listed_with_its_reason(evaluation, summary_of) -> None:
    summary = summary_of(("pretrain.tsfm", "best", "a", "liver", 0.8))
    fine = ("pretrain.tsfm", "finished", "")
    left_out = ("transfer.b", "not run", "no data")
    problem = "prediction of a/1 failed: OSError: disk full"
    text = report([fine, left_out, ("transfer.a", "failed", problem)], summary, evaluation)
    _, _, failed = text.partition("## Failed experiments")
    assert failed.strip().splitlines() == [f"- transfer.a: {problem}"]
    assert "Failed experiments" not in report([fine, left_out], summary, evaluation)


def test_what_was_run_before_its_pool_was_recorded_is_named(evaluation, summary_of) -> None:
    statuses = [
        ("transfer.a", "finished", ""),
        ("transfer.b", "finished", ""),
        ("ablation.c", "not run", "no data"),
    ]
    summary = summary_of(("transfer.a", "best", "a", "liver", 0.8))
    _, _, unknown = report(statuses, summary, evaluation, None).partition("## Pool version unknown")
    assert unknown.strip().endswith("perhaps on another pool: transfer.")
    assert "unknown" not in report(statuses, summary, evaluation)
