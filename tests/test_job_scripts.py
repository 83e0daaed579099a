"""The job scripts of docs/training.md, with stand-ins for the commands that they call."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tsfm_pipeline.experiments.grid import GRID

STAND_INS = {
    # It `fails` before it trains, finds everything `done`, `prepares` for long, `dies` in training.
    "kedro": """
        trap '/bin/sleep 0.4; echo saved >> "$STAGE/saved"; exit 143' TERM
        touch "$STAGE/kedro"
        case $PLAY in fails) exit 3 ;; done) exit 0 ;; prepares) /bin/sleep 1 ;; esac
        echo "12:00:00 INFO    tsfm: waiting for 1 more machine(s); run there: torchrun folder"
        touch "$STAGE/training"
        for _ in $(seq "$STEPS"); do sleep; done
        [ "$PLAY" = dies ] && exit 1
        touch "$STAGE/trained"
        /bin/sleep 1
        """,
    "torchrun": """
        trap 'echo asked >> "$STAGE/torchrun"; exit 143' TERM
        echo "$@" >> "$STAGE/torchrun"
        until [ -e "$STAGE/trained" ]; do sleep; done
        """,
    "srun": 'echo "$@" >> "$STAGE/srun"; exec "${@: -3}"',
    "scontrol": """
        [ "$1" = show ] && printf 'node1\\nnode2\\n' && exit
        echo "$@" >> "$STAGE/scontrol"
        """,
    "sleep": "exec /bin/sleep 0.05",
}


@pytest.fixture(scope="module")
def blocks(repository: Path) -> list[str]:
    text = (repository / "docs/training.md").read_text()
    return re.findall(r"```bash\n(.*?)```", text, re.S)


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """Folder of the stand-ins and of what they write."""
    for name, text in STAND_INS.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)
    return tmp_path


@pytest.fixture
def start(stage: Path) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Start a script in a session of its own, all of which ends with the test."""
    jobs = []

    def run(script: str, play: str = "", steps: int = 200) -> "subprocess.Popen[bytes]":
        (stage / "job.sh").write_text(script)
        slurm = {"SLURM_JOB_ID": "42", "SLURM_JOB_NODELIST": "two", "SLURM_CPUS_PER_TASK": "8"}
        acts = {"STAGE": str(stage), "PLAY": play, "STEPS": str(steps)}
        path = {"PATH": f"{stage / 'bin'}:{os.environ['PATH']}"}
        environment = os.environ | slurm | acts | path
        job = subprocess.Popen(
            ["bash", "job.sh"], cwd=stage, env=environment, start_new_session=True
        )
        jobs.append(job)
        return job

    yield run
    for job in jobs:
        with suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGKILL)


def written(stage: Path, name: str) -> str:
    path = stage / name
    return path.read_text() if path.exists() else ""


def wait_for(path: Path) -> None:
    ends = time.monotonic() + 20
    while not path.exists() and time.monotonic() < ends:
        time.sleep(0.05)


def scripts(blocks: list[str]) -> list[str]:
    return [block for block in blocks if block.startswith("#!/bin/bash")]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(("play", "status"), [("", 0), ("done", 0), ("fails", 3), ("dies", 1)])
def test_a_job_ends_as_kedro_ends(blocks, stage, start, number, play, status) -> None:
    assert start(scripts(blocks)[number], play, steps=20).wait(20) == status
    assert written(stage, "scontrol") == ""  # nothing is queued again
    began = play not in ("done", "fails")
    if number == 1:
        launched = "folder\n" + ("asked\n" if play == "dies" else "")
        assert written(stage, "torchrun") == (launched if began else "")
        assert ("--cpus-per-task=8" in written(stage, "srun")) == began


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("signals", [1, 2])
def test_a_job_that_is_asked_to_end_is_queued_again(blocks, stage, start, number, signals) -> None:
    job = start(scripts(blocks)[number])
    wait_for(stage / ("training", "torchrun")[number])
    for _ in range(signals):
        job.send_signal(signal.SIGTERM)
        time.sleep(0.15)
    assert job.wait(20) == 143
    assert written(stage, "saved") == "saved\n"
    assert written(stage, "scontrol") == "requeue 42\n"
    assert written(stage, "torchrun") == ("", "folder\nasked\n")[number]


def test_a_signal_before_training_begins_no_launcher(blocks, stage, start) -> None:
    job = start(scripts(blocks)[1], "prepares")
    wait_for(stage / "kedro")
    job.send_signal(signal.SIGTERM)
    assert job.wait(20) == 143
    assert written(stage, "srun") == ""
    assert written(stage, "scontrol") == "requeue 42\n"


def test_the_array_is_that_of_the_grid(blocks) -> None:
    (array,) = [block for block in blocks if "--array" in block]
    names = re.search(r"^experiments=.*$", array, re.M)
    assert names is not None
    command = f'{names[0]}; printf "%s\\n" "${{experiments[@]}}"'
    printed = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    found = printed.stdout.split()
    assert sorted(found) == sorted(e.name for e in GRID if e.pipeline == "transfer")
    assert f"--array=0-{len(found) - 1} " in array
