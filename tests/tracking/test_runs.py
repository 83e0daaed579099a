import mlflow
import pytest
from mlflow import MlflowClient

from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.tracking import runs
from tsfm_pipeline.tracking.settings import TrackingSettings


class Rate(FrozenModel):
    learning_rate: float = 0.01


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield tmp_path
    runs.end_run("KILLED")


def start(project, name="run"):
    return runs.start_run(TrackingSettings(), project, name, {"kedro.env": "test"})


def train(digest, steps):
    with runs.experiment_run("pretrain.tsfm", digest, Rate()) as report:
        for step in steps:
            report(step, {"train/loss": float(step)})


def nested(parent):
    found = mlflow.search_runs(search_all_experiments=True, output_format="list")
    return [run for run in found if run.data.tags.get("mlflow.parentRunId") == parent]


def test_an_experiment_is_a_nested_run_with_curves_and_parameters(project) -> None:
    parent = start(project)
    train("d1", range(3))
    runs.end_run()
    (run,) = nested(parent)
    assert run.info.run_name == "pretrain.tsfm"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"learning_rate": "0.01"}
    history = MlflowClient().get_metric_history(run.info.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert (project / "mlflow.db").is_file()


def test_an_extended_training_continues_its_curve_without_double_points(project) -> None:
    first = start(project)
    train("d1", range(3))
    runs.end_run()
    start(project, "second")
    train("d1", range(2, 5))  # resumed from before the last reported step
    train("d2", range(1))
    runs.end_run()
    (run,) = nested(first)
    history = MlflowClient().get_metric_history(run.info.run_id, "train/loss")
    assert [point.step for point in history] == [0, 1, 2, 3, 4]


def test_a_failed_training_fails_only_its_own_run(project) -> None:
    parent = start(project)
    with pytest.raises(RuntimeError), runs.experiment_run("x", "d1", Rate()):
        raise RuntimeError("no memory")
    assert mlflow.active_run().info.run_id == parent
    runs.end_run()
    (run,) = nested(parent)
    assert run.info.status == "FAILED"
    assert MlflowClient().get_run(parent).info.status == "FINISHED"


def test_without_an_open_run_nothing_is_tracked(project) -> None:
    train("d1", range(2))
    assert mlflow.active_run() is None


def test_scores_join_the_run_of_their_training(project) -> None:
    parent = start(project)
    train("d1", range(1))
    scores = {f"dice_best/{i}": i / 2000 for i in range(1500)}
    means = {"dice_best": 0.5, "dice_final": 0.4}
    runs.log_experiment_scores("pretrain.tsfm", "d1", scores, means)
    runs.end_run()
    (run,) = nested(parent)
    assert run.data.metrics["dice_best/1499"] == 1499 / 2000
    assert MlflowClient().get_run(parent).data.metrics == {
        "dice_best/pretrain.tsfm": 0.5,
        "dice_final/pretrain.tsfm": 0.4,
    }


def test_files_join_the_run_of_their_training(project) -> None:
    parent = start(project)
    train("d1", range(1))
    (project / "model.json").write_text("{}")
    runs.log_experiment_files("d1", [project / "model.json", project / "absent.json"])
    runs.end_run()
    (run,) = nested(parent)
    files = MlflowClient().list_artifacts(run.info.run_id)
    assert [file.path for file in files] == ["model.json"]


def test_flatten() -> None:
    assert runs.flatten({"a": {"b": 1, "c": {}}, "d": [1, 2]}) == {"a.b": 1, "a.c": {}, "d": [1, 2]}


def test_the_run_and_its_trainings_name_the_pool(project) -> None:
    parent = start(project)
    runs.tag_run({runs.POOL_TAG: "1a2b3c4d"})
    with runs.experiment_run("t", "d", Rate(), tags={runs.POOL_TAG: "1a2b3c4d"}):
        pass
    runs.end_run()
    (run,) = nested(parent)
    tags = [run.data.tags, MlflowClient().get_run(parent).data.tags]
    assert [found["tsfm.pool"] for found in tags] == ["1a2b3c4d", "1a2b3c4d"]
