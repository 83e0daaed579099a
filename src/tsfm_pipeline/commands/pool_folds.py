"""Report several folds as one cross-validation: WORKSPACE WORKSPACE ... -o FOLDER --env paper."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tsfm_pipeline.parameters import Parameters
    from tsfm_pipeline.reporting.folds import Fold


def main(arguments: Sequence[str]) -> int:
    """Write report and tables over all cases of the folds; exit status 2 where they do not fit."""
    parse = argparse.ArgumentParser(
        prog="tsfm-pipeline pool-folds",
        description="Report several folds as one cross-validation: means over all their cases,"
        " intervals over all patients. Each fold was run into a workspace of its own, as"
        " `kedro run --params splits.fold=1,workspace=paper_fold1` does (docs/evaluation.md).",
    )
    add = parse.add_argument
    add("workspaces", nargs="+", metavar="WORKSPACE", help="of a fold each, two or more")
    add("-o", "--output", type=Path, required=True, help="folder of report and tables")
    add("--env", help="environment of all folds; default: local")
    add("--conf-source", default="conf", help="the project's configuration; default: conf")
    given = parse.parse_args(arguments)
    if len(set(given.workspaces)) < max(2, len(given.workspaces)):
        parse.error("name two workspaces or more, each once")

    from kedro.io import DatasetError  # heavy imports wait for right arguments

    from tsfm_pipeline.parameters import load_parameters

    try:
        parameters = load_parameters(given.conf_source, given.env)
        folds = {
            workspace: read_fold(workspace, given.conf_source, given.env, parameters)
            for workspace in given.workspaces
        }
        left_out = write_results(folds, parameters, given.output)
    except (ValueError, OSError, DatasetError) as error:
        sys.stderr.write(f"tsfm-pipeline pool-folds: {error}\n")
        return 2
    for experiment, workspace in left_out.items():
        sys.stderr.write(f"left out: {experiment}, without scores in {workspace}\n")
    sys.stdout.write(f"{len(folds)} folds: {given.output / 'report.html'}\n")
    return 0


def read_fold(
    workspace: str, conf_source: str, environment: str | None, parameters: "Parameters"
) -> "Fold":
    """Read the newest results of a workspace."""
    from kedro.io import DataCatalog

    from tsfm_pipeline.experiments.progress import spec_of
    from tsfm_pipeline.parameters import load_configuration
    from tsfm_pipeline.pipelines.reporting.nodes import describe_provenance
    from tsfm_pipeline.pipelines.reporting.records import model_records
    from tsfm_pipeline.reporting.folds import Fold
    from tsfm_pipeline.training.describe import deciding_settings

    configuration = load_configuration(conf_source, environment, workspace)
    catalog = DataCatalog.from_config(configuration["catalog"])
    statuses = catalog.load("experiment_statuses")
    models_root = catalog.load("models_root")
    provenance = describe_provenance(
        catalog.load("pool_catalogue"),
        catalog.load("leakage"),
        catalog.load("splits"),
        statuses,
        catalog.load("phantom_root"),
        catalog.load("raw_root"),
        models_root,
        parameters.datasets,
        parameters.pool,
        parameters.reporting.model_copy(update={"workspace": workspace}),
    )
    specs = {
        name: spec_of(record.model_folder(models_root))
        for name, record in model_records(models_root, statuses["experiment"]).items()
        if record.status == "finished"
    }
    return Fold(
        scores=catalog.load("all_scores"),
        statuses=statuses,
        provenance=replace(provenance, environment=environment or ""),
        settings={
            name: deciding_settings(spec.settings) | {"epochs": spec.settings.epochs}
            for name, spec in specs.items()
            if spec is not None
        },
    )


def write_results(
    folds: "dict[str, Fold]", parameters: "Parameters", output: Path
) -> dict[str, str]:
    """Write report and tables of all folds together.

    Returns:
        The experiments that are left out, with a workspace that lacks them.

    Raises:
        FoldError: the folds are of different pools or settings, or share a case.
    """
    from tsfm_pipeline.evaluation.folds import pool_folds
    from tsfm_pipeline.files import write_text
    from tsfm_pipeline.files.spreadsheet import csv_text
    from tsfm_pipeline.pipelines.reporting.nodes import (
        add_table_beyond,
        build_tables,
        check_claims,
        compare_grid,
        summarise_dice,
    )
    from tsfm_pipeline.reporting.folds import (
        pooled_provenance,
        pooled_statuses,
        refuse_other_settings,
    )
    from tsfm_pipeline.reporting.latex import tables_latex
    from tsfm_pipeline.reporting.report import report_markdown
    from tsfm_pipeline.reporting.report_page import report_page
    from tsfm_pipeline.reporting.report_tables import ReportTables

    refuse_other_settings(folds)
    scores, left_out = pool_folds({name: fold.scores for name, fold in folds.items()})
    provenance = pooled_provenance([fold.provenance for fold in folds.values()])
    statuses = pooled_statuses(folds, left_out)
    evaluation = parameters.evaluation
    paper = add_table_beyond(scores, parameters.paper_tables, evaluation)
    tests = compare_grid(scores)
    comparison = build_tables(scores, statuses, tests, paper, evaluation, provenance)
    tables = ReportTables(
        comparison=comparison,
        dice=summarise_dice(scores, evaluation),
        tests=tests,
        statuses=statuses,
        paper_check=check_claims(comparison, paper),
    )
    page = report_page(tables, paper, evaluation, provenance)
    output.mkdir(parents=True, exist_ok=True)
    for name, table in (
        ("scores", scores),
        ("dice", tables.dice),
        ("tables", comparison),
        ("comparison_tests", tests),
        ("experiments", statuses),
    ):
        write_text(output / f"{name}.csv", csv_text(table))
    write_text(output / "tables.tex", tables_latex(comparison, paper, provenance))
    write_text(output / "report.md", report_markdown(tables, paper, evaluation, provenance))
    write_text(output / "report.html", page)
    return left_out
