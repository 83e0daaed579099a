"""The MLflow side: one run per `kedro run`, one nested run per experiment.

Domain packages report to plain callables; this module is what stands behind them. A nested run is
keyed by the experiment's digest, so a resumed or extended training continues the same curves.
"""

import atexit
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import RunStatus
from pydantic import BaseModel

from tsfm_pipeline.tracking.settings import TrackingSettings

# MLflow sets its own level when it is imported; its notes on tables and locations are noise here.
for _name in ("mlflow", "alembic"):
    logging.getLogger(_name).setLevel(logging.WARNING)

DIGEST_TAG = "tsfm.digest"
PARENT_TAG = "mlflow.parentRunId"
POOL_TAG = "tsfm.pool"
"""Version of the dataset pool, on the run and on each training."""

MAX_BATCH = 1000
"""Metrics MLflow takes in one request."""

Report = Callable[[int, Mapping[str, float]], None]


def start_run(settings: TrackingSettings, project: Path, name: str, tags: Mapping[str, str]) -> str:
    """Open the run of a `kedro run`; return its id."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or settings.uri or f"sqlite:///{project}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    if mlflow.get_experiment_by_name(settings.experiment) is None:
        # Without a location MLflow would put artifacts below the current folder.
        location = (project / "mlartifacts").as_uri() if uri.startswith("sqlite") else None
        mlflow.create_experiment(settings.experiment, artifact_location=location)
    mlflow.set_experiment(settings.experiment)
    run = mlflow.start_run(run_name=name, tags=dict(tags))
    # What is still open when the process ends was interrupted; MLflow would call it finished.
    atexit.register(end_run, "KILLED")
    return str(run.info.run_id)


def end_run(status: str = "FINISHED") -> None:
    """Close every open run with a status of MLflow (FINISHED, FAILED, KILLED)."""
    while mlflow.active_run() is not None:
        mlflow.end_run(status)


def log_parameters(parameters: Mapping[str, Any]) -> None:
    """Log nested parameters under dotted names to the open run."""
    if mlflow.active_run() is None:
        return
    mlflow.log_params(flatten(parameters))


def tag_run(tags: Mapping[str, str]) -> None:
    """Tag the open run."""
    if mlflow.active_run() is not None:
        mlflow.set_tags(dict(tags))


def log_document(document: Mapping[str, Any], file_name: str) -> None:
    """Attach a JSON document to the open run."""
    if mlflow.active_run() is not None:
        mlflow.log_text(json.dumps(document, indent=1, default=str), file_name)


def log_text(text: str, file_name: str) -> None:
    """Attach a text file to the open run."""
    if mlflow.active_run() is not None:
        mlflow.log_text(text, file_name)


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings to dotted names; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = value
    return flat


@contextmanager
def experiment_run(
    name: str, digest: str, settings: BaseModel, tags: Mapping[str, str] | None = None
) -> Iterator[Report]:
    """Open the nested run of an experiment and yield where its metrics go.

    An earlier run of the same digest is continued; steps it has already are passed over, because
    an exactly resumed training repeats them. Without an open parent run nothing is tracked.
    """
    parent = mlflow.active_run()
    if parent is None:
        yield lambda step, metrics: None
        return
    run_id = _earlier_run(parent.info.experiment_id, digest)
    if run_id is None:
        own = {DIGEST_TAG: digest, PARENT_TAG: parent.info.run_id, **(tags or {})}
        run = mlflow.start_run(run_name=name, nested=True, tags=own)
        mlflow.log_params(flatten(settings.model_dump(mode="json")))
    else:
        run = mlflow.start_run(run_id=run_id, nested=True)
    run_id = run.info.run_id
    last = _last_step(run_id)

    def report(step: int, metrics: Mapping[str, float]) -> None:
        if step > last:
            mlflow.log_metrics(dict(metrics), step=step, run_id=run_id)

    try:
        yield report
    except Exception:
        mlflow.end_run(RunStatus.to_string(RunStatus.FAILED))
        raise
    except BaseException:
        mlflow.end_run(RunStatus.to_string(RunStatus.KILLED))
        raise
    mlflow.end_run()


def log_experiment_scores(
    name: str, digest: str, scores: Mapping[str, float], means: Mapping[str, float]
) -> None:
    """Add scores to the run of an experiment, and means to the open run as `<mean>/<name>`."""
    parent = mlflow.active_run()
    if parent is None:
        return
    mlflow.log_metrics({f"{mean}/{name}": value for mean, value in means.items()})
    run_id = _earlier_run(parent.info.experiment_id, digest)
    if run_id is None:
        return
    names = list(scores)
    for start in range(0, len(names), MAX_BATCH):
        mlflow.log_metrics({key: scores[key] for key in names[start:][:MAX_BATCH]}, run_id=run_id)


def log_experiment_files(digest: str, paths: Iterable[Path]) -> None:
    """Attach files to the run of an experiment; those that are not there are passed over."""
    parent = mlflow.active_run()
    run_id = _earlier_run(parent.info.experiment_id, digest) if parent is not None else None
    if run_id is None:
        return
    for path in paths:
        if path.is_file():
            mlflow.log_artifact(str(path), run_id=run_id)


def _earlier_run(experiment_id: str, digest: str) -> str | None:
    runs = mlflow.search_runs(
        [experiment_id],
        filter_string=f"tags.`{DIGEST_TAG}` = '{digest}'",
        max_results=1,
        output_format="list",
    )
    return str(runs[0].info.run_id) if runs else None


def _last_step(run_id: str) -> int:
    history = mlflow.MlflowClient().get_metric_history(run_id, "train/loss")
    return max((point.step for point in history), default=-1)
