"""Work on many cases at once, on this machine or a cluster, where one bad case fails alone."""

from tsfm_pipeline.workers.run import WorkerFailure, run_cases
from tsfm_pipeline.workers.settings import WorkerSettings

__all__ = ["WorkerFailure", "WorkerSettings", "run_cases"]
