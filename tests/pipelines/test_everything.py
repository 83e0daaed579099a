"""`kedro run` on the smallest phantoms: the whole grid, twice."""

import time
from pathlib import Path

import pandas as pd
import pytest

from tests.pipelines.conftest import kedro
from tsfm_pipeline.experiments.grid import GRID, PIPELINES
from tsfm_pipeline.experiments.outcome import ModelRecord


def newest(project: Path, name: str) -> Path:
    """Return the newest version of a report."""
    return sorted((project / "data/08_reporting/test" / name).glob("*/*"))[-1]


def records(project: Path) -> dict[str, ModelRecord]:
    folder = project / "data" / "06_models" / "test"
    loaded = [ModelRecord.model_validate_json(path.read_text()) for path in folder.glob("*.json")]
    return {record.experiment: record for record in loaded}


def test_every_experiment_has_a_record_and_none_failed(phantom_project: Path) -> None:
    found = records(phantom_project)
    assert set(found) == {entry.name for entry in GRID}
    # conf/test leaves the other budgets out, conf/base the studies
    run = {
        entry.name
        for entry in GRID
        if entry.budget in (None, "epoch100", "epoch1000") and entry.pipeline != "study"
    }
    assert {name for name, record in found.items() if record.status == "finished"} == run
    assert {record.status for record in found.values()} == {"finished", "not run"}


def test_the_report_has_the_papers_tables_and_says_phantoms(phantom_project: Path) -> None:
    report = newest(phantom_project, "report.md").read_text()
    for heading in ("Table 1", "Table 2", "Table 3"):
        assert heading in report
    assert "Synthetic phantoms" in report
    assert "0.7106" in report  # the paper's mean tumour Dice
    assert newest(phantom_project, "table_1.png").stat().st_size > 10_000


def test_both_checkpoints_of_every_held_out_case_are_scored(phantom_project: Path) -> None:
    scores = pd.read_csv(newest(phantom_project, "scores.csv"))
    splits = pd.read_parquet(phantom_project / "data/05_model_input/test/splits.parquet")
    held_out = splits[(splits["role"] == "validation") & splits["pool"]]
    for weights in ("best", "final"):
        rows = scores[(scores["experiment"] == "pretrain.tsfm") & (scores["weights"] == weights)]
        scored = set(rows["dataset"] + "/" + rows["case"].astype(str))
        assert scored == set(held_out["key"])
    assert scores["dice"].dropna().between(0, 1).all()


def test_a_second_run_redoes_nothing(phantom_project: Path) -> None:
    def state() -> dict[str, int]:
        data = phantom_project / "data"
        kept = [
            *data.glob("01_raw/phantom/**/*"),
            *data.glob("03_primary/test/cases/*/*"),
            *data.glob("06_models/test/**/*.safetensors"),
            *data.glob("06_models/test/**/metrics.jsonl"),
            *data.glob("07_model_output/test/**/*.nii.gz"),
        ]
        return {str(path): path.stat().st_mtime_ns for path in kept}

    before = state()
    assert len(before) > 100
    started = time.monotonic()
    kedro(phantom_project, "run", "--env", "test", "--pipelines", "transfer")
    assert state() == before
    assert time.monotonic() - started < 90


def test_an_experiment_is_tracked_with_its_curve_and_scores(phantom_project: Path) -> None:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{phantom_project}/mlflow.db")
    runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
    (run,) = [run for run in runs if run.info.run_name == "pretrain.tsfm"]
    assert run.data.params["size"] == "tiny"
    assert "train/loss" in run.data.metrics
    assert any(name.startswith("dice_best/kits21/") for name in run.data.metrics)

    transferred = next(run for run in runs if ".pretrained." in str(run.info.run_name))
    files = mlflow.MlflowClient().list_artifacts(transferred.info.run_id)
    assert {file.path for file in files} == {"model.json", "weights.json"}


@pytest.mark.parametrize("pipeline", ["data_pool", *PIPELINES, "reporting"])
def test_a_named_pipeline_includes_what_it_needs(pipeline: str) -> None:
    from tsfm_pipeline.pipeline_registry import register_pipelines

    pipelines = register_pipelines()
    first = {"provide_raw_data", "index_cases", "prepare_cases", "split_cases"}
    assert first <= {node.name for node in pipelines[pipeline].nodes}
    made = set(pipelines[pipeline].all_outputs())
    trains = {node for node in pipelines[pipeline].nodes if node.name.endswith(".train")}
    for node in trains:
        assert {name for name in node.inputs if name.endswith("_model")} <= made
