"""Kedro-Viz draws the layers only where no dataset is made from one of a later layer."""

from pathlib import Path

from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

PROJECT = Path(__file__).parents[2]
LAYERS = ("raw", "intermediate", "primary", "model_input", "models", "model_output", "reporting")


def test_data_flows_through_the_layers_in_order() -> None:
    bootstrap_project(PROJECT)
    with KedroSession.create(PROJECT) as session:
        catalog = session.load_context().catalog
    pipeline = pipelines["__default__"]

    def layer(name: str) -> int | None:
        metadata = getattr(catalog.get(name), "metadata", None) or {}
        found = metadata.get("kedro-viz", {}).get("layer")
        return None if found is None else LAYERS.index(found)

    latest: dict[str, int] = {}  # the latest layer among a dataset and all that it is made from
    for node in pipeline.nodes:
        reached = [
            max(latest.get(name, -1), layer(name) or 0)
            for name in node.inputs
            if not name.startswith("params:") and name != "parameters"
        ]
        for name in node.outputs:
            own, before = layer(name), max(reached, default=-1)
            assert own is None or own >= before, f"{name}: {LAYERS[own]} after {LAYERS[before]}"
            latest[name] = max(before, -1 if own is None else own)
    assert latest["report"] == LAYERS.index("reporting")
