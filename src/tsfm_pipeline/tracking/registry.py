"""Trained models as versions in MLflow's registry: the folder by reference, nothing copied.

In the project's own database alone: a server refuses a folder that is not among its own files.
"""

from collections.abc import Mapping
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tsfm_pipeline.tracking.trainings import DIGEST_TAG

ALREADY_THERE = "RESOURCE_ALREADY_EXISTS"


def register_model(run_id: str, digest: str, folder: Path) -> None:
    """Make a training's model folder a version of the model named as its experiment, once.

    Args:
        run_id: of the training.
        digest: of the training.
        folder: its model folder.
    """
    client = MlflowClient()
    if not _takes_folders() or client.search_model_versions(f"run_id = '{run_id}'"):
        return
    name = client.get_run(run_id).data.tags["experiment"]
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != ALREADY_THERE:
            raise
    source = folder.absolute().as_uri()
    client.create_model_version(name, source=source, run_id=run_id, tags={DIGEST_TAG: digest})


def tag_model(run_id: str, dice: Mapping[str, float]) -> None:
    """Tag the version of a training, if there is one, with what its held-out cases scored."""
    if not _takes_folders():
        return
    client = MlflowClient()
    for version in client.search_model_versions(f"run_id = '{run_id}'"):
        for name, value in dice.items():
            client.set_model_version_tag(version.name, version.version, name, f"{value:.4f}")


def _takes_folders() -> bool:
    return str(mlflow.get_tracking_uri()).startswith("sqlite")
