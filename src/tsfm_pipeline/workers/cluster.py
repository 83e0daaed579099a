"""Workers of a Dask cluster: one that runs already, or processes on this machine."""

from collections.abc import Callable
from typing import Any

import dask
from distributed import Client, KilledWorker, LocalCluster
from joblib.externals.loky import cpu_count

from tsfm_pipeline.memory import available_memory

RESOURCE = "memory"


class DaskExecutor:
    """The workers of a Dask cluster; each thread of a worker is a slot.

    Where workers were started with `--resources "memory=<bytes>"`, the scheduler also keeps each
    worker within its own.

    Args:
        scheduler: address of a running scheduler; None starts a local cluster.
        jobs: processes of a local cluster; -1 takes one per CPU core.
    """

    def __init__(self, scheduler: str | None, jobs: int) -> None:
        self._cluster = None
        if scheduler is None:
            # A task whose worker died is tried again by `run_cases`, with nothing beside it.
            with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
                self._cluster = LocalCluster(
                    n_workers=cpu_count() if jobs == -1 else jobs,
                    threads_per_worker=1,
                    memory_limit=0,
                    dashboard_address=None,
                )
        self._client = Client(scheduler or self._cluster)
        self._running: set[Any] = set()

    def slots(self) -> int:
        """Return how many tasks can run at once; a cluster grows and shrinks."""
        return max(1, sum(int(threads) for threads in self._client.nthreads().values()))

    def memory(self) -> int:
        """Return the bytes that tasks may take: the machine's, or the sum of a cluster's."""
        if self._cluster is not None:
            return available_memory()
        limits = [worker["memory_limit"] for worker in self._workers()]
        return sum(limits) if all(limits) else available_memory()

    def submit(self, call: Callable[..., Any], *args: Any, memory: int) -> Any:
        """Start a call on the cluster."""
        shares = [worker["resources"].get(RESOURCE, 0) for worker in self._workers()]
        share = max(shares, default=0)
        resources = {RESOURCE: min(memory, share)} if share else None
        future = self._client.submit(call, *args, pure=False, resources=resources)
        self._running.add(future)
        return future

    def release(self, future: Any) -> None:
        """Forget a finished call, so that the scheduler does, too."""
        self._running.discard(future)

    def death(self, error: BaseException | None) -> str | None:
        """Say how a worker ended where the error means that it did."""
        return str(error) if isinstance(error, KilledWorker) else None

    def close(self) -> None:
        """Drop the calls that still run; end a local cluster, leave any other."""
        self._client.cancel(list(self._running), force=True)
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()

    def _workers(self) -> list[dict[str, Any]]:
        return list(self._client.scheduler_info(n_workers=-1)["workers"].values())
