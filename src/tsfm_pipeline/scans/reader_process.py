"""Read scans in a process of their own: ahead of the network, and without taking it along.

Image libraries written in C may crash or be killed over a damaged file. Then that file has a
problem, and the other scans go on in a fresh process.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import TypeVar

from joblib.externals.loky.process_executor import BrokenProcessPool, ProcessPoolExecutor

from tsfm_pipeline.scans.problem import ScanError

T = TypeVar("T")


def _executor() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(max_workers=1, initializer=_silence_libraries)


def _silence_libraries() -> None:
    """Keep what C libraries print about damaged files off the screen; Python still writes there.

    Not the repairs that the package logs: they come back with the scan.
    """
    logging.getLogger("tsfm_pipeline").addHandler(logging.NullHandler())
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


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
        self, function: Callable[..., T], tasks: Mapping[str, tuple[object, ...]]
    ) -> Iterator[tuple[str, T | Exception]]:
        """Yield, per task in order, its key and the function's result or what it raised.

        The next task is read while the caller works on the current one; no more than that, so
        that volumes do not pile up in memory.
        """
        keys = list(tasks)
        following = self._executor.submit(function, *tasks[keys[0]]) if keys else None
        for number, key in enumerate(keys):
            assert following is not None
            outcome: T | Exception
            try:
                outcome = following.result()
            except BrokenProcessPool:
                self._executor.shutdown(wait=True, kill_workers=True)
                self._executor = _executor()
                outcome = ScanError(
                    "the process that read it crashed or was killed: the file is damaged, or too"
                    " large for this machine's memory; export it again, or crop it"
                )
            except Exception as error:  # the worker's; the caller makes a verdict of it
                outcome = error
            if number + 1 < len(keys):
                following = self._executor.submit(function, *tasks[keys[number + 1]])
            yield key, outcome
