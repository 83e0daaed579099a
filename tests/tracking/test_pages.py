"""The views that MLflow's pages open with, against MLflow's own user interface."""

import json
from pathlib import Path

import mlflow
import pytest

from tests.tracking.conftest import trainings
from tsfm_pipeline.tracking import runs
from tsfm_pipeline.tracking.pages import charts_page, newest_page

BUNDLES = Path(mlflow.__file__).parent / "server/js/build/static/js"


def view(experiment: str, key: str) -> dict:
    tags = mlflow.get_experiment_by_name(experiment).tags
    saved = json.loads(tags[f"mlflow.sharedViewState.{key}"])
    assert isinstance(saved["createdAt"], int)
    assert saved["name"]
    return json.loads(saved["state"])


def test_the_printed_page_has_the_trainings_of_the_newest_run(start, train) -> None:
    start("2026-11-26T15.00.00.000Z")
    train("d1", range(1), "transfer.kits19.scratch.epoch10")
    train("d2", range(1), "transfer.kits19.scratch.epoch100")
    runs.end_run()
    start("2026-11-26T16.00.00.000Z")
    train("d2", range(1), "transfer.kits19.scratch.epoch100")
    runs.end_run()
    start("2026-11-26T17.00.00.000Z")  # a run that fails before its first training
    runs.end_run("FAILED")
    state = view("tsfm trainings", "newest")
    found = mlflow.search_runs(
        experiment_names=["tsfm trainings"],
        filter_string=state["searchFilter"],
        output_format="list",
    )
    assert [run.data.tags["experiment"] for run in found] == ["transfer.kits19.scratch.epoch100"]
    experiment = trainings()[0].info.experiment_id
    assert newest_page() == (
        f"http://127.0.0.1:5000/#/experiments/{experiment}/runs?viewStateShareKey=newest"
        "&compareRunsMode=CHART&workflowType=machine_learning"
    )
    assert newest_page("2026-11-26T16.00.00.000Z") == newest_page()
    assert newest_page("2026-11-26T17.00.00.000Z") is None


def test_dice_over_epochs_comes_first_and_the_rest_is_folded(start, train) -> None:
    start()
    train("d1", range(1))
    state = view("tsfm trainings", "newest")
    sections = {section["uuid"]: section["name"] for section in state["compareRunSections"]}
    first = state["compareRunCharts"][0]
    assert (first["type"], first["metricKey"]) == ("LINE", "val/dice")
    assert sections[first["metricSectionId"]] == next(iter(sections.values()))
    unfolded = [s["name"] for s in state["compareRunSections"] if s["display"]]
    assert len(unfolded) == 3
    assert state["runsHiddenMode"] == "SHOW_ALL"


@pytest.mark.parametrize(("experiment", "key"), [("tsfm trainings", "all"), ("tsfm runs", "list")])
def test_a_view_that_a_user_has_changed_is_kept(start, experiment, key) -> None:
    start()
    runs.end_run()
    client = mlflow.MlflowClient()
    found = mlflow.get_experiment_by_name(experiment)
    assert view(experiment, key)["searchFilter"] == ""
    client.set_experiment_tag(found.experiment_id, f"mlflow.sharedViewState.{key}", "mine")
    start("second")
    tags = mlflow.get_experiment_by_name(experiment).tags
    assert tags[f"mlflow.sharedViewState.{key}"] == "mine"


@pytest.mark.skipif(not BUNDLES.is_dir(), reason="this MLflow has no user interface")
def test_mlflow_knows_every_word_of_a_view(start) -> None:
    start()
    state = view("tsfm trainings", "all")
    words = {*state, *state["compareRunSections"][0], *state["compareRunCharts"][0]}
    words |= {chart["type"] for chart in state["compareRunCharts"]}
    words |= {state["runsHiddenMode"], state["startTime"], state["lifecycleFilter"]}
    words |= {"mlflow.sharedViewState.", "viewStateShareKey", "compareRunsMode", "machine_learning"}
    script = "".join(path.read_text() for path in BUNDLES.glob("*.js"))
    assert {word for word in words if word not in script} == set()


def test_a_server_serves_its_own_page(project) -> None:
    mlflow.set_tracking_uri("http://somewhere:8080/")
    assert charts_page("7", "all").startswith("http://somewhere:8080/#/experiments/7/runs?")
    mlflow.set_tracking_uri(f"sqlite:///{project}/mlflow.db")
