"""A run in which something failed ends with status 1 and as FAILED; what others left does not."""

import logging

import mlflow
import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline

from tsfm_pipeline.catalog import RecordDataset
from tsfm_pipeline.experiments.grid import PROMPTED
from tsfm_pipeline.experiments.outcome import ModelRecord, Outcome, collect_statuses
from tsfm_pipeline.hooks import ExitStatusHook, TrackRunHook
from tsfm_pipeline.tracking import runs
from tsfm_pipeline.tracking.settings import TrackingSettings

OUTCOME = "tsfm_pipeline.experiments.outcome.Outcome"

FINISHED = ModelRecord(experiment="pretrain.tsfm", status="finished")
FAILED = ModelRecord(experiment="transfer.x", status="failed", reason="OSError: disk full")
NOT_RUN = ModelRecord(experiment="transfer.y", status="not run", reason="left out")


def of(stage, status="finished", reason="") -> Outcome:
    return Outcome(experiment="pretrain.tsfm", stage=stage, status=status, reason=reason)


def verdicts(*found: str) -> pd.DataFrame:
    return pd.DataFrame({"verdict": list(found)})


def prompted(status, reason="") -> pd.DataFrame:
    return collect_statuses(
        Outcome(experiment=PROMPTED, stage="scoring", status=status, reason=reason)
    )


def end(folder, outputs, earlier=None, tags=None):
    """Let both hooks see a run that wrote `outputs`, beside what an earlier one had written."""
    catalog = DataCatalog()
    for number, (name, data) in enumerate({**outputs, **(earlier or {})}.items()):
        if isinstance(data, Outcome):  # known by what the catalogue says, whatever its name
            path = str(folder / f"{number}.json")
            model = f"{OUTCOME.rpartition('.')[0]}.{type(data).__name__}"
            catalog[name] = RecordDataset(filepath=path, model=model)
        else:
            catalog[name] = MemoryDataset()
        catalog.save(name, data)
    nodes = [Node(lambda: None, None, name, name=name.replace(".", "_")) for name in outputs]
    pipeline = Pipeline(nodes)
    run_params = {"tags": tags, "run_id": "2026-11-26T15.00.00.000Z"}
    given = {"run_params": run_params, "pipeline": pipeline, "catalog": catalog}
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
            "transfer.x: training failed: OSError: disk full",
        ),
        (  # later stages pass it on; it is said once
            {"transfer.x_model": FAILED, "passed_on": FAILED.unfinished()},
            None,
            "transfer.x: training failed: OSError: disk full",
        ),
        (
            {
                "pretrain_tsfm_model": FINISHED,
                "pretrain.tsfm_prediction_outcome": of("prediction", "failed", "kits21/a: E: no"),
            },
            None,
            "pretrain.tsfm: prediction failed: kits21/a: E: no",
        ),
        (
            {"any_name": of("scoring", "failed", "kits21/a: E: no")},
            None,
            "pretrain.tsfm: scoring failed: kits21/a: E: no",
        ),
        (
            {"pretrain_sam_med3d_statuses": prompted("failed", "kits21/a: E: no")},
            None,
            "pretrain.sam_med3d: scoring failed: kits21/a: E: no",
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
    outputs, tags, said, tracked, caplog, tmp_path
) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(SystemExit) as ended:
        end(tmp_path, outputs, tags=tags)
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
            "pretrain.tsfm_prediction_outcome": of("prediction"),
            "pretrain.tsfm_scoring_outcome": of("scoring"),
            "transfer.y_model": NOT_RUN,
            "transfer.y_scoring_outcome": NOT_RUN.unfinished(),
        },
        {"report": "text"},
        {"pretrain_sam_med3d_statuses": prompted("needs checkpoint", "set it")},
        {"prediction_problems": verdicts("skipped")},
        {"integrity": verdicts("ok", "quarantined")},  # the run went on to prepare the others
    ],
)
def test_a_run_without_failures_of_its_own_ends_as_it_should(
    outputs, tracked, caplog, tmp_path
) -> None:
    earlier = {"transfer.x_model": FAILED, "transfer.x_scoring_outcome": FAILED.unfinished()}
    earlier |= {"pretrain_sam_med3d_statuses": prompted("failed", "disk full")}
    earlier = {name: data for name, data in earlier.items() if name not in outputs}
    end(tmp_path, outputs, earlier)
    assert not caplog.records
    assert tracked() == "FINISHED"
