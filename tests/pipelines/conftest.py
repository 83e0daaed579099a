"""One run of everything, shared by the tests that look at what it left."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def phantom_project(make_project) -> Path:
    """A project after `kedro run --env test`, run as a user would."""
    project = make_project()
    kedro(project, "run", "--env", "test")
    return project


def kedro(project: Path, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a kedro command in a project; fail with its output at another exit status."""
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(
        [sys.executable, "-m", "kedro", *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done
