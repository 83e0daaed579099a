"""Kills, two runs at once, a server that goes away: no run is lost, and none is left open."""

import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient

from tests.tracking.conftest import trainings
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.tracking import runs
from tsfm_pipeline.tracking.problem import in_a_line
from tsfm_pipeline.tracking.results import log_model, log_scores
from tsfm_pipeline.tracking.trainings import training_run

START = """
import os, sys
from pathlib import Path
from tsfm_pipeline.tracking import runs
from tsfm_pipeline.tracking.problem import in_a_line
from tsfm_pipeline.tracking.settings import TrackingSettings
tags = {"kedro_run": "x"}
print(runs.start_run(TrackingSettings(), Path(sys.argv[1]), "run", tags), flush=True)
"""


def process(project: Path, program: str = START) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, str(project)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_kill_while_the_database_is_made_costs_nothing(project, start) -> None:
    for seconds in (0.1, 0.4, 0.7):
        making = process(project)
        while making.poll() is None and not list(project.glob("mlflow.db*")):
            time.sleep(0.01)
        time.sleep(seconds)
        making.kill()
        making.communicate()
    start()
    assert mlflow.active_run() is not None


def test_two_first_runs_at_once(project) -> None:
    both = [process(project), process(project)]
    found = [one.communicate(timeout=200) for one in both]
    assert [one.returncode for one in both] == [0, 0], found


@pytest.mark.parametrize("content", ["half-made", "no database"])
def test_a_damaged_database_is_set_aside(project, start, caplog, content) -> None:
    from mlflow.store.tracking.dbmodels.initial_models import Base
    from sqlalchemy import create_engine, text

    if content == "half-made":
        engine = create_engine(f"sqlite:///{project}/mlflow.db")
        Base.metadata.create_all(engine)  # MLflow's first step; the second was cut short
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE _alembic_tmp_runs (a INTEGER)"))
        engine.dispose()
    else:
        (project / "mlflow.db").write_bytes(b"no database at all" * 1000)
    started = time.monotonic()
    start()
    assert time.monotonic() - started < 60
    (aside,) = project.glob("mlflow.db.damaged-*")
    assert aside.stat().st_size > 0
    assert str(aside) in caplog.text


def test_a_run_whose_process_was_killed_is_closed_by_the_next(project, start) -> None:
    killed = process(project, START + "os.kill(os.getpid(), 9)")
    run_id = killed.communicate(timeout=120)[0].strip()
    living = process(project, START + "sys.stdin.read()")
    assert living.stdout is not None
    other = living.stdout.readline().strip()
    assert killed.returncode == -signal.SIGKILL
    try:
        start()
        client = MlflowClient()
        assert client.get_run(run_id).info.status == "KILLED"
        assert client.get_run(other).info.status == "RUNNING"
    finally:
        living.kill()
        living.communicate()


def test_trouble_with_mlflow_is_one_warning_and_the_curve_follows(
    start, describe, caplog, monkeypatch
) -> None:
    def away(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tsfm_pipeline.tracking.curve.TRY_AGAIN_SECONDS", 0.0)
    start()
    name = "pretrain.tsfm"
    with training_run(name, "d1", TrainingSettings(), describe(name)) as report:
        report(0, {"train/loss": 0.0})
        with monkeypatch.context() as broken:
            broken.setattr(mlflow, "log_metrics", away)
            report(1, {"train/loss": 1.0})
            report(2, {"train/loss": 2.0})
        report(3, {"train/loss": 3.0})
    (run,) = trainings()
    history = MlflowClient().get_metric_history(run.info.run_id, "train/loss")
    assert [point.step for point in history] == [0, 1, 2, 3]
    warnings = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "training goes on" in warnings[0].getMessage()


def test_nothing_that_mlflow_refuses_stops_a_run(project, start, describe, monkeypatch) -> None:
    def away(*args, **kwargs):
        raise mlflow.MlflowException("connection refused")

    start()
    for name in ("log_params", "set_tags", "log_text", "log_artifact", "log_metrics"):
        monkeypatch.setattr(mlflow, name, away)
    monkeypatch.setattr(MlflowClient, "log_batch", away)
    (project / "file").touch()
    runs.log_parameters({"a": 1})
    runs.tag_run({"a": "b"})
    runs.log_document({}, "x.json")
    runs.log_text("", "x.txt")
    runs.log_file(project / "file")
    description = describe("pretrain.tsfm")
    with training_run("pretrain.tsfm", "d", TrainingSettings(), description) as report:
        report(0, {"train/loss": 0.0})
    assert [run.info.status for run in trainings()] == ["FINISHED"]
    log_scores("d", {"dice/mean": 1.0}, pd.DataFrame())
    log_model("d", ModelFolder(project / "absent"))
    for name in ("search_runs", "create_run", "set_terminated", "delete_run"):
        monkeypatch.setattr(MlflowClient, name, away)
    with training_run("pretrain.tsfm", "other", TrainingSettings(), description) as report:
        report(0, {"train/loss": 0.0})
    runs.discard_run()
    assert mlflow.active_run() is None


def test_a_server_that_does_not_answer_is_told_in_a_line(project, start, monkeypatch) -> None:
    from tsfm_pipeline.tracking.problem import TrackingError

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match=r"can't be tracked at http://127\.0\.0\.1:9") as told:
        start(uri="http://127.0.0.1:9")
    assert "\n" not in str(told.value)
    mlflow.set_tracking_uri(f"sqlite:///{project}/mlflow.db")


def test_the_line_of_a_full_disk_says_so() -> None:
    advice = "(raised as a result of Query-invoked autoflush; consider using a session.no_autoflush"
    error = RuntimeError(f"{advice} block)\n(sqlite3.OperationalError) database or disk is full")
    assert in_a_line(error) == "(sqlite3.OperationalError) database or disk is full"
    assert in_a_line(RuntimeError()) == "RuntimeError"
