"""A line per stage on the terminal, and in the end what is new."""

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import DatasetError
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

logger = logging.getLogger(__name__)

NAMED = 3
"""So many trained experiments are named; of more the rest is counted."""

UNFINISHED = {"failed": "failed", "not run": "not run", "needs checkpoint": "need a checkpoint"}
"""Status of a record -> how the number of its experiments is told."""


class TellRunHook:
    """What Kedro says of every node goes to the log file alone; this is what a user reads."""

    def __init__(self) -> None:
        self._steps: Counter[str] = Counter()
        self._before: dict[str, Any] = {}

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: Any) -> None:
        """Count the steps of each stage, and note what is there."""
        self._steps = Counter(stage for node in pipeline.nodes if (stage := stage_of(node)))
        self._before = model_records(pipeline, catalog)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Tell a stage when its first step starts; stages may overlap."""
        stage = stage_of(node)
        if steps := self._steps.pop(stage, 0):
            logger.info("%s: %d steps", stage, steps)

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: Any) -> None:
        """Tell what was trained now."""
        if summary := news(self._before, model_records(pipeline, catalog)):
            logger.info("%s", summary)


def stage_of(node: Node) -> str:
    """Return the outermost namespace of a node; empty for a node outside any."""
    return (node.namespace or "").partition(".")[0]


def model_records(pipeline: Pipeline, catalog: Any) -> dict[str, Any]:
    """Return the readable records of all trainings of a pipeline by experiment."""
    from tsfm_pipeline.catalog import RecordDataset
    from tsfm_pipeline.experiments.outcome import ModelRecord

    records = {}
    for name in pipeline.all_outputs():
        dataset = catalog.get(name)
        if not isinstance(dataset, RecordDataset) or dataset.model is not ModelRecord:
            continue
        try:
            record = dataset.load() if dataset.exists() else None
        except DatasetError:  # of another version; it is made again
            continue
        if isinstance(record, ModelRecord):
            records[record.experiment] = record
    return records


def news(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Say how many experiments were trained now, finished before, failed and so on.

    Args:
        before: `ModelRecord` by experiment, as the run found them.
        after: as it left them.

    Returns:
        One line; empty where there is no experiment.
    """
    finished = sorted(name for name, record in after.items() if record.status == "finished")
    trained = [name for name in finished if _weights(before.get(name)) != _weights(after[name])]
    others = Counter(record.status for record in after.values())
    parts = []
    if trained:
        more = ["..."] if len(trained) > NAMED else []
        parts.append(f"{len(trained)} trained now ({', '.join(trained[:NAMED] + more)})")
    if len(finished) > len(trained):
        parts.append(f"{len(finished) - len(trained)} finished before")
    parts += [f"{others[status]} {words}" for status, words in UNFINISHED.items() if others[status]]
    return f"Experiments: {', '.join(parts)}" if parts else ""


def _weights(record: Any) -> tuple[str, str, int] | None:
    """Return what names the weights of a record; another pool's version may change beside them."""
    return record and (record.status, record.digest, record.epochs)
