"""A project with an MLflow database of its own, and trainings that take no time."""

from collections.abc import Callable, Iterable

import mlflow
import pandas as pd
import pytest
from mlflow.entities import Run

from tsfm_pipeline.experiments.grid import EXPERIMENTS
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.tracking import runs
from tsfm_pipeline.tracking.described import TrainingDescription, describe_training
from tsfm_pipeline.tracking.settings import TrackingSettings
from tsfm_pipeline.tracking.trainings import training_run

SPLITS = pd.DataFrame(
    {
        "key": ["kits19/a", "kits19/b", "amos22/c"],
        "dataset": ["kits19", "kits19", "amos22"],
        "role": ["training", "validation", "training"],
        "pool": [False, False, True],
        "pool_version": ["1a2b3c4d"] * 3,
    }
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield tmp_path
    runs.end_run("KILLED")


@pytest.fixture
def start(project, monkeypatch) -> Callable[..., str]:
    def begin(kedro_run: str = "first", folder=project, **settings) -> str:
        # MLflow sets it, for processes to come
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        tags = {runs.KEDRO_RUN_TAG: kedro_run, "environment": "test", "workspace": "phantom"}
        return runs.start_run(TrackingSettings(**settings), folder, "all", tags)

    return begin


@pytest.fixture
def describe(project) -> Callable[[str], TrainingDescription]:
    def of(name: str) -> TrainingDescription:
        experiment = EXPERIMENTS[name]
        return describe_training(experiment, SPLITS, project, pretrained=bool(experiment.initial))

    return of


@pytest.fixture
def train(describe) -> Callable[..., None]:
    def run(digest: str, steps: Iterable[int], name: str = "pretrain.tsfm", **settings) -> None:
        given = TrainingSettings(**settings)
        with training_run(name, digest, given, describe(name)) as report:
            for step in steps:
                report(step, {"train/loss": float(step)})

    return run


def trainings() -> list[Run]:
    experiment = mlflow.get_experiment_by_name("tsfm trainings")
    found = mlflow.search_runs([experiment.experiment_id], output_format="list")
    return sorted(found, key=lambda run: run.info.start_time)
