"""Wiring of the reporting pipeline."""

from kedro.pipeline import Node, Pipeline

from tsfm_pipeline.experiments.grid import PIPELINES
from tsfm_pipeline.experiments.tables import concatenate_tables
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
            Node(concatenate_tables, scores, "all_scores", name="concatenate_scores"),
            Node(concatenate_tables, statuses, "experiment_statuses", name="concatenate_statuses"),
            Node(
                describe_provenance,
                [
                    "pool_catalogue",
                    "leakage",
                    "splits",
                    "experiment_statuses",
                    "phantom_root",
                    "raw_root",
                    "params:pool",
                    "params:reporting",
                ],
                "provenance",
                name="describe_provenance",
            ),
            Node(
                build_tables,
                ["all_scores", "experiment_statuses", "params:paper_tables", "provenance"],
                "comparison",
                name="build_tables",
            ),
            Node(
                summarise_dice,
                ["all_scores", "params:evaluation"],
                "dice",
                name="summarise_dice",
            ),
            Node(compare_grid, "all_scores", "comparison_tests", name="compare_experiments"),
            Node(
                write_report,
                [
                    "comparison",
                    "dice",
                    "comparison_tests",
                    "experiment_statuses",
                    "params:paper_tables",
                    "params:evaluation",
                    "provenance",
                ],
                "report",
                name="write_report",
            ),
            Node(
                draw_comparison,
                ["comparison", "params:paper_tables", "provenance"],
                "comparison_figure",
                name="draw_comparison",
            ),
        ],
        tags="report",
        namespace="reporting",  # one box of the lineage page
        prefix_datasets_with_namespace=False,
    )
