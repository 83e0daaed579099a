"""Wiring of the reporting pipeline."""

from kedro.pipeline import Node, Pipeline

from tsfm_pipeline.experiments.grid import PIPELINES
from tsfm_pipeline.pipelines.experiment.nodes import concatenate_tables
from tsfm_pipeline.pipelines.reporting.nodes import (
    build_tables,
    compare_grid,
    describe_provenance,
    draw_comparison,
    summarise_dice,
    write_report,
)


def create_pipeline() -> Pipeline:
    """Create the report from whatever has been run; what is absent shows as 'not run'."""
    scores = [f"{pipeline}_scores" for pipeline in PIPELINES] + ["pretrain_threshold_scores"]
    statuses = [f"{pipeline}_statuses" for pipeline in PIPELINES]
    return Pipeline(
        [
            Node(
                concatenate_tables,
                inputs={name: name for name in scores},
                outputs="all_scores",
                name="concatenate_scores",
            ),
            Node(
                concatenate_tables,
                inputs={name: name for name in statuses},
                outputs="experiment_statuses",
                name="concatenate_statuses",
            ),
            Node(
                describe_provenance,
                inputs={
                    "pool_catalogue": "pool_catalogue",
                    "leakage": "leakage",
                    "splits": "splits",
                    "phantom_root": "phantom_root",
                    "raw_root": "raw_root",
                    "pool": "params:pool",
                    "reporting": "params:reporting",
                },
                outputs="provenance",
                name="describe_provenance",
            ),
            Node(
                build_tables,
                inputs={
                    "all_scores": "all_scores",
                    "experiment_statuses": "experiment_statuses",
                    "paper_tables": "params:paper_tables",
                },
                outputs="comparison",
                name="build_tables",
            ),
            Node(
                summarise_dice,
                inputs={"all_scores": "all_scores", "evaluation": "params:evaluation"},
                outputs="dice",
                name="summarise_dice",
            ),
            Node(
                compare_grid,
                inputs={"all_scores": "all_scores"},
                outputs="comparison_tests",
                name="compare_experiments",
            ),
            Node(
                write_report,
                inputs={
                    "comparison": "comparison",
                    "dice": "dice",
                    "comparison_tests": "comparison_tests",
                    "experiment_statuses": "experiment_statuses",
                    "paper_tables": "params:paper_tables",
                    "evaluation": "params:evaluation",
                    "provenance": "provenance",
                },
                outputs="report",
                name="write_report",
            ),
            Node(
                draw_comparison,
                inputs={
                    "comparison": "comparison",
                    "paper_tables": "params:paper_tables",
                    "provenance": "provenance",
                },
                outputs="comparison_figure",
                name="draw_comparison",
            ),
        ],
        tags="report",
    )
