"""The two MLflow experiments: one for Kedro runs, one for trainings.

Trainings are no children of the run that made them: MLflow's chart view hides children, and a
training may be begun by one run and continued by another.
"""

from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

RUNS, TRAININGS = " runs", " trainings"
"""What follows the name that the settings give."""

NOTES = {
    RUNS: "One run per `kedro run`; its description links to its trainings.",
    TRAININGS: "One run per training, whichever `kedro run` made or continued it.",
}


def open_experiments(name: str, artifacts: Path | None) -> tuple[str, str]:
    """Make both experiments where they are not there, and choose that of Kedro runs.

    Args:
        name: what the settings call them.
        artifacts: folder for the files of new experiments; None leaves it to the server.

    Returns:
        The ids of the experiment of Kedro runs and of that of trainings.
    """
    runs, trainings = (_open(f"{name}{kind}", NOTES[kind], artifacts) for kind in (RUNS, TRAININGS))
    mlflow.set_experiment(experiment_id=runs)
    return runs, trainings


def trainings_experiment(runs_experiment: str) -> str:
    """Return the id of the trainings' experiment that belongs to one of Kedro runs."""
    name = MlflowClient().get_experiment(runs_experiment).name.removesuffix(RUNS)
    return str(mlflow.get_experiment_by_name(f"{name}{TRAININGS}").experiment_id)


def _open(name: str, note: str, artifacts: Path | None) -> str:
    found = mlflow.get_experiment_by_name(name)
    if found is None:
        tags = {
            "mlflow.note.content": note,
            "mlflow.experimentKind": "custom_model_development",  # else the page is for chatbots
        }
        location = artifacts.as_uri() if artifacts else None
        try:
            return str(mlflow.create_experiment(name, artifact_location=location, tags=tags))
        except MlflowException:
            found = mlflow.get_experiment_by_name(name)  # another run was first
            if found is None:
                raise
    return str(found.experiment_id)
