"""The MLflow run of a `kedro run`; where there is none, nothing is tracked.

Domain packages report to plain callables; the rooms of `tracking` are what stands behind them.
"""

import atexit
import json
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import yaml  # type: ignore[import-untyped]
from mlflow import MlflowClient

from tsfm_pipeline.tracking.database import ready_database
from tsfm_pipeline.tracking.experiments import open_experiments
from tsfm_pipeline.tracking.owner import close_abandoned, owner_tags
from tsfm_pipeline.tracking.pages import save_views
from tsfm_pipeline.tracking.problem import TrackingError, in_a_line, never_fatal
from tsfm_pipeline.tracking.settings import TrackingSettings
from tsfm_pipeline.tracking.source import source_tags

# MLflow sets its own level when it is imported; its notes on tables and locations are noise here.
for _name in ("mlflow", "alembic"):
    logging.getLogger(_name).setLevel(logging.WARNING)
for _name in ("mlflow.store.db.utils", "urllib3.connectionpool"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)  # tracebacks of what is told in a line

POOL_TAG = "pool"
"""Version of the dataset pool, on the run and on each training."""

KEDRO_RUN_TAG = "kedro_run"
"""Kedro's name of a run, which is also that of the versions of its reports."""

TRAININGS_TAG = "trainings"
"""Experiments of the grid that a run trained, continued or found finished."""

ENVIRONMENT_TAG = "environment"
"""Kedro's environment of a run."""

PARAMS_TAG = "params"
"""What a run's command line set, as `kedro run --params` takes it."""

FAILURE_TAG = "failure"
"""Why a run failed, in a line."""

ARTIFACTS = "mlartifacts"


def start_run(settings: TrackingSettings, project: Path, name: str, tags: Mapping[str, str]) -> str:
    """Open the run of a `kedro run`; return its id.

    Args:
        settings: where runs are tracked.
        project: folder of the project.
        name: of the run.
        tags: its tags, KEDRO_RUN_TAG among them.

    Raises:
        TrackingError: runs can't be tracked where the settings say.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or settings.uri or own_database(project)
    # MLflow would try for minutes, at every call
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    mlflow.set_tracking_uri(uri)
    if settings.system_metrics:
        mlflow.enable_system_metrics_logging()
    try:
        # Without a location MLflow would put artifacts below the current folder.
        artifacts = (project / ARTIFACTS).absolute() if uri.startswith("sqlite") else None
        runs, trainings = open_experiments(settings.experiment, artifacts)
        own = {**tags, **source_tags(project), **owner_tags()}
        run = mlflow.start_run(run_name=name, tags=own)
    except Exception as error:
        raise TrackingError(
            f"Runs can't be tracked at {uri} ({in_a_line(error)}); start that server or make room,"
            " or set MLFLOW_TRACKING_URI, or tracking.uri, to another place; the same command"
            " goes on"
        ) from error
    # What is still open when the process ends was interrupted; MLflow would call it finished.
    atexit.register(end_run, "KILLED")
    with never_fatal("views of the runs"):
        save_views(runs, trainings)
    with never_fatal("the end of runs that were killed"):
        close_abandoned([runs, trainings])
    return str(run.info.run_id)


def own_database(project: Path) -> str:
    """Make or open the project's own database; return its URI.

    Raises:
        TrackingError: it can't be opened.
    """
    database = (project / "mlflow.db").absolute()
    ready_database(database, database.with_name(ARTIFACTS))
    return f"sqlite:///{database}"


def end_run(status: str = "FINISHED") -> None:
    """Close the open run with a status of MLflow (FINISHED, FAILED, KILLED)."""
    while mlflow.active_run() is not None:
        with never_fatal(f"the end of the run ({status})"):
            mlflow.end_run(status)


def discard_run() -> None:
    """Close the open run and remove it: nothing has happened in it."""
    run = mlflow.active_run()
    end_run("FAILED")
    if run is not None:
        with never_fatal("the removal of a run that did not start"):
            MlflowClient().delete_run(run.info.run_id)


def log_parameters(parameters: Mapping[str, Any]) -> None:
    """Log nested parameters under dotted names to the open run."""
    with never_fatal("parameters"):
        if mlflow.active_run() is not None:
            mlflow.log_params(flatten(parameters))


def params_text(parameters: Mapping[str, Any]) -> str:
    """Return nested parameters as `kedro run --params` takes them.

    >>> params_text({"workspace": "fold1", "pool": {"datasets": ["btcv", "kits21"]}})
    'workspace=fold1,pool.datasets=["btcv","kits21"]'
    """
    return ",".join(f"{name}={_as_yaml(value)}" for name, value in flatten(parameters).items())


def tag_of_run(tag: str) -> str:
    """Return a tag of the open run; empty where none is tracked."""
    run = mlflow.active_run()
    return "" if run is None else run.data.tags.get(tag, "")


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


def log_file(path: Path) -> None:
    """Attach a file to the open run."""
    with never_fatal(path.name):
        if mlflow.active_run() is not None:
            mlflow.log_artifact(str(path))


def _as_yaml(value: Any) -> str:
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z_./][\w./*-]*", value)
    if plain and yaml.safe_load(value) == value:  # else it is null, a truth value, or the like
        return str(value)
    return json.dumps(value, separators=(",", ":"), default=str)


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
