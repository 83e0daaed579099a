"""Worker processes on this machine.

Every worker is a loky executor of one process. In an executor of several, a process that dies
takes the results of all others with it.
"""

import os
import re
import signal
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from joblib.externals.loky import ProcessPoolExecutor, cpu_count
from joblib.externals.loky.process_executor import BrokenProcessPool, TerminatedWorkerError

from tsfm_pipeline.memory import available_memory
from tsfm_pipeline.processes import die_with_parent, signals_held_back

IDLE_SECONDS = 30
"""Workers wait that long for more work."""

ONE_THREAD = {
    name: "1"
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "BLOSC_NTHREADS",
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    )
}
"""Workers are the parallelism; and sums do not depend on how many cores there are."""

_resting: list[ProcessPoolExecutor] = []
os.register_at_fork(after_in_child=_resting.clear)  # they answer to the parent only


class LocalExecutor:
    """Up to `jobs` worker processes; those of an earlier executor are used again while they wait.

    Args:
        jobs: processes; -1 takes one per CPU core that this process may use.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = cpu_count() if jobs == -1 else jobs
        self._busy: dict[Future, ProcessPoolExecutor] = {}

    def slots(self) -> int:
        """Return how many tasks can run at once."""
        return self._jobs

    def memory(self) -> int:
        """Return the bytes that tasks may take."""
        return available_memory()

    def submit(self, call: Callable[..., Any], *args: Any, memory: int) -> Future:
        """Start a call in a worker; there must be a free slot."""
        with signals_held_back():
            try:
                executor = _resting.pop() if _resting else _new_executor()
                future: Future = executor.submit(call, *args)
            except BrokenProcessPool:  # it died while it rested
                executor = _new_executor()
                future = executor.submit(call, *args)
            self._busy[future] = executor
        return future

    def release(self, future: Future) -> None:
        """Take back the worker of a finished call."""
        executor = self._busy.pop(future)
        if self.death(future.exception()) is None:
            _resting.append(executor)
        else:
            executor.shutdown(wait=False)

    def death(self, error: BaseException | None) -> str | None:
        """Say how a worker ended where the error means that it did."""
        if not isinstance(error, TerminatedWorkerError):
            return None
        found = re.search(r"\{(.+)\}", str(error))  # "{SIGKILL(-9)}"
        return found.group(1) if found else "no exit code"

    def close(self) -> None:
        """Kill the workers that are still at a task."""
        for executor in self._busy.values():
            executor.shutdown(wait=True, kill_workers=True)


def _new_executor() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        max_workers=1,
        timeout=IDLE_SECONDS,
        initializer=_start,
        initargs=(os.getpid(),),
        env=ONE_THREAD,
    )


def _start(parent: int) -> None:
    """End with the parent, and leave Ctrl-C, which a terminal sends to all, to it."""
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
