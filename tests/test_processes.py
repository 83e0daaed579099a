"""Workers end with a parent that is killed outright or as they start, and write nothing then."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tsfm_pipeline.workers import WorkerSettings, run_cases

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the signal is Linux's")


def tick(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)


def run(folder: str) -> None:
    list(run_cases(tick, {"a": (folder,), "b": (folder,)}, WorkerSettings(jobs=2), "Ticking"))


def load(folder: str) -> None:
    """Load samples as a training does."""
    from torch.utils.data import DataLoader

    from tsfm_pipeline.training.sampling import _start_worker

    loader = DataLoader(_Ticking(folder), num_workers=2, worker_init_fn=_start_worker)
    next(iter(loader))


class _Ticking:
    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        tick(self.folder)
        return index


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


STRUCK = """
import os, signal
import joblib.externals.loky.backend.fork_exec as forking
from tsfm_pipeline.scans.reader_process import ReaderProcess
from tsfm_pipeline.workers import WorkerSettings, run_cases

started = forking.fork_exec

def start(command, *given, **named):
    pid = started(command, *given, **named)
    os.kill(os.getpid(), signal.SIGINT)  # before the process has its instructions
    return pid

def read():
    with ReaderProcess() as reader:
        list(reader.map(abs, {"a": (1,)}))

def run():
    list(run_cases(abs, {"a": (1,)}, WorkerSettings(jobs=1), "Running"))

forking.fork_exec = start
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
try:
    WAY()
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("way", ["read", "run"])
def test_an_interruption_while_a_worker_starts_prints_no_traceback(way) -> None:
    command = [sys.executable, "-c", STRUCK.replace("WAY", way)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "interrupted\n"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("way", ["run", "load"])
def test_workers_end_with_a_killed_parent(tmp_path, way) -> None:
    program = f"import sys; from tests.test_processes import {way}; {way}(sys.argv[1])"
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=Path(__file__).parents[1]
    )
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2:
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    workers = [int(path.name) for path in tmp_path.iterdir()]
    time.sleep(1)
    try:
        assert [ended(pid) for pid in workers] == [True, True]
    finally:
        for pid in workers:
            if not ended(pid):
                os.kill(pid, signal.SIGKILL)
