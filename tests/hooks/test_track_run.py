"""What the hook makes of a `kedro run`: a run in MLflow with its files, or none."""

import mlflow
import pytest
from kedro.io import DataCatalog, MemoryDataset, Version
from kedro_datasets.pandas import CSVDataset
from kedro_datasets.text import TextDataset

from tsfm_pipeline.hooks import TrackRunHook
from tsfm_pipeline.parameters import Parameters
from tsfm_pipeline.tracking import runs
from tsfm_pipeline.tracking.settings import TrackingSettings

SHOWN = {"kedro-viz": {"layer": "reporting"}}


class Given(Parameters):
    """Parameters without the sections that do not matter here."""

    @classmethod
    def from_mapping(cls, raw):
        return cls.model_construct(
            tracking=TrackingSettings(), reporting=type("R", (), {"workspace": "phantom"})()
        )

    def model_dump(self, **kwargs):
        return {"raw_root": "x"}


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A hook that has opened a run, and the catalogue of the run."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("tsfm_pipeline.parameters.Parameters", Given)
    catalog = DataCatalog({"parameters": MemoryDataset({})})
    hook = TrackRunHook()
    run_params = {
        "project_path": str(tmp_path),
        "run_id": "2026-11-26T15.00.00.000Z",
        "env": "test",
        "pipeline_names": ["data_pool"],
        "runtime_params": {"pool": {"datasets": ["kits19"]}},
    }
    hook.before_pipeline_run(run_params=run_params, pipeline=None, catalog=catalog)
    yield hook, catalog
    runs.end_run("KILLED")


def test_a_run_says_what_was_asked_for(begun) -> None:
    run = mlflow.get_run(mlflow.active_run().info.run_id)
    assert run.info.run_name.startswith("data_pool ")
    assert run.data.params == {"pool.datasets": "['kits19']"}
    tags = {"kedro_run": "2026-11-26T15.00.00.000Z", "environment": "test", "workspace": "phantom"}
    tags["params"] = 'pool.datasets=["kits19"]'
    assert {name: run.data.tags[name] for name in tags} == tags


def test_a_run_refused_before_its_first_node_leaves_none(begun) -> None:
    hook, _ = begun
    hook.on_pipeline_error(error=ValueError("no such node"))
    assert mlflow.active_run() is None
    assert mlflow.search_runs(search_all_experiments=True, output_format="list") == []


def test_a_run_that_fails_later_says_why(begun) -> None:
    hook, _ = begun
    hook.before_node_run()
    hook.on_pipeline_error(error=ValueError("no cases\nand much more"))
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert (run.info.status, run.data.tags["failure"]) == ("FAILED", "no cases")


def test_what_is_written_for_readers_is_attached(begun, tmp_path, caplog) -> None:
    hook, catalog = begun
    versioned = {"filepath": str(tmp_path / "data/report.html"), "metadata": SHOWN}
    now = Version(None, "2026-11-26T15.00.00.000Z")
    catalog["report"] = TextDataset(**versioned, version=now)
    catalog["page"] = TextDataset(filepath=str(tmp_path / "data/pool.html"), metadata=SHOWN)
    catalog["scores"] = CSVDataset(filepath=str(tmp_path / "data/scores.csv"))  # no layer
    catalog["memory"] = MemoryDataset(metadata=SHOWN)
    catalog.save("report", "<p>")
    catalog.save("page", "<p>")
    (tmp_path / "data/report.html/2026-11-26T15.00.00.000Z/report.csv").touch()  # of one entry
    for name in ("report", "page", "scores", "memory"):
        hook.after_dataset_saved(dataset_name=name)
    files = mlflow.MlflowClient().list_artifacts(mlflow.active_run().info.run_id)
    attached = {"report.html", "report.csv", "pool.html", "parameters.json"}
    assert {file.path for file in files} == attached
    assert not [text for text in caplog.messages if "Not tracked" in text]
