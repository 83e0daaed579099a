"""A copied or moved project writes into its own folder, and finds the files of its runs there."""

import shutil

import mlflow
import pytest
from mlflow import MlflowClient

from tests.tracking.conftest import trainings
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.tracking import runs
from tsfm_pipeline.tracking.results import log_model


def local(uri: str) -> str:
    return mlflow.artifacts.download_artifacts(artifact_uri=uri)


@pytest.mark.parametrize("name", ["new", "with space"])
def test_a_copied_project(tmp_path, start, train, name) -> None:
    old = tmp_path / "old"
    old.mkdir()
    run_id = start(folder=old)
    runs.log_text("before", "a.txt")
    train("d1", range(1))
    log_model("d1", ModelFolder(old / "data/06_models/d1"))
    runs.end_run()
    new = tmp_path / name
    shutil.copytree(old, new)
    shutil.rmtree(old / "mlartifacts")

    start("second", folder=new)
    runs.log_text("after", "b.txt")
    train("d2", range(1))
    assert not (old / "mlartifacts").exists()
    before = MlflowClient().get_run(run_id).info.artifact_uri
    now = mlflow.active_run().info.artifact_uri
    assert (local(f"{before}/a.txt"), local(f"{now}/b.txt")) == (
        f"{new}/mlartifacts/{run_id}/artifacts/a.txt",
        f"{new}/mlartifacts/{mlflow.active_run().info.run_id}/artifacts/b.txt",
    )
    for run in trainings():
        assert local(f"{run.info.artifact_uri}/settings.json").startswith(f"{new}/mlartifacts/")
    (version,) = MlflowClient().search_model_versions("name = 'pretrain.tsfm'")
    assert version.source == (new / "data/06_models/d1").as_uri()


def test_files_elsewhere_stay_there(tmp_path, start) -> None:
    old, new = tmp_path / "old", tmp_path / "old2"  # not below the old place: a longer name
    old.mkdir()
    start(folder=old)
    elsewhere = f"file://{tmp_path}/old2/mlartifacts"
    mlflow.create_experiment("mine", artifact_location=elsewhere)
    runs.end_run()
    shutil.copytree(old, tmp_path / "third")
    start("second", folder=tmp_path / "third")
    assert mlflow.get_experiment_by_name("mine").artifact_location == elsewhere
    assert not new.exists()


def test_a_database_of_the_earlier_scheme_opens_and_keeps_its_runs(project, start, train) -> None:
    """Then one experiment had all runs, trainings were children, and there were no views."""
    uri = runs.own_database(project)
    mlflow.set_tracking_uri(uri)
    experiment = mlflow.create_experiment("tsfm", f"file://{project}/mlartifacts")
    with mlflow.start_run(experiment_id=experiment) as parent:
        tags = {"tsfm.digest": "d1", "mlflow.parentRunId": parent.info.run_id}
        with mlflow.start_run(experiment_id=experiment, nested=True, tags=tags) as child:
            mlflow.log_metric("train/loss", 1.0, step=0)
    old = MlflowClient().get_run(child.info.run_id).info
    start()
    train("d1", range(2))
    kept = MlflowClient().get_run(child.info.run_id).info
    assert (kept.status, kept.end_time, kept.experiment_id) == (
        "FINISHED",
        old.end_time,
        experiment,
    )
    (new,) = trainings()
    assert [p.step for p in MlflowClient().get_metric_history(new.info.run_id, "train/loss")] == [
        0,
        1,
    ]
