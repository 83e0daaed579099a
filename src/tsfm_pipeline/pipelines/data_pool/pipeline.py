"""Wiring of the data pool pipeline."""

from kedro.pipeline import Node, Pipeline

from tsfm_pipeline.pipelines.data_pool.nodes import (
    choose_target_spacing,
    index_cases,
    plan_datasets,
    prepare_cases,
    screen_cases,
    split_cases,
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
                split_cases,
                inputs={
                    "pool_catalogue": "pool_catalogue",
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
        ]
    )
