"""Commands at once: in slots, in order, after what they wait for; all end with the caller."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tsfm_pipeline.workers import command_queue
from tsfm_pipeline.workers.command_queue import Job, run_jobs

SLOTS = [{"GPU": "0"}, {"GPU": "1"}]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make a job that notes its begin, its slot and its end; a status other than 0 fails it."""
    monkeypatch.setattr(command_queue, "POLL_SECONDS", 0.02)

    def make(name: str, after: str = "", status: int = 0, seconds: float = 0.2) -> Job:
        notes = tmp_path / "notes"
        script = (
            f"echo begin {name} $GPU >> {notes}; sleep {seconds}; echo said by {name};"
            f" echo end {name} $GPU >> {notes}; exit {status}"
        )
        return Job(name, ["sh", "-c", script], tmp_path / "logs" / f"{name}.log", after)

    return make


def notes_of(folder: Path) -> list[list[str]]:
    return [line.split() for line in (folder / "notes").read_text().splitlines()]


def test_as_many_run_at_once_as_there_are_slots(job, tmp_path: Path) -> None:
    ended = []
    run_jobs([job(name) for name in "abcde"], SLOTS, lambda job, status: ended.append(status))
    assert ended == [0] * 5
    running: dict[str, str] = {}
    most = 0
    for what, name, slot in notes_of(tmp_path):
        if what == "begin":
            assert slot not in running.values()
            running[name] = slot
            most = max(most, len(running))
        else:
            assert running.pop(name) == slot
    assert most == 2
    assert [name for what, name, _ in notes_of(tmp_path) if what == "begin"][:2] in (
        ["a", "b"],
        ["b", "a"],
    )
    assert (tmp_path / "logs/c.log").read_text() == "said by c\n"


def test_what_starts_from_another_waits_for_it(job, tmp_path: Path) -> None:
    ended = []
    jobs = [job("cheap", after="start"), job("other"), job("start", seconds=0.5)]
    run_jobs(jobs, SLOTS, lambda job, status: ended.append(job.name))
    notes = notes_of(tmp_path)
    ends = [name for what, name, _ in notes if what == "end"]
    begins = [name for what, name, _ in notes if what == "begin"]
    assert begins[-1] == "cheap"
    assert ends[-1] == "cheap"
    assert sorted(ended) == ["cheap", "other", "start"]


def test_a_failure_stops_what_waits_for_it_alone(job, tmp_path: Path) -> None:
    jobs = [job("a", status=3), job("b", after="a"), job("c", after="b"), job("d"), job("e")]
    ended: dict[str, int | None] = {}
    run_jobs(jobs, SLOTS[:1], lambda job, status: ended.update({job.name: status}))
    assert ended == {"a": 3, "b": None, "c": None, "d": 0, "e": 0}


def test_an_end_in_the_middle_ends_all_and_waits_for_them(tmp_path: Path) -> None:
    script = """
import signal, sys
from pathlib import Path
from tsfm_pipeline.workers.command_queue import Job, run_jobs
def end(number, frame): raise SystemExit(143)
signal.signal(signal.SIGTERM, end)
folder = Path(sys.argv[1])
trap = "trap 'sleep 0.3; touch {0}/saved_$0; exit 143' TERM; touch {0}/began_$0; sleep 60 & wait"
jobs = [Job(n, ["sh", "-c", trap.format(folder), n], folder / n) for n in ("a", "b", "c")]
run_jobs(jobs, [{}, {}], lambda job, status: None)
"""
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], env=os.environ)
    until = time.monotonic() + 60
    while not all((tmp_path / f"began_{name}").exists() for name in "ab"):
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert sorted(path.name for path in tmp_path.glob("*_*")) == [
        *("began_a", "began_b", "saved_a", "saved_b"),  # c did not begin
    ]
