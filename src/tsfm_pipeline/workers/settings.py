"""What a user sets about parallel work."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from tsfm_pipeline.frozen import FrozenModel


class WorkerSettings(FrozenModel):
    """How many cases are worked on at once, and where. Changes nothing in any result.

    Attributes:
        jobs: worker processes; -1 takes one per CPU core. A Dask cluster with an address brings
            its own.
        backend: loky (processes on this machine) or dask.
        scheduler: address of a Dask scheduler; null starts a cluster of processes here.
        memory_gb: what all running cases together may take, in GB of 10^9 bytes; null takes 80 %
            of what is available.
    """

    jobs: int = -1
    backend: Literal["loky", "dask"] = "loky"
    scheduler: str | None = None
    memory_gb: float | None = Field(default=None, gt=0)

    @field_validator("jobs")
    @classmethod
    def _some(cls, jobs: int) -> int:
        if jobs < 1 and jobs != -1:
            raise ValueError(f"{jobs} jobs; give at least 1, or -1 for one per CPU core")
        return jobs

    @model_validator(mode="after")
    def _scheduler_of_dask(self) -> "WorkerSettings":
        if self.scheduler is not None and self.backend != "dask":
            raise ValueError(f"scheduler {self.scheduler!r} needs `backend: dask`")
        return self
