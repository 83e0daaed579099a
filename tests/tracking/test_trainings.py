"""The runs of trainings: one per digest, whichever `kedro run` makes or continues it."""

import json
import time

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient

from tests.tracking.conftest import trainings
from tsfm_pipeline.experiments.grid import EXPERIMENTS
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.model.summary import TrainingSummary
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.tracking import runs
from tsfm_pipeline.tracking.described import run_color, short_name
from tsfm_pipeline.tracking.results import log_model, log_scores
from tsfm_pipeline.tracking.trainings import training_run


def curve(run) -> list[tuple[int, float]]:
    history = MlflowClient().get_metric_history(run.info.run_id, "train/loss")
    return sorted((point.step, point.value) for point in history)


def test_a_training_is_a_run_of_its_own_with_curve_and_few_parameters(
    project, start, train
) -> None:
    start()
    train("d1", range(3), size="tiny")
    (run,) = trainings()
    assert run.info.run_name == "tsfm"
    assert run.info.status == "FINISHED"
    assert "mlflow.parentRunId" not in run.data.tags  # the charts hide children
    assert curve(run) == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert run.data.params["network.size"] == "tiny"
    assert len(run.data.params) < 20
    text = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/settings.json")
    assert TrainingSettings.model_validate(json.loads(text)) == TrainingSettings(size="tiny")


def test_its_tags_are_what_one_groups_and_filters_by(start, train) -> None:
    start()
    train("d1", range(1), "transfer.kits19.pretrained.epoch100", seed=3, device="cpu")
    train("d2", range(1), "pretrain.tsfm")
    found = {run.data.tags["experiment"]: run.data.tags for run in trainings()}
    tags = found["transfer.kits19.pretrained.epoch100"]
    expected = {
        "method": "tsfm",
        "dataset": "kits19",
        "start": "pretrained",
        "initial": "pretrain.tsfm",
        "budget": "epoch100",
        "seed": "3",
        "environment": "test",
        "workspace": "phantom",
        "pool": "1a2b3c4d",
        "gpu": "none",
    }
    assert {name: tags[name] for name in expected} == expected
    assert tags["machine"]
    of_pool = found["pretrain.tsfm"]
    assert (of_pool["dataset"], of_pool["start"]) == ("pool", "scratch")
    assert "budget" not in of_pool


def test_its_cases_are_its_dataset(start, train) -> None:
    start()
    train("d1", range(1), "transfer.kits19.scratch.epoch100")
    (run,) = trainings()
    (given,) = run.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("kits19", "1a2b3c4d")
    assert json.loads(given.dataset.profile)["num_rows"] == 2


def test_each_run_names_the_other(start, train) -> None:
    first = start("first")
    train("d1", range(1), "transfer.kits19.scratch.epoch100")
    train("d2", range(1), "transfer.kits19.scratch.epoch10")
    runs.end_run()
    start("second")
    train("d1", range(1), "transfer.kits19.scratch.epoch100")
    both, once = trainings()
    assert both.data.tags["kedro_run"] == "second first"
    assert once.data.tags["kedro_run"] == "first"
    tags = MlflowClient().get_run(first).data.tags
    names = ["transfer.kits19.scratch.epoch100", "transfer.kits19.scratch.epoch10"]
    assert tags["trainings"].split() == names
    for run in (both, once):
        address = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
        assert address in tags["mlflow.note.content"]
    assert f"/runs/{first}" in once.data.tags["mlflow.note.content"]


def test_an_extended_training_continues_its_curve_without_double_points(start, train) -> None:
    start("first")
    train("d1", range(3))
    runs.end_run()
    start("second")
    train("d1", range(2, 5))  # resumed from before the last reported step
    train("d2", range(1))
    continued, _ = trainings()
    assert [step for step, _ in curve(continued)] == [0, 1, 2, 3, 4]


def test_a_finished_training_keeps_its_end(start, train, project) -> None:
    start("first")
    train("d1", range(3))
    (before,) = trainings()
    runs.end_run()
    time.sleep(0.05)
    start("second")
    train("d1", [])
    log_scores("d1", {"dice/mean": 0.5}, pd.DataFrame())
    (after,) = trainings()
    assert after.data.metrics["dice/mean"] == 0.5
    assert (after.info.status, after.info.end_time) == ("FINISHED", before.info.end_time)
    train("d1", [3])
    (extended,) = trainings()
    assert extended.info.status == "FINISHED"
    assert extended.info.end_time > before.info.end_time


def test_a_training_goes_on_as_running(start, describe, train) -> None:
    start("first")
    train("d1", range(2))
    runs.end_run()
    start("second")
    with training_run(
        "pretrain.tsfm", "d1", TrainingSettings(), describe("pretrain.tsfm")
    ) as report:
        assert [run.info.status for run in trainings()] == ["FINISHED"]
        report(2, {"train/loss": 0.0})
        assert [run.info.status for run in trainings()] == ["RUNNING"]
    assert [run.info.status for run in trainings()] == ["FINISHED"]


@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_a_training_that_ends_early_ends_only_its_own_run(start, describe, error, status) -> None:
    first = start()
    description = describe("pretrain.tsfm")
    with pytest.raises(error), training_run("pretrain.tsfm", "d", TrainingSettings(), description):
        raise error("no memory")
    assert mlflow.active_run().info.run_id == first
    assert [run.info.status for run in trainings()] == [status]
    runs.end_run()
    assert MlflowClient().get_run(first).info.status == "FINISHED"


def test_without_an_open_run_nothing_is_tracked(train) -> None:
    train("d1", range(2))
    log_scores("d1", {"dice/mean": 1.0}, pd.DataFrame())
    assert mlflow.active_run() is None


def test_scores_are_a_few_metrics_and_a_table(start, train) -> None:
    first = start()
    train("d1", range(1))
    table = pd.DataFrame({"target": ["kidney", "liver"], "best": [0.5, 0.75]})
    log_scores("d1", {"dice/mean": 0.625, "dice/organ": 0.625}, table)
    (run,) = trainings()
    assert run.data.metrics["dice/mean"] == 0.625
    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/dice.csv") == (
        "target,best\nkidney,0.5\nliver,0.75\n"
    )
    assert MlflowClient().get_run(first).data.metrics == {}  # named alike for all, on the training


def test_a_finished_model_is_a_version_that_refers_to_its_folder(project, start, train) -> None:
    start()
    name = "transfer.kits19.pretrained.epoch100"
    for digest in ("d1", "d2"):
        train(digest, range(1), name)
        folder = ModelFolder(project / digest)
        folder.path.mkdir()
        folder.weights("best").write_bytes(b"weights")
        log_model(digest, folder)
        log_model(digest, folder)  # asked for again: the same version
    log_scores("d2", {"dice/mean": 0.62514}, pd.DataFrame())
    versions = MlflowClient().search_model_versions(f"name = '{name}'")
    found = {version.tags["tsfm.digest"]: version for version in versions}
    assert sorted(version.version for version in versions) == [1, 2]
    assert found["d2"].source == (project / "d2").as_uri()
    assert found["d2"].tags["dice/mean"] == "0.6251"
    assert "dice/mean" not in found["d1"].tags
    assert len(list(project.rglob("best.safetensors"))) == 2  # no copies


def test_files_and_missing_points_come_from_the_model_folder(project, start, train) -> None:
    folder = ModelFolder(project / "model")
    folder.path.mkdir()
    folder.card_path.write_text("{}")
    lines = [json.dumps({"epoch": epoch, "train/loss": epoch / 10}) for epoch in range(1500)]
    folder.metrics.write_text("\n".join(lines) + "\n")
    figures = {"dice": None, "best_dice": None, "best_epoch": None, "skipped_steps": 0}
    summary = TrainingSummary(name="x", epochs=1500, parameters=1, seconds=12.5, **figures)
    folder.write_summary(summary)
    start()
    train("d1", range(2))  # tracked until MLflow's database was lost, or not at all
    log_model("d1", folder)
    (run,) = trainings()
    assert curve(run) == [(0, 0.0), (1, 1.0), *((epoch, epoch / 10) for epoch in range(2, 1500))]
    assert run.data.metrics["training_seconds"] == 12.5
    assert run.data.tags["epochs"] == "1500"
    files = {file.path for file in MlflowClient().list_artifacts(run.info.run_id)}
    assert files == {"settings.json", "model.json"}


def test_system_metrics_are_sampled_where_asked_for(start, train, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    start(system_metrics=True)
    steps = (time.sleep(0.3) or step for step in range(3))
    train("d1", steps)
    (run,) = trainings()
    assert any(name.startswith("system/cpu") for name in run.data.metrics)


def test_short_names_fit_into_the_list_and_differ() -> None:
    assert short_name("pretrain.tsfm") == "tsfm"
    assert short_name("transfer.abdomenct1k.scratch.epoch100") == "abdomenct1k scr 100"
    assert short_name("ablation.amos22.kits19") == "amos22 kits19"
    table_2 = [name for name in EXPERIMENTS if ".pretrained." in name or ".scratch." in name]
    assert max(len(short_name(name)) for name in table_2) <= 20
    assert len({short_name(name) for name in EXPERIMENTS}) == len(EXPERIMENTS)


def test_experiments_have_different_colours() -> None:
    assert len({run_color(name) for name in EXPERIMENTS}) == len(EXPERIMENTS)
