"""A training's run and the run of the `kedro run` that made or continued it name each other."""

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run, RunInfo, RunTag

from tsfm_pipeline.tracking.pages import save_newest_view
from tsfm_pipeline.tracking.runs import KEDRO_RUN_TAG, TRAININGS_TAG

DESCRIPTION = "mlflow.note.content"
MAX_LENGTH = 8000
"""Characters that MLflow takes in a tag."""


def link_runs(kedro_run: mlflow.ActiveRun, training: Run, name: str) -> None:
    """Write each run into tags and description of the other, and the charts' filter.

    Args:
        kedro_run: the run of the `kedro run`.
        training: the run of the training.
        name: of the training's experiment.
    """
    client = MlflowClient()
    run_id = kedro_run.data.tags[KEDRO_RUN_TAG]
    earlier = training.data.tags.get(KEDRO_RUN_TAG, "").split()
    if run_id not in earlier:
        tags = {
            KEDRO_RUN_TAG: _shortened([run_id, *earlier], " "),  # the newest first
            DESCRIPTION: f"`{name}`, last asked for by {_link(kedro_run.info)}",
        }
        _set_tags(client, training.info.run_id, tags)
    tags = client.get_run(kedro_run.info.run_id).data.tags
    names = tags.get(TRAININGS_TAG, "").split()
    if name not in names:
        lines = [*tags.get(DESCRIPTION, "").splitlines(), f"- {_link(training.info)}"]
        linked = {
            TRAININGS_TAG: _shortened([*names, name], " "),
            DESCRIPTION: _shortened(lines, "\n"),
        }
        _set_tags(client, kedro_run.info.run_id, linked)
    search = f"tags.{KEDRO_RUN_TAG} LIKE '%{run_id}%'"
    save_newest_view(training.info.experiment_id, search)


def _link(run: RunInfo) -> str:
    return f"[{run.run_name}](#/experiments/{run.experiment_id}/runs/{run.run_id})"


def _shortened(parts: list[str], separator: str) -> str:
    """Join what MLflow has room for, whole parts only."""
    while len(joined := separator.join(parts)) > MAX_LENGTH:
        parts = parts[:-1]
    return joined


def _set_tags(client: MlflowClient, run_id: str, tags: dict[str, str]) -> None:
    client.log_batch(run_id, tags=[RunTag(*item) for item in tags.items()])
