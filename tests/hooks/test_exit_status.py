"""A run in which something failed ends with status 1 and as FAILED; what others left does not."""

import logging

import mlflow
import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline

from tsfm_pipeline.experiments.outcome import ModelRecord
from tsfm_pipeline.experiments.prediction_run import PREDICTIONS_SCHEMA
from tsfm_pipeline.hooks import ExitStatusHook, TrackRunHook
from tsfm_pipeline.tracking import runs
from tsfm_pipeline.tracking.settings import TrackingSettings

FINISHED = ModelRecord(experiment="pretrain.tsfm", status="finished")
FAILED = ModelRecord(experiment="transfer.x", status="failed", reason="OSError: disk full")
NOT_RUN = ModelRecord(experiment="transfer.y", status="not run", reason="left out")


def predictions(*problems: str) -> pd.DataFrame:
    rows = [("pretrain.tsfm", "best", "kits21/a", "kits21", "a", "", "", p) for p in problems]
    return pd.DataFrame(rows, columns=PREDICTIONS_SCHEMA.names)


def verdicts(*found: str) -> pd.DataFrame:
    return pd.DataFrame({"verdict": list(found)})


def end(outputs, earlier=None, tags=None):
    """Let both hooks see a run that wrote `outputs`, beside what an earlier one had written."""
    written = {**outputs, **(earlier or {})}
    catalog = DataCatalog({name: MemoryDataset(data) for name, data in written.items()})
    nodes = [Node(lambda: None, None, name, name=name.replace(".", "_")) for name in outputs]
    pipeline = Pipeline(nodes)
    given = {"run_params": {"tags": tags}, "pipeline": pipeline, "catalog": catalog}
    TrackRunHook().after_pipeline_run(**given)
    ExitStatusHook().after_pipeline_run(**given)


@pytest.fixture(autouse=True)
def tracked(tmp_path, monkeypatch):
    """An open run; the value tells how it was closed."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run_id = runs.start_run(TrackingSettings(), tmp_path, "run", {})
    yield lambda: mlflow.get_run(run_id).info.status
    runs.end_run("KILLED")


@pytest.mark.parametrize(
    ("outputs", "tags", "said"),
    [
        (
            {"pretrain_tsfm_model": FINISHED, "transfer.x_model": FAILED},
            None,
            "training of transfer.x failed: OSError: disk full",
        ),
        (
            {"pretrain_tsfm_model": FINISHED, "pretrain.tsfm_predictions": predictions("E: no")},
            None,
            "pretrain.tsfm: prediction of kits21/a failed: E: no",
        ),
        (
            {"prediction_problems": verdicts("failed", "skipped", "failed")},
            None,
            "2 scans or files could not be segmented",
        ),
        (
            {"integrity": verdicts("ok", "quarantined", "repaired")},
            ["screen"],
            "1 of 3 cases are quarantined",
        ),
    ],
)
def test_what_failed_in_the_run_is_named_and_gives_status_1(
    outputs, tags, said, tracked, caplog
) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(SystemExit) as ended:
        end(outputs, tags=tags)
    assert ended.value.code == 1
    assert [record.message[: len(said) + 15] for record in caplog.records] == [
        f"Exit status 1: {said}"
    ]
    assert tracked() == "FAILED"


@pytest.mark.parametrize(
    "outputs",
    [
        {
            "pretrain_tsfm_model": FINISHED,
            "pretrain.tsfm_predictions": predictions("", ""),
            "transfer.y_model": NOT_RUN,
            "transfer.y_predictions": predictions(),
        },
        {"report": "text"},
        {"prediction_problems": verdicts("skipped")},
        {"integrity": verdicts("ok", "quarantined")},  # the run went on to prepare the others
    ],
)
def test_a_run_without_failures_of_its_own_ends_as_it_should(outputs, tracked, caplog) -> None:
    earlier = {"transfer.x_model": FAILED, "transfer.x_predictions": predictions("E: no")}
    end(outputs, earlier)
    assert not caplog.records
    assert tracked() == "FINISHED"
