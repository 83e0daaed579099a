"""The pages of MLflow on which trainings are compared without a click.

MLflow 3 keeps a view as a tag of the experiment: filter, columns and charts as its user interface
saves them under 'Views' (mlflow/server/js, savedViewEnvelope.ts and ExperimentPageUIState.tsx).
`viewStateShareKey` in the address opens it.
"""

import json
import time
from dataclasses import dataclass
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import RunInfo

VIEW_TAG = "mlflow.sharedViewState."
NEWEST, ALL, LIST = "newest", "all", "list"
"""Keys of the views: trainings of the newest run that had any, all trainings, Kedro runs."""

LOCAL_SERVER = "http://127.0.0.1:5000"
"""Where `make mlflow` serves the project's own database."""


@dataclass(frozen=True)
class Section:
    """A part of the page of charts.

    Attributes:
        title: its heading. Metrics without a chart join the section of their first part's name.
        lines: metrics drawn over epochs.
        bars: metrics drawn as one bar per training.
        columns: charts in a row.
    """

    title: str
    lines: tuple[str, ...] = ()
    bars: tuple[str, ...] = ()
    columns: int = 2


SECTIONS = (
    Section("Dice over epochs", lines=("val/dice",), columns=1),
    Section("Held-out cases", bars=("dice/mean", "dice/tumour", "dice/organ")),
    Section("Training", lines=("train/loss", "val/dice_ema")),
    # folded, for MLflow puts the rest there
    *(Section(name) for name in ("val/dice", "train", "dice_final")),
    *(Section(name) for name in ("Model metrics", "System metrics")),
)
CARD_HEIGHT = 400
"""Pixels: curves and a legend of two rows."""

TRAININGS_COLUMNS = (
    *(f"tags.`{tag}`" for tag in ("dataset", "start", "budget", "method", "seed", "environment")),
    *(f"metrics.`{metric}`" for metric in ("dice/mean", "dice/tumour", "dice/organ")),
)
RUNS_COLUMNS = tuple(f"tags.`{tag}`" for tag in ("environment", "pool", "commit", "failure"))


def save_views(runs_experiment: str, trainings_experiment: str) -> None:
    """Save the views that do not depend on a run, unless they are there: a user may change them."""
    for experiment, key, name, columns in (
        (runs_experiment, LIST, "Kedro runs", RUNS_COLUMNS),
        (trainings_experiment, ALL, "All trainings", TRAININGS_COLUMNS),
    ):
        if f"{VIEW_TAG}{key}" not in MlflowClient().get_experiment(experiment).tags:
            _save(experiment, key, name, _state("", columns))


def save_newest_view(trainings_experiment: str, search: str) -> None:
    """Let the view of the newest run show the trainings that MLflow finds with these words."""
    state = _state(search, TRAININGS_COLUMNS)
    _save(trainings_experiment, NEWEST, "Trainings of the newest run", state)


def newest_page(kedro_run: str = "") -> str | None:
    """Return the address of the charts of the newest run with trainings.

    Args:
        kedro_run: Kedro's name of a run: None is returned unless it is the newest one.
    """
    for experiment in MlflowClient().search_experiments(order_by=["last_update_time DESC"]):
        view = experiment.tags.get(f"{VIEW_TAG}{NEWEST}")
        if view is not None and kedro_run in view:
            return charts_page(experiment.experiment_id, NEWEST)
    return None


def charts_page(experiment: str, view: str) -> str:
    """Return the address of a view of trainings, as charts."""
    query = f"viewStateShareKey={view}&compareRunsMode=CHART&workflowType=machine_learning"
    return f"{_server()}/#/experiments/{experiment}/runs?{query}"


def run_page(run: RunInfo) -> str:
    """Return the address of a run's page."""
    return f"{_server()}/#/experiments/{run.experiment_id}/runs/{run.run_id}"


def _server() -> str:
    uri = str(mlflow.get_tracking_uri()).rstrip("/")
    return uri if uri.startswith("http") else LOCAL_SERVER


def _save(experiment: str, key: str, name: str, state: dict[str, Any]) -> None:
    view = {"name": name, "createdAt": int(time.time() * 1000), "state": json.dumps(state)}
    MlflowClient().set_experiment_tag(experiment, f"{VIEW_TAG}{key}", json.dumps(view))


def _state(search: str, columns: tuple[str, ...]) -> dict[str, Any]:
    """Return the state of MLflow's page of runs."""
    return {
        "searchFilter": search,
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": list(columns),
        "columnWidths": {"tags.`failure`": 420},  # a sentence
        "runsHiddenMode": "SHOW_ALL",
        "hideEmptyCharts": True,
        "isAccordionReordered": True,
        "compareRunSections": [
            {
                "uuid": section.title,
                "name": section.title,
                "display": bool(section.lines or section.bars),
                "isReordered": True,
                "columns": section.columns,
                "cardHeight": CARD_HEIGHT,
            }
            for section in SECTIONS
        ],
        "compareRunCharts": [
            {
                "uuid": metric,
                "type": kind,
                "metricKey": metric,
                "metricSectionId": section.title,
                "deleted": False,
                "isGenerated": False,
                "xAxisKey": "step",
                "xAxisScaleType": "linear",
                "scaleType": "linear",
                "lineSmoothness": 0,
            }
            for section in SECTIONS
            for kind, metrics in (("LINE", section.lines), ("BAR", section.bars))
            for metric in metrics
        ],
    }
