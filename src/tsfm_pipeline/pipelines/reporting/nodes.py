"""Nodes of the reporting pipeline: tables and texts."""

import logging
from pathlib import Path

import pandas as pd

from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.evaluation.statistics import compare_experiments
from tsfm_pipeline.evaluation.summary import summarise
from tsfm_pipeline.evaluation.threshold import BASELINE
from tsfm_pipeline.experiments.beyond import BEYOND_ROWS
from tsfm_pipeline.experiments.comparisons import COMPARISONS
from tsfm_pipeline.pipelines.phantom.datasets import phantoms_among
from tsfm_pipeline.pool.duplicates import patient_groups
from tsfm_pipeline.pool.leakage import leaking_cases
from tsfm_pipeline.pool.roles import scored_role
from tsfm_pipeline.pool.settings import PoolSettings
from tsfm_pipeline.reporting.beyond import with_table_beyond
from tsfm_pipeline.reporting.cell_statistics import with_statistics
from tsfm_pipeline.reporting.cells import Cells
from tsfm_pipeline.reporting.comparison import build_table
from tsfm_pipeline.reporting.dice_summary import dice_summary
from tsfm_pipeline.reporting.figures.drawing import SavedDrawing
from tsfm_pipeline.reporting.headlines import headlines
from tsfm_pipeline.reporting.latex import tables_latex
from tsfm_pipeline.reporting.paper_check import check_paper
from tsfm_pipeline.reporting.paper_tables import PaperTables
from tsfm_pipeline.reporting.provenance import Provenance
from tsfm_pipeline.reporting.report import report_markdown
from tsfm_pipeline.reporting.report_page import report_page
from tsfm_pipeline.reporting.report_tables import ReportTables
from tsfm_pipeline.reporting.settings import ReportingSettings
from tsfm_pipeline.reporting.staleness import stale_experiments
from tsfm_pipeline.sources import Datasets

logger = logging.getLogger(__name__)


def describe_provenance(
    pool_catalogue: pd.DataFrame,
    leakage: pd.DataFrame,
    splits: pd.DataFrame,
    experiment_statuses: pd.DataFrame,
    phantom_root: Path,
    raw_root: Path,
    models_root: Path,
    datasets: Datasets,
    pool: PoolSettings,
    reporting: ReportingSettings,
) -> Provenance:
    """Say which data the figures come from, what chose the weights, and which are of before."""
    from tsfm_pipeline.pipelines.reporting.records import (
        model_records,
        origins,
        selections,
    )
    from tsfm_pipeline.tracking.runs import ENVIRONMENT_TAG, PARAMS_TAG, tag_of_run

    version = str(splits["pool_version"].iat[0])
    used = pool_catalogue[pool_catalogue["key"].isin(splits["key"])]
    versions = experiment_statuses["pool_version"].fillna("").astype(str)
    pools = dict(zip(experiment_statuses["experiment"], versions, strict=True))
    records = model_records(models_root, pools)
    names = {str(name): int(n) for name, n in used["dataset"].value_counts().items()}
    scored = splits[splits["role"] == scored_role(splits)]
    persons = dict(zip(used["key"], patient_groups(used, leakage), strict=True))
    return Provenance(
        workspace=reporting.workspace,
        pool=version,
        leaking=int(leaking_cases(used, leakage, pool).sum()),
        phantoms=phantoms_among(names, datasets, raw_root, phantom_root),
        stale=stale_experiments(experiment_statuses, version),
        environment=tag_of_run(ENVIRONMENT_TAG),
        params=tag_of_run(PARAMS_TAG),
        datasets=names,
        origins=origins(records, models_root, pools),
        selections={
            name: (one,)
            for name, one in selections(records, models_root, set(scored["key"]), persons).items()
        },
        folds=tuple(map(int, scored["fold"].unique())),
    )


def add_table_beyond(
    all_scores: pd.DataFrame, paper_tables: PaperTables, evaluation: EvaluationSettings
) -> PaperTables:
    """Add the table of studies and of a user's own experiments to the paper's."""
    return with_table_beyond(paper_tables, BEYOND_ROWS, all_scores, evaluation)


def build_tables(
    all_scores: pd.DataFrame,
    experiment_statuses: pd.DataFrame,
    comparison_tests: pd.DataFrame,
    paper_tables: PaperTables,
    evaluation: EvaluationSettings,
    provenance: Provenance,
) -> pd.DataFrame:
    """Build every table in long form, with our figures and how sure they are."""
    _warn_of_gaps(all_scores, experiment_statuses)
    summary = summarise(all_scores, resamples=1)  # of the cells' own intervals, below
    statuses = dict(
        zip(experiment_statuses["experiment"], experiment_statuses["status"], strict=True)
    )
    frames = [
        with_statistics(
            build_table(name, table, summary, statuses, provenance.stale),
            table,
            all_scores,
            comparison_tests,
            evaluation.bootstrap_resamples,
        )
        for name, table in paper_tables.root.items()
    ]
    return pd.concat(frames, ignore_index=True)


def _warn_of_gaps(all_scores: pd.DataFrame, experiment_statuses: pd.DataFrame) -> None:
    """Name experiments of which one of the two tables knows and the other does not."""
    finished = experiment_statuses["status"] == "finished"
    done = set(experiment_statuses.loc[finished, "experiment"]) - {BASELINE}
    scored = set(all_scores["experiment"]) - {BASELINE}  # has no status where it is run
    for what, names in (
        ("finished, but have no scores", done - scored),
        ("scored, but have no status", scored - set(experiment_statuses["experiment"])),
    ):
        if names:
            logger.warning(
                "%d experiment(s) are %s: %s; `kedro run` of their pipeline makes them",
                len(names),
                what,
                ", ".join(sorted(names)[:5]) + (", ..." if names - set(sorted(names)[:5]) else ""),
            )


def summarise_dice(all_scores: pd.DataFrame, evaluation: EvaluationSettings) -> pd.DataFrame:
    """Average the scores of every experiment, dataset and target."""
    return dice_summary(summarise(all_scores, evaluation.bootstrap_resamples), evaluation)


def compare_grid(all_scores: pd.DataFrame) -> pd.DataFrame:
    """Test the experiments of the tables and the studies against each other."""
    return compare_experiments(all_scores, COMPARISONS)


def check_claims(comparison: pd.DataFrame, paper_tables: PaperTables) -> pd.DataFrame:
    """Compute the paper's claims from its own tables, and from ours."""
    return check_paper(Cells.printed(paper_tables), Cells.of(comparison, "ours"))


def write_latex(comparison: pd.DataFrame, paper_tables: PaperTables, provenance: Provenance) -> str:
    """Write every table as LaTeX."""
    return tables_latex(comparison, paper_tables, provenance)


def write_report(
    comparison: pd.DataFrame,
    dice: pd.DataFrame,
    comparison_tests: pd.DataFrame,
    experiment_statuses: pd.DataFrame,
    paper_check: pd.DataFrame,
    paper_tables: PaperTables,
    evaluation: EvaluationSettings,
    provenance: Provenance,
) -> str:
    """Render all tables as one Markdown report; log it to the tracked run."""
    from tsfm_pipeline.tracking.runs import log_text

    tables = ReportTables(comparison, dice, comparison_tests, experiment_statuses, paper_check)
    report = report_markdown(tables, paper_tables, evaluation, provenance)
    log_text(report, "report.md")
    return report


def write_report_page(
    comparison: pd.DataFrame,
    dice: pd.DataFrame,
    comparison_tests: pd.DataFrame,
    experiment_statuses: pd.DataFrame,
    paper_check: pd.DataFrame,
    paper_tables: PaperTables,
    evaluation: EvaluationSettings,
    provenance: Provenance,
    worst_cases: SavedDrawing,
    example_cases: SavedDrawing,
    *figures: SavedDrawing,
) -> str:
    """Render the report as one page; log it to the tracked run, and its headlines to the console.

    Args:
        comparison: with the other tables, see `ReportTables`.
        dice: likewise.
        comparison_tests: likewise.
        experiment_statuses: likewise.
        paper_check: likewise.
        paper_tables: the paper's tables.
        evaluation: how was scored.
        provenance: where the figures come from.
        worst_cases: the figure whose cases are listed.
        example_cases: likewise.
        figures: all, in the order they stand in.
    """
    from tsfm_pipeline.tracking.runs import log_text

    tables = ReportTables(comparison, dice, comparison_tests, experiment_statuses, paper_check)
    pictures = [figure.svg for figure in figures]
    cases = (worst_cases.data, example_cases.data)
    page = report_page(tables, paper_tables, evaluation, provenance, pictures, cases)
    log_text(page, "report.html")
    for headline in headlines(comparison, paper_tables, dice, provenance.stale):
        logger.info("%s", headline)
    return page
