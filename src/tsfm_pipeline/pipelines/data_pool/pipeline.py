"""Wiring of the data pool pipeline."""

from kedro.pipeline import Node, Pipeline

from tsfm_pipeline.pipelines.data_pool.nodes import (
    choose_target_spacing,
    index_cases,
    name_version,
    prepare_cases,
    screen_raw_cases,
    tabulate_pool,
    write_pool_page,
)
from tsfm_pipeline.planning.dataset_plan import plan_datasets
from tsfm_pipeline.pool.duplicates import find_duplicates
from tsfm_pipeline.pool.figures import overview_figure
from tsfm_pipeline.pool.leakage import find_leakage
from tsfm_pipeline.pool.splits import split_cases


def create_pipeline() -> Pipeline:
    """Create the pipeline from raw data to a split pool."""
    return Pipeline(
        [
            Node(
                index_cases,
                ["raw_data", "params:datasets", "params:pool"],
                "case_index",
                name="index_cases",
                tags="screen",
            ),
            Node(
                screen_raw_cases,
                [
                    "case_index",
                    "params:datasets",
                    "params:labels",
                    "screening_root",
                    "params:workers",
                    "params:screening",
                ],
                "integrity",
                name="screen_cases",
                tags="screen",
            ),
            Node(
                choose_target_spacing,
                ["integrity", "params:preparation", "params:pool"],
                "target_spacing",
                name="choose_target_spacing",
            ),
            Node(
                prepare_cases,
                [
                    "case_index",
                    "integrity",
                    "target_spacing",
                    "params:datasets",
                    "params:labels",
                    "params:preparation",
                    "params:workers",
                    "params:screening",
                    "params:audit",
                    "store_root",
                ],
                ["pool_store", "pool_catalogue"],
                name="prepare_cases",
            ),
            Node(
                find_duplicates,
                ["pool_catalogue", "pool_store", "params:pool"],
                ["duplicates", "doubtful_pairs"],
                name="find_duplicates",
            ),
            Node(
                find_leakage,
                ["pool_catalogue", "duplicates", "params:pool"],
                "leakage",
                name="find_leakage",
            ),
            Node(
                split_cases,
                ["pool_catalogue", "duplicates", "params:pool", "params:splits"],
                "splits",
                name="split_cases",
            ),
            Node(
                plan_datasets,
                ["pool_catalogue", "pool_store", "target_spacing", "params:planning"],
                "dataset_plans",
                name="plan_datasets",
            ),
            Node(
                name_version,
                ["pool_catalogue", "leakage", "splits", "params:pool", "params:preparation"],
                ["pool_version", "pool_versions"],
                name="name_version",
            ),
            Node(
                tabulate_pool,
                [
                    "pool_catalogue",
                    "leakage",
                    "splits",
                    "params:datasets",
                    "params:labels",
                    "params:pool",
                    "integrity",
                ],
                ["pool_datasets", "pool_targets", "supervision"],
                name="tabulate_pool",
            ),
            Node(overview_figure, "pool_datasets", "pool_figure", name="draw_pool"),
            Node(
                write_pool_page,
                [
                    "pool_catalogue",
                    "pool_datasets",
                    "pool_targets",
                    "supervision",
                    "leakage",
                    "duplicates",
                    "doubtful_pairs",
                    "pool_version",
                    "pool_versions",
                    "pool_store",
                    "phantom_root",
                    "raw_root",
                    "params:datasets",
                    "params:pool",
                    "params:reporting",
                ],
                "pool_page",
                name="write_pool_page",
            ),
        ],
        namespace="data_pool",  # one box of the lineage page
        prefix_datasets_with_namespace=False,
    )
