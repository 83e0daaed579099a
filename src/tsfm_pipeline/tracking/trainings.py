"""The MLflow runs of trainings: found by digest, continued, never stretched.

A resumed or extended training has the digest of the earlier one and goes on with its run.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import mlflow
from mlflow import MlflowClient
from mlflow.data.dataset_source_registry import get_dataset_source_from_json
from mlflow.entities import DatasetInput, InputTag, Param, Run, RunTag
from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from pydantic import BaseModel

from tsfm_pipeline.tracking.curve import Curve, Report
from tsfm_pipeline.tracking.described import (
    FROM_THE_RUN,
    TrainingDescription,
    headline_parameters,
    run_color,
    short_name,
)
from tsfm_pipeline.tracking.experiments import trainings_experiment
from tsfm_pipeline.tracking.links import link_runs
from tsfm_pipeline.tracking.owner import owner_tags
from tsfm_pipeline.tracking.problem import never_fatal
from tsfm_pipeline.tracking.runs import POOL_TAG, flatten
from tsfm_pipeline.tracking.source import gpu

DIGEST_TAG = "tsfm.digest"


@contextmanager
def training_run(
    name: str, digest: str, settings: BaseModel, description: TrainingDescription
) -> Iterator[Report]:
    """Open the run of a training and yield where its metrics go.

    An earlier run of the same digest is continued; steps it has already are passed over, because
    an exactly resumed training repeats them. A run that gets no new step keeps the end it had.
    Outside the run of a `kedro run` nothing is tracked. Nor is what MLflow refuses: a warning says
    so, and the training goes on.

    Args:
        name: of the experiment in the grid.
        digest: of the training.
        settings: of the training.
        description: what it is to be found by.
    """
    kedro_run = mlflow.active_run()
    tracked: TrackedTraining | None = None
    if kedro_run is not None:
        with never_fatal(name):
            tracked = _open(kedro_run, name, digest, settings, description)
    if tracked is None:
        yield lambda step, metrics: None
        return
    status = "KILLED"
    try:
        with tracked.system_metrics():
            yield tracked.curve.report
        status = "FINISHED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        tracked.close(status)


def run_of_training(digest: str) -> str | None:
    """Return the id of a training's run; None where nothing is tracked."""
    kedro_run = mlflow.active_run()
    if kedro_run is None:
        return None
    with never_fatal("the run of a training"):
        run = _earlier_run(trainings_experiment(kedro_run.info.experiment_id), digest)
        return run and str(run.info.run_id)
    return None


class TrackedTraining:
    """An open run of a training.

    Args:
        run_id: of MLflow.
        before: the run as it was found; None where it is new.
    """

    def __init__(self, run_id: str, before: Run | None) -> None:
        self._run_id = run_id
        self._before = before
        self.curve = Curve(run_id, on_new=self._reopen)
        # a finished one may have nothing left to do, and is reopened by its first new step
        if before is not None and before.info.status != "FINISHED":
            self._reopen()

    def close(self, status: str) -> None:
        """End the run: now if it got a new step, else when it had ended before."""
        with never_fatal("the end of a training's curve"):
            self.curve.close()
        with never_fatal("the end of a training's run"):
            if self._before is None or self.curve.went_on:
                MlflowClient().set_terminated(self._run_id, status)
            else:
                MlflowClient().set_terminated(self._run_id, status, self._before.info.end_time)

    @contextmanager
    def system_metrics(self) -> Iterator[None]:
        """Let MLflow sample the machine meanwhile, where it is asked to."""
        monitor: SystemMetricsMonitor | None = None
        if MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING.get():
            with never_fatal("system metrics"):
                monitor = SystemMetricsMonitor(self._run_id, resume_logging=bool(self._before))
                monitor.start()
        try:
            yield
        finally:
            if monitor is not None:
                with never_fatal("system metrics"):
                    monitor.finish()

    def _reopen(self) -> None:
        if self._before is None:
            return
        with never_fatal("the reopening of a training's run"):
            MlflowClient().update_run(self._run_id, status="RUNNING")
            _set_tags(self._run_id, owner_tags())


def _open(
    kedro_run: mlflow.ActiveRun,
    name: str,
    digest: str,
    settings: BaseModel,
    description: TrainingDescription,
) -> TrackedTraining:
    """Find or start the run of a training, and link it with that of the `kedro run`."""
    experiment = trainings_experiment(kedro_run.info.experiment_id)
    before = _earlier_run(experiment, digest)
    if before is None:
        given = kedro_run.data.tags
        tags = {
            DIGEST_TAG: digest,
            "experiment": name,
            "mlflow.runColor": run_color(name),
            **{tag: given[tag] for tag in FROM_THE_RUN if tag in given},
            **description.tags,
            **owner_tags(),
        }
        run = MlflowClient().create_run(experiment, tags=tags, run_name=short_name(name))
        _describe(run.info.run_id, settings, description)
    else:
        run = before
    tracked = TrackedTraining(run.info.run_id, before)
    with never_fatal(f"links of {name}"):
        link_runs(kedro_run, run, name)
    return tracked


def _describe(run_id: str, settings: BaseModel, description: TrainingDescription) -> None:
    """Log settings and cases of a new run."""
    client = MlflowClient()
    dumped = settings.model_dump(mode="json")
    with never_fatal("settings of a training"):
        chosen = headline_parameters(flatten(dumped))
        device = {"seed": str(dumped.get("seed", "")), "gpu": gpu(dumped.get("device", "auto"))}
        client.log_batch(run_id, params=[Param(*item) for item in chosen.items()])
        _set_tags(run_id, device)
        client.log_dict(run_id, dumped, "settings.json")
    with never_fatal("cases of a training"):
        data = mlflow.data.from_pandas(
            description.cases,
            source=get_dataset_source_from_json(
                json.dumps({"uri": str(description.store)}), "local"
            ),
            name=description.tags["dataset"],
            digest=description.tags[POOL_TAG],
        )
        context = [InputTag("mlflow.data.context", "training")]
        client.log_inputs(run_id, [DatasetInput(dataset=data._to_mlflow_entity(), tags=context)])


def _earlier_run(experiment: str, digest: str) -> Run | None:
    same = f"tags.`{DIGEST_TAG}` = '{digest}'"
    found = MlflowClient().search_runs([experiment], same, max_results=1)
    return found[0] if found else None


def _set_tags(run_id: str, tags: dict[str, str]) -> None:
    MlflowClient().log_batch(run_id, tags=[RunTag(*item) for item in tags.items()])
