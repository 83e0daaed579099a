"""Call one function for many cases at once; a case that fails or kills its worker fails alone."""

import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

from tqdm import tqdm

from tsfm_pipeline.machine import MachineError, fault_of_machine
from tsfm_pipeline.workers.local import LocalExecutor
from tsfm_pipeline.workers.settings import WorkerSettings

T = TypeVar("T")

MEMORY_SHARE = 0.8
"""Of the available memory: estimates can be wrong, and other programs need some."""

GIB = 2**30
_RECOUNT_SECONDS = 5.0


class WorkersError(ValueError):
    """Workers that cannot be had as the settings say."""


@dataclass(frozen=True)
class WorkerFailure:
    """Why a case has no result.

    Attributes:
        cause: one line: the exception, or how the worker ended.
        traceback: the worker's traceback; empty where the worker died.
        of_machine: whether the machine is at fault (a full disk, no memory), not the case.
    """

    cause: str
    traceback: str
    of_machine: bool = False


class Executor(Protocol):
    """Where calls run: see `LocalExecutor` and `DaskExecutor`."""

    def slots(self) -> int: ...  # noqa: D102
    def memory(self) -> int: ...  # noqa: D102
    def submit(self, call: Callable[..., Any], *args: Any, memory: int) -> Any: ...  # noqa: D102
    def release(self, future: Any) -> None: ...  # noqa: D102
    def death(self, error: BaseException | None) -> str | None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


def run_cases(
    function: Callable[..., T],
    tasks: Mapping[str, tuple],
    settings: WorkerSettings,
    description: str,
    memory: Mapping[str, int] | None = None,
) -> Iterator[tuple[str, T | WorkerFailure]]:
    """Call `function` once per task in worker processes; yield results as they come, unordered.

    A task starts when its memory fits beside that of the running ones (or alone), the largest
    first. An exception becomes a `WorkerFailure`. So does the death of a worker or a lack of
    memory, after the task was tried once more with nothing beside it. Leaving the iterator, by
    Ctrl-C for instance, kills the running workers. A fault of the machine other than a lack of
    memory, such as a full disk, ends everything: it would make failures of the other cases, too.

    Args:
        function: a module's function; its arguments and result are pickled.
        tasks: key -> arguments.
        settings: how many workers, and where.
        description: of the progress bar.
        memory: key -> estimated bytes of the task; a key left out is taken to need none.

    Raises:
        WorkersError: `backend: dask` without the `dask` extra installed, or a scheduler that does
            not answer.
        MachineError: a fault of the machine, in one line.
    """
    if not tasks:
        return
    executor = _open_executor(settings)
    queue = _Queue(executor, function, tasks, dict(memory or {}), settings.memory_gb)
    try:
        with tqdm(total=len(tasks), desc=description, unit="case", disable=None) as bar:
            for key, result in queue.results():
                bar.update()
                if (
                    isinstance(result, WorkerFailure)
                    and result.of_machine
                    and result.traceback  # not of a case that memory does not hold
                ):
                    raise MachineError(result.cause)
                yield key, result
    finally:
        executor.close()


def _open_executor(settings: WorkerSettings) -> Executor:
    if settings.backend == "loky":
        return LocalExecutor(settings.jobs)
    try:
        from tsfm_pipeline.workers.cluster import DaskExecutor  # noqa: PLC0415 (an optional extra)
    except ModuleNotFoundError as error:
        raise WorkersError(
            "workers.backend: dask needs Dask; pip install -e '.[dask]' in the checkout, or set it"
            " to loky"
        ) from error
    try:
        return DaskExecutor(settings.scheduler, settings.jobs)
    except OSError as error:
        raise WorkersError(
            f"workers.scheduler: {settings.scheduler} does not answer ({error}); start the cluster"
            " and give its address, or set it to null for a cluster on this machine"
        ) from error


class _Queue:
    """The tasks that wait, run and run again; which starts when."""

    def __init__(
        self,
        executor: Executor,
        function: Callable[..., Any],
        tasks: Mapping[str, tuple],
        memory: dict[str, int],
        memory_gb: float | None,
    ) -> None:
        self._executor = executor
        self._function = function
        self._tasks = tasks
        self._memory = memory
        self._budget = memory_gb * 1e9 if memory_gb else executor.memory() * MEMORY_SHARE
        self._waiting = sorted(tasks, key=lambda key: -memory.get(key, 0))
        self._again: list[str] = []
        self._alone: str | None = None
        self._running: dict[Any, str] = {}
        self._finished: SimpleQueue[Any] = SimpleQueue()

    def results(self) -> Iterator[tuple[str, Any]]:
        """Run everything; yield key and result or failure."""
        while self._waiting or self._again or self._running:
            self._start_what_fits()
            try:
                future = self._finished.get(timeout=_RECOUNT_SECONDS)
            except Empty:  # a cluster may have grown
                continue
            key = self._running.pop(future)
            error = future.exception()
            self._executor.release(future)
            if error is None:
                yield key, future.result()
            elif (died := self._death(error)) is None:
                text = "".join(traceback.format_exception(error))
                yield key, WorkerFailure(f"{type(error).__name__}: {error}", text)
            elif key == self._alone:
                yield key, self._failure(key, *died)
            else:
                self._again.append(key)

    def _start_what_fits(self) -> None:
        if self._waiting:
            slots = self._executor.slots()
            while len(self._running) < slots and (key := self._fitting()) is not None:
                self._waiting.remove(key)
                self._start(key)
        elif self._again and not self._running:
            self._alone = self._again.pop(0)
            self._start(self._alone)

    def _fitting(self) -> str | None:
        """Return the largest waiting task that fits beside those running; alone any fits."""
        taken = sum(self._memory.get(key, 0) for key in self._running.values())
        for key in self._waiting:
            if not self._running or taken + self._memory.get(key, 0) <= self._budget:
                return key
        return None

    def _start(self, key: str) -> None:
        needed = self._memory.get(key, 0)
        future = self._executor.submit(_call, self._function, self._tasks[key], memory=needed)
        self._running[future] = key
        future.add_done_callback(self._finished.put)

    def _death(self, error: BaseException) -> tuple[str, bool] | None:
        """Say how a task was ended by a lack of memory or another thing that may pass, and which.

        Nothing but the system, short of memory, ends workers by SIGKILL.
        """
        if isinstance(error, MemoryError):
            return f"ran out of memory ({error})", True
        died = self._executor.death(error)
        if died is None:
            return None
        killed = "SIGKILL" in died
        return f"killed its worker ({died}{', probably no memory' if killed else ''})", killed

    def _failure(self, key: str, died: str, of_memory: bool) -> WorkerFailure:
        needed = self._memory.get(key)
        estimate = f"estimated {needed / GIB:.1f} GiB, " if needed else ""
        more = "use a machine with more memory, or " if of_memory else ""
        cause = (
            f"{died}, twice, the second time with nothing running beside it; {estimate}"
            f"{self._executor.memory() / GIB:.1f} GiB available; {more}leave the case out"
        )
        return WorkerFailure(cause, "", of_machine=of_memory)


def _call(function: Callable[..., Any], args: tuple) -> Any:
    """Call in a worker; an exception comes back as text, since not every one can be pickled."""
    try:
        return function(*args)
    except MemoryError:
        raise
    except Exception as error:
        fault = fault_of_machine(error)
        cause = fault or f"{type(error).__name__}: {error}"
        return WorkerFailure(cause, traceback.format_exc(), of_machine=fault is not None)
