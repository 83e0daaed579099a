"""`kedro run` on the smallest phantoms: the whole grid, twice; then the notebooks on what it left.

One file, so that one process of the tests runs everything once. The notebooks need no Jupyter.
"""

import ast
import json
import time
from fnmatch import fnmatch
from pathlib import Path

import matplotlib
import pandas as pd
import pytest
from IPython.display import Image
from kedro.config import OmegaConfigLoader

from tests.pipelines.conftest import kedro
from tsfm_pipeline.experiments.grid import GRID, PIPELINES
from tsfm_pipeline.experiments.outcome import ModelRecord
from tsfm_pipeline.settings import CONFIG_LOADER_ARGS

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


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
    loader = OmegaConfigLoader(str(phantom_project / "conf"), env="test", **CONFIG_LOADER_ARGS)
    left_out = loader["parameters"]["experiments"]["left_out"]
    run = {
        entry.name
        for entry in GRID
        if entry.budget in (None, "epoch100", "epoch1000")  # the others are null in conf/test
        and not any(fnmatch(entry.name, pattern) for pattern in left_out)
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
            *data.glob("01_raw/test/**/*"),
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
    assert time.monotonic() - started < 240  # a minute on free cores


def test_an_experiment_is_tracked_with_its_curve_and_scores(phantom_project: Path) -> None:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{phantom_project}/mlflow.db")
    runs = mlflow.search_runs(experiment_names=["tsfm trainings"], output_format="list")
    tracked = {run.data.tags["experiment"]: run for run in runs}
    finished = {name for name, record in records(phantom_project).items() if record.epochs}
    assert set(tracked) == finished
    run = tracked["pretrain.tsfm"]
    assert run.data.params["network.size"] == "tiny"
    assert {"train/loss", "dice/mean", "dice/organ", "dice/tumour"} <= set(run.data.metrics)
    assert not [name for name in run.data.metrics if "kits21" in name]

    transferred = tracked["transfer.kits19.pretrained.epoch100"]
    files = mlflow.MlflowClient().list_artifacts(transferred.info.run_id)
    assert {file.path for file in files} == {
        "dice.csv",
        "model.json",
        "settings.json",
        "weights.json",
    }


def test_a_run_keeps_its_report_in_mlflow(phantom_project: Path) -> None:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{phantom_project}/mlflow.db")
    runs = mlflow.search_runs(experiment_names=["tsfm runs"], output_format="list")
    first = min(runs, key=lambda run: run.info.start_time)
    files = {file.path for file in mlflow.MlflowClient().list_artifacts(first.info.run_id)}
    assert {"parameters.json", "report.md", "table_1.png", "tables.csv", "pool.html"} <= files


@pytest.mark.parametrize("pipeline", ["data_pool", *PIPELINES, "reporting"])
def test_a_named_pipeline_includes_what_it_needs(pipeline: str) -> None:
    from tsfm_pipeline.pipeline_registry import register_pipelines

    pipelines = register_pipelines()
    first = {"provide_raw_data", "index_cases", "prepare_cases", "split_cases"}
    assert first <= {node.name.rpartition(".")[2] for node in pipelines[pipeline].nodes}
    made = set(pipelines[pipeline].all_outputs())
    trains = {node for node in pipelines[pipeline].nodes if node.name.endswith(".train")}
    for node in trains:
        assert {name for name in node.inputs if name.endswith("_model")} <= made


def code_cells(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def run_cell(source: str, namespace: dict[str, object]) -> object:
    """Run a cell as Jupyter does; return the value of a last line that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), namespace)
    if last is None:
        return None
    assert isinstance(last, ast.Expr)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), namespace)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_cells_run_in_order(
    path: Path, phantom_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(phantom_project)
    monkeypatch.setenv("KEDRO_ENV", "test")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    matplotlib.use("agg")
    namespace: dict[str, object] = {}
    for number, source in enumerate(code_cells(path)):
        value = run_cell(source, namespace)
        if isinstance(value, Image):
            assert value.data.startswith(b"\x89PNG"), f"cell {number}"


def test_there_are_four_without_outputs() -> None:
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04"]
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            assert cell.get("outputs", []) == [], f"{path.name}: strip its outputs"
            assert cell.get("execution_count") is None, f"{path.name}: strip its outputs"
