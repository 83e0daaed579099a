"""Read scans in a process of their own: ahead of the network, and without taking it along.

Image libraries written in C may crash, hang or be killed over a damaged file. Then that file has
a problem, and the other scans go on in a fresh process.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from threading import RLock
from types import TracebackType
from typing import TypeVar

# joblib's copy: loky itself is not among the packages that joblib brings.
from joblib.externals.loky.process_executor import BrokenProcessPool, ProcessPoolExecutor
from tqdm import tqdm

from tsfm_pipeline.processes import die_with_parent, signals_held_back
from tsfm_pipeline.scans.problem import NoRoom, ScanError
from tsfm_pipeline.workers.local import ONE_THREAD

T = TypeVar("T")


def _executor() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        max_workers=1,
        initializer=_start,
        initargs=(os.getpid(), sys.stderr.isatty()),
        env=ONE_THREAD,
    )


def _start(parent: int, bars: bool) -> None:
    die_with_parent(parent)
    # tqdm's own is a semaphore of the system, which a killed process leaves behind
    tqdm.set_lock(RLock())
    _silence_libraries(bars)


def _silence_libraries(bars: bool) -> None:
    """Keep what C libraries print about damaged files off the screen; Python still writes there.

    Not the repairs that the package logs: they come back with the scan. Nor its bars, where the
    parent draws none.
    """
    logging.getLogger("tsfm_pipeline").addHandler(logging.NullHandler())
    nowhere = os.open(os.devnull, os.O_WRONLY)
    sys.stderr = os.fdopen(os.dup(2) if bars else nowhere, "w", buffering=1)
    os.dup2(nowhere, 2)


class ReaderProcess:
    """One worker process; a context manager that ends it."""

    def __init__(self) -> None:
        self._executor = _executor()

    def __enter__(self) -> "ReaderProcess":
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the process, at once when something has been raised."""
        self._executor.shutdown(wait=True, kill_workers=error is not None)

    def map(
        self,
        function: Callable[..., T],
        tasks: Mapping[str, tuple[object, ...]],
        seconds: float | None = None,
    ) -> Iterator[tuple[str, T | Exception]]:
        """Yield, per task in order, its key and the function's result or what it raised.

        The next task is read while the caller works on the current one; no more than that, so
        that volumes do not pile up in memory. What finds no memory meanwhile is read once more
        when the caller is done.

        Args:
            function: a module's function; its arguments and result are pickled.
            tasks: key -> arguments.
            seconds: that the caller waits for one task; then its process is killed, and the task
                gives a ScanError. None waits for ever.
        """
        keys = list(tasks)
        following = self._submit(function, tasks[keys[0]]) if keys else None
        for number, key in enumerate(keys):
            assert following is not None
            outcome = self._outcome(following, seconds)
            if number and isinstance(outcome, NoRoom | MemoryError):
                outcome = self._outcome(self._submit(function, tasks[key]), seconds)
            if number + 1 < len(keys):
                following = self._submit(function, tasks[keys[number + 1]])
            yield key, outcome

    def _submit(self, function: Callable[..., T], task: tuple[object, ...]) -> "Future[T]":
        with signals_held_back():  # it may have to start the process
            future: Future[T] = self._executor.submit(function, *task)
        return future

    def _outcome(self, reading: "Future[T]", seconds: float | None) -> T | Exception:
        """Wait for a task; return its result, or what kept it from having one."""
        try:
            return reading.result(seconds)
        except NotInTime as error:
            if reading.done():  # the task itself raised it
                return error
            self._restart()
            return ScanError(
                f"not read within {seconds:g} s: the file is damaged, or its disk or network does"
                " not answer; copy the file to a local disk, or give it more time with"
                " --read-timeout"
            )
        except BrokenProcessPool:
            self._restart()
            return NoRoom(
                "the process that read it crashed or was killed: the file is damaged, or too"
                " large for this machine's memory; export it again, or crop it"
            )
        except Exception as error:  # the worker's; the caller makes a verdict of it
            return error

    def _restart(self) -> None:
        # Not waiting: a process that a dead mount holds can't be killed either.
        self._executor.shutdown(wait=False, kill_workers=True)
        self._executor = _executor()
