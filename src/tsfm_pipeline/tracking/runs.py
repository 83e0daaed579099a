"""The MLflow side: one run per `kedro run`, one nested run per experiment.

Domain packages report to plain callables; this module is what stands behind them. A nested run is
keyed by the experiment's digest, so a resumed or extended training continues the same curves.
"""

import atexit
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import RunStatus
from mlflow.exceptions import MlflowException
from pydantic import BaseModel

from tsfm_pipeline.tracking.curve import Curve, Report
from tsfm_pipeline.tracking.database import ready_database
from tsfm_pipeline.tracking.owner import close_abandoned, owner_tags
from tsfm_pipeline.tracking.problem import TrackingError, in_a_line, never_fatal
from tsfm_pipeline.tracking.settings import TrackingSettings

# MLflow sets its own level when it is imported; its notes on tables and locations are noise here.
for _name in ("mlflow", "alembic"):
    logging.getLogger(_name).setLevel(logging.WARNING)
for _name in ("mlflow.store.db.utils", "urllib3.connectionpool"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)  # tracebacks of what is told in a line

DIGEST_TAG = "tsfm.digest"
PARENT_TAG = "mlflow.parentRunId"
POOL_TAG = "tsfm.pool"
"""Version of the dataset pool, on the run and on each training."""

MAX_BATCH = 1000
"""Metrics MLflow takes in one request."""


def start_run(settings: TrackingSettings, project: Path, name: str, tags: Mapping[str, str]) -> str:
    """Open the run of a `kedro run`; return its id.

    Raises:
        TrackingError: runs can't be tracked where the settings say.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or settings.uri
    if uri is None:
        database = (project / "mlflow.db").absolute()
        ready_database(database)
        uri = f"sqlite:///{database}"
    # MLflow would try for minutes, at every call
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    mlflow.set_tracking_uri(uri)
    try:
        _choose_experiment(settings.experiment, project, uri)
        run = mlflow.start_run(run_name=name, tags={**tags, **owner_tags()})
    except Exception as error:
        raise TrackingError(
            f"Runs can't be tracked at {uri} ({in_a_line(error)}); start that server or make room,"
            " or set MLFLOW_TRACKING_URI, or tracking.uri, to another place; the same command"
            " goes on"
        ) from error
    # What is still open when the process ends was interrupted; MLflow would call it finished.
    atexit.register(end_run, "KILLED")
    with never_fatal("the end of runs that were killed"):
        close_abandoned(run.info.experiment_id)
    return str(run.info.run_id)


def _choose_experiment(name: str, project: Path, uri: str) -> None:
    if mlflow.get_experiment_by_name(name) is None:
        # Without a location MLflow would put artifacts below the current folder.
        location = (
            (project / "mlartifacts").absolute().as_uri() if uri.startswith("sqlite") else None
        )
        try:
            mlflow.create_experiment(name, artifact_location=location)
        except MlflowException:
            if mlflow.get_experiment_by_name(name) is None:  # else another run was first
                raise
    mlflow.set_experiment(name)


def end_run(status: str = "FINISHED") -> None:
    """Close every open run with a status of MLflow (FINISHED, FAILED, KILLED)."""
    while mlflow.active_run() is not None:
        with never_fatal(f"the end of the run ({status})"):
            mlflow.end_run(status)


def log_parameters(parameters: Mapping[str, Any]) -> None:
    """Log nested parameters under dotted names to the open run."""
    with never_fatal("parameters"):
        if mlflow.active_run() is not None:
            mlflow.log_params(flatten(parameters))


def tag_run(tags: Mapping[str, str]) -> None:
    """Tag the open run."""
    with never_fatal(f"tags {', '.join(tags)}"):
        if mlflow.active_run() is not None:
            mlflow.set_tags(dict(tags))


def log_document(document: Mapping[str, Any], file_name: str) -> None:
    """Attach a JSON document to the open run."""
    log_text(json.dumps(document, indent=1, default=str), file_name)


def log_text(text: str, file_name: str) -> None:
    """Attach a text file to the open run."""
    with never_fatal(file_name):
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
    an exactly resumed training repeats them. Without an open parent run nothing is tracked. Nor
    is what MLflow refuses: a warning says so, and the training goes on.
    """
    parent = mlflow.active_run()
    curve: Curve | None = None
    if parent is not None:
        with never_fatal(name):
            curve = Curve(_open_nested(parent, name, digest, settings, tags or {}))
    try:
        yield curve.report if curve is not None else lambda step, metrics: None
    except Exception:
        _end_nested(curve, RunStatus.FAILED)
        raise
    except BaseException:
        _end_nested(curve, RunStatus.KILLED)
        raise
    _end_nested(curve, RunStatus.FINISHED)


def _open_nested(
    parent: mlflow.ActiveRun, name: str, digest: str, settings: BaseModel, tags: Mapping[str, str]
) -> str:
    """Start or continue the nested run of an experiment; return its id."""
    run_id = _earlier_run(parent.info.experiment_id, digest)
    if run_id is None:
        own = {DIGEST_TAG: digest, PARENT_TAG: parent.info.run_id, **tags, **owner_tags()}
        run_id = str(mlflow.start_run(run_name=name, nested=True, tags=own).info.run_id)
        with never_fatal(f"parameters of {name}"):
            mlflow.log_params(flatten(settings.model_dump(mode="json")))
    else:
        mlflow.start_run(run_id=run_id, nested=True)
        with never_fatal(f"tags of {name}"):
            mlflow.set_tags(owner_tags())
    return run_id


def _end_nested(curve: Curve | None, status: int) -> None:
    if curve is None:
        return
    with never_fatal("the end of a training's run"):
        curve.close()
    with never_fatal("the end of a training's run"):
        mlflow.end_run(RunStatus.to_string(status))


def log_experiment_scores(
    name: str, digest: str, scores: Mapping[str, float], means: Mapping[str, float]
) -> None:
    """Add scores to the run of an experiment, and means to the open run as `<mean>/<name>`."""
    parent = mlflow.active_run()
    if parent is None:
        return
    with never_fatal(f"scores of {name}"):
        mlflow.log_metrics({f"{mean}/{name}": value for mean, value in means.items()})
        run_id = _earlier_run(parent.info.experiment_id, digest)
        if run_id is None:
            return
        names = list(scores)
        for start in range(0, len(names), MAX_BATCH):
            part = {key: scores[key] for key in names[start:][:MAX_BATCH]}
            mlflow.log_metrics(part, run_id=run_id)


def log_experiment_files(digest: str, paths: Iterable[Path]) -> None:
    """Attach files to the run of an experiment; those that are not there are passed over."""
    parent = mlflow.active_run()
    if parent is None:
        return
    with never_fatal("files of a training"):
        run_id = _earlier_run(parent.info.experiment_id, digest)
        for path in paths:
            if run_id is not None and path.is_file():
                mlflow.log_artifact(str(path), run_id=run_id)


def _earlier_run(experiment_id: str, digest: str) -> str | None:
    runs = mlflow.search_runs(
        [experiment_id],
        filter_string=f"tags.`{DIGEST_TAG}` = '{digest}'",
        max_results=1,
        output_format="list",
    )
    return str(runs[0].info.run_id) if runs else None
