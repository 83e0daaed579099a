"""SIGTERM ends a run wherever it is, with its own status and its tracked run as KILLED."""

import signal
import subprocess
import sys
import time

import mlflow


def test_sigterm_during_preparation_ends_the_run_as_killed(make_project, monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    project = make_project()
    run = subprocess.Popen(
        [sys.executable, "-m", "kedro", "run", "--env", "test", "--pipelines", "data_pool"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert run.stdout is not None
    for line in run.stdout:
        if "data_pool: " in line:  # the synthetic datasets
            break
    time.sleep(1)
    run.send_signal(signal.SIGTERM)
    output = run.communicate(timeout=120)[0]
    assert run.returncode == 143, output
    mlflow.set_tracking_uri(f"sqlite:///{project}/mlflow.db")
    (tracked,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert tracked.info.status == "KILLED"
