"""Nodes of the reporting pipeline."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.evaluation.statistics import compare_experiments
from tsfm_pipeline.evaluation.summary import summarise
from tsfm_pipeline.experiments.comparisons import COMPARISONS
from tsfm_pipeline.pool.leakage import leaking_cases
from tsfm_pipeline.pool.settings import PoolSettings
from tsfm_pipeline.reporting.comparison import build_table
from tsfm_pipeline.reporting.dice_summary import dice_summary
from tsfm_pipeline.reporting.figure import comparison_figure
from tsfm_pipeline.reporting.markdown import Provenance
from tsfm_pipeline.reporting.paper_tables import PaperTables
from tsfm_pipeline.reporting.report import report_markdown
from tsfm_pipeline.reporting.settings import ReportingSettings
from tsfm_pipeline.reporting.staleness import stale_experiments


def describe_provenance(
    pool_catalogue: pd.DataFrame,
    leakage: pd.DataFrame,
    splits: pd.DataFrame,
    experiment_statuses: pd.DataFrame,
    phantom_root: Path,
    raw_root: Path,
    pool: PoolSettings,
    reporting: ReportingSettings,
) -> Provenance:
    """Say which data the figures come from, and which figures come from an earlier pool."""
    version = str(splits["pool_version"].iat[0])
    used = pool_catalogue[pool_catalogue["key"].isin(splits["key"])]
    return Provenance(
        workspace=reporting.workspace,
        pool=version,
        leaking=int(leaking_cases(used, leakage, pool).sum()),
        phantoms=raw_root == phantom_root,
        stale=stale_experiments(experiment_statuses, version),
    )


def build_tables(
    all_scores: pd.DataFrame,
    experiment_statuses: pd.DataFrame,
    paper_tables: PaperTables,
    provenance: Provenance,
) -> pd.DataFrame:
    """Build every table of the paper in long form, with our figures."""
    summary = summarise(all_scores)
    statuses = dict(
        zip(experiment_statuses["experiment"], experiment_statuses["status"], strict=True)
    )
    frames = [
        build_table(name, table, summary, statuses, provenance.stale)
        for name, table in paper_tables.root.items()
    ]
    return pd.concat(frames, ignore_index=True)


def summarise_dice(all_scores: pd.DataFrame, evaluation: EvaluationSettings) -> pd.DataFrame:
    """Average the scores of every experiment, dataset and target."""
    return dice_summary(summarise(all_scores, evaluation.bootstrap_resamples), evaluation)


def compare_grid(all_scores: pd.DataFrame) -> pd.DataFrame:
    """Test the experiments that Tables 2 and 3 compare against each other."""
    return compare_experiments(all_scores, COMPARISONS)


def write_report(
    comparison: pd.DataFrame,
    dice: pd.DataFrame,
    comparison_tests: pd.DataFrame,
    experiment_statuses: pd.DataFrame,
    paper_tables: PaperTables,
    evaluation: EvaluationSettings,
    provenance: Provenance,
) -> str:
    """Render all tables as one Markdown report; log it to the tracked run."""
    from tsfm_pipeline.tracking.runs import log_text

    report = report_markdown(
        comparison,
        dice,
        comparison_tests,
        experiment_statuses,
        paper_tables,
        evaluation,
        provenance,
    )
    log_text(report, "report.md")
    return report


def draw_comparison(
    comparison: pd.DataFrame, paper_tables: PaperTables, provenance: Provenance
) -> Figure:
    """Draw the paper's Table 1 against our figures."""
    name, table = next(iter(paper_tables.root.items()))
    return comparison_figure(comparison[comparison["table"] == name], table, provenance)
