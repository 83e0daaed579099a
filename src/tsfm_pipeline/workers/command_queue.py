"""Many commands at once, each in a slot of its own; some wait until another has succeeded."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import environ
from pathlib import Path

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Job:
    """A command.

    Attributes:
        name: for messages, and for those that wait for it.
        command: program and arguments.
        log: file that takes what it prints.
        after: name of the job that has to succeed before; empty for none.
    """

    name: str
    command: Sequence[str]
    log: Path
    after: str = ""


def run_jobs(
    jobs: Sequence[Job],
    slots: Sequence[Mapping[str, str]],
    ended: Callable[[Job, int | None], None],
) -> None:
    """Run all jobs, the first that may start first; one that fails stops only what waits for it.

    An exception, Ctrl-C among them, ends all that run by SIGTERM and waits for their end.

    Args:
        jobs: in the order in which they are wanted.
        slots: what the environment of each of the jobs at one time has besides, such as its GPU.
        ended: called with each job and its exit status; None where what it waits for failed.
    """
    waiting = list(jobs)
    running: dict[int, tuple[Job, subprocess.Popen[bytes]]] = {}
    missing = {job.name for job in jobs}  # not succeeded
    failed: set[str] = set()
    try:
        while waiting or running:
            for job in [job for job in waiting if job.after in failed]:
                waiting.remove(job)
                failed.add(job.name)
                ended(job, None)
            for slot in [slot for slot in range(len(slots)) if slot not in running]:
                ready = [job for job in waiting if job.after not in missing]
                if ready:
                    waiting.remove(ready[0])
                    running[slot] = (ready[0], _start(ready[0], slots[slot]))
            time.sleep(POLL_SECONDS)
            for slot, (job, process) in list(running.items()):
                status = process.poll()
                if status is not None:
                    del running[slot]
                    (failed.add if status else missing.discard)(job.name)
                    ended(job, status)
    except BaseException:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.wait()
        raise


def _start(job: Job, slot: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("wb") as log:
        # a session of its own: else the terminal's Ctrl-C reaches it besides our SIGTERM
        return subprocess.Popen(
            job.command,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**environ, **slot},
            start_new_session=True,
        )
