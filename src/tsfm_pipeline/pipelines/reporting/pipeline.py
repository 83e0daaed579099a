"""Wiring of the reporting pipeline."""

from collections.abc import Callable

from kedro.pipeline import Node, Pipeline

from tsfm_pipeline.experiments.grid import PIPELINES
from tsfm_pipeline.experiments.tables import concatenate_tables
from tsfm_pipeline.pipelines.reporting.figure_nodes import (
    draw_dice_over_time,
    draw_example_cases,
    draw_few_cases,
    draw_network,
    draw_table_1,
    draw_table_2,
    draw_table_3,
    draw_target_boxes,
    draw_training_curves,
    draw_worst_cases,
)
from tsfm_pipeline.pipelines.reporting.nodes import (
    add_table_beyond,
    build_tables,
    check_claims,
    compare_grid,
    describe_provenance,
    summarise_dice,
    write_latex,
    write_report,
    write_report_page,
)

OF_TABLES = ("comparison", "params:paper_tables", "provenance")

CASES = ("all_scores", "comparison", "case_index", "predictions_root")

FIGURES: dict[str, tuple[Callable, tuple[str, ...]]] = {
    "network": (draw_network, ("params:experiments", "params:pool", "supervision")),
    "table_1": (draw_table_1, OF_TABLES),
    "table_2": (draw_table_2, OF_TABLES),
    "table_3": (draw_table_3, OF_TABLES),
    "target_boxes": (
        draw_target_boxes,
        ("all_scores", "comparison", "params:evaluation", "provenance"),
    ),
    "training_curves": (draw_training_curves, ("models_root", "provenance")),
    "few_cases": (
        draw_few_cases,
        (
            "all_scores",
            "params:experiments",
            "params:paper_tables",
            "params:evaluation",
            "provenance",
        ),
    ),
    "dice_over_time": (draw_dice_over_time, OF_TABLES),
    "example_cases": (
        draw_example_cases,
        (
            *CASES,
            "params:paper_tables",
            "params:evaluation",
            "params:datasets",
            "params:labels",
            "provenance",
        ),
    ),
    "worst_cases": (
        draw_worst_cases,
        (*CASES, "params:paper_tables", "params:datasets", "params:labels", "provenance"),
    ),
}
"""Name -> node and its inputs, in the order of the page."""


def create_pipeline() -> Pipeline:
    """Create the report from whatever has been run; what is absent shows as 'not run'."""
    apart = ("pretrain_threshold", "pretrain_sam_med3d")
    scores = [f"{name}_scores" for name in (*PIPELINES, *apart)]
    statuses = [f"{name}_statuses" for name in (*PIPELINES, "pretrain_sam_med3d")]
    shown = [
        "comparison",
        "dice",
        "comparison_tests",
        "experiment_statuses",
        "paper_check",
        "shown_tables",
        "params:evaluation",
        "provenance",
    ]
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
                    "models_root",
                    "params:datasets",
                    "params:pool",
                    "params:reporting",
                ],
                "provenance",
                name="describe_provenance",
            ),
            Node(
                summarise_dice,
                ["all_scores", "params:evaluation"],
                "dice",
                name="summarise_dice",
            ),
            Node(compare_grid, "all_scores", "comparison_tests", name="compare_experiments"),
            Node(
                add_table_beyond,
                ["all_scores", "params:paper_tables", "params:evaluation"],
                "shown_tables",
                name="add_table_beyond",
            ),
            Node(
                build_tables,
                [
                    "all_scores",
                    "experiment_statuses",
                    "comparison_tests",
                    "shown_tables",
                    "params:evaluation",
                    "provenance",
                ],
                "comparison",
                name="build_tables",
            ),
            Node(
                check_claims,
                ["comparison", "params:paper_tables"],
                "paper_check",
                name="check_claims",
            ),
            Node(
                write_latex,
                ["comparison", "shown_tables", "provenance"],
                "tables_latex",
                name="write_latex",
            ),
            Node(write_report, shown, "report", name="write_report"),
            *(
                Node(
                    draw,
                    list(inputs),
                    f"{name}_figure",
                    name=f"draw_{name}",
                )
                for name, (draw, inputs) in FIGURES.items()
            ),
            Node(
                write_report_page,
                [
                    *shown,
                    "worst_cases_figure",
                    "example_cases_figure",
                    *(f"{name}_figure" for name in FIGURES),
                ],
                "report_page",
                name="write_report_page",
            ),
        ],
        tags="report",
        namespace="reporting",  # one box of the lineage page
        prefix_datasets_with_namespace=False,
    )
