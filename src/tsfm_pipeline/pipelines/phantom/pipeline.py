"""Wiring of the phantom pipeline."""

from kedro.pipeline import Node, Pipeline

from tsfm_pipeline.pipelines.phantom.nodes import provide_raw_data


def create_pipeline() -> Pipeline:
    """Create the pipeline that stands where a user's downloads stand."""
    return Pipeline(
        [
            Node(
                provide_raw_data,
                ["params:phantom", "params:workers", "phantom_root", "raw_root"],
                "raw_data",
                name="provide_raw_data",
                tags="screen",
            )
        ],
        namespace="data_pool",  # one box of the lineage page
        prefix_datasets_with_namespace=False,
    )
