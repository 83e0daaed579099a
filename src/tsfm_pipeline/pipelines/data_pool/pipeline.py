"""Wiring of the data pool pipeline."""

from kedro.pipeline import Node, Pipeline

from tsfm_pipeline.pipelines.data_pool.nodes import (
    choose_target_spacing,
    draw_pool,
    find_leakage,
    index_cases,
    name_version,
    plan_datasets,
    prepare_cases,
    screen_cases,
    split_cases,
    tabulate_pool,
    write_pool_page,
)


def create_pipeline() -> Pipeline:
    """Create the pipeline from raw data to a split pool."""
    return Pipeline(
        [
            Node(
                index_cases,
                inputs={
                    "raw_data": "raw_data",
                    "datasets": "params:datasets",
                    "pool": "params:pool",
                },
                outputs="case_index",
                name="index_cases",
                tags="screen",
            ),
            Node(
                screen_cases,
                inputs={
                    "case_index": "case_index",
                    "datasets": "params:datasets",
                    "labels": "params:labels",
                    "screening_root": "screening_root",
                    "workers": "params:workers",
                    "screening": "params:screening",
                },
                outputs="integrity",
                name="screen_cases",
                tags="screen",
            ),
            Node(
                choose_target_spacing,
                inputs={
                    "integrity": "integrity",
                    "preparation": "params:preparation",
                    "pool": "params:pool",
                },
                outputs="target_spacing",
                name="choose_target_spacing",
            ),
            Node(
                prepare_cases,
                inputs={
                    "case_index": "case_index",
                    "integrity": "integrity",
                    "target_spacing": "target_spacing",
                    "datasets": "params:datasets",
                    "labels": "params:labels",
                    "preparation": "params:preparation",
                    "workers": "params:workers",
                    "screening": "params:screening",
                    "store_root": "store_root",
                },
                outputs=["pool_store", "pool_catalogue"],
                name="prepare_cases",
            ),
            Node(
                find_leakage,
                inputs={
                    "pool_catalogue": "pool_catalogue",
                    "pool_store": "pool_store",
                    "pool": "params:pool",
                },
                outputs="leakage",
                name="find_leakage",
            ),
            Node(
                split_cases,
                inputs={
                    "pool_catalogue": "pool_catalogue",
                    "leakage": "leakage",
                    "pool": "params:pool",
                    "splits": "params:splits",
                },
                outputs="splits",
                name="split_cases",
            ),
            Node(
                plan_datasets,
                inputs={
                    "pool_catalogue": "pool_catalogue",
                    "pool_store": "pool_store",
                    "target_spacing": "target_spacing",
                    "planning": "params:planning",
                },
                outputs="dataset_plans",
                name="plan_datasets",
            ),
            Node(
                name_version,
                inputs={
                    "pool_catalogue": "pool_catalogue",
                    "leakage": "leakage",
                    "splits": "splits",
                    "pool": "params:pool",
                    "preparation": "params:preparation",
                },
                outputs=["pool_version", "pool_versions"],
                name="name_version",
            ),
            Node(
                tabulate_pool,
                inputs={
                    "pool_catalogue": "pool_catalogue",
                    "leakage": "leakage",
                    "splits": "splits",
                    "datasets": "params:datasets",
                    "labels": "params:labels",
                    "pool": "params:pool",
                    "integrity": "integrity",
                },
                outputs=["pool_datasets", "pool_targets", "supervision"],
                name="tabulate_pool",
            ),
            Node(
                draw_pool,
                inputs={
                    "pool_datasets": "pool_datasets",
                },
                outputs="pool_figure",
                name="draw_pool",
            ),
            Node(
                write_pool_page,
                inputs={
                    "pool_catalogue": "pool_catalogue",
                    "pool_datasets": "pool_datasets",
                    "pool_targets": "pool_targets",
                    "supervision": "supervision",
                    "leakage": "leakage",
                    "pool_version": "pool_version",
                    "pool_versions": "pool_versions",
                    "phantom_root": "phantom_root",
                    "raw_root": "raw_root",
                    "reporting": "params:reporting",
                },
                outputs="pool_page",
                name="write_pool_page",
            ),
        ]
    )
