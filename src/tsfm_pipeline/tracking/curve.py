"""The metrics of a training on their way to MLflow, which may be away for a while."""

import logging
import time
from collections.abc import Callable, Mapping

import mlflow

from tsfm_pipeline.tracking.problem import in_a_line

logger = logging.getLogger(__name__)

Report = Callable[[int, Mapping[str, float]], None]

TRY_AGAIN_SECONDS = 60.0
"""After a failure: a server that is away must not hold up every epoch."""


class Curve:
    """Sends metrics to a run; what can't be sent is kept and tried again.

    Args:
        run_id: of the run. Steps that it has already are passed over.
        on_new: called before the first step that the run does not have.
    """

    def __init__(self, run_id: str, on_new: Callable[[], None]) -> None:
        self._run_id = run_id
        self._on_new = on_new
        self._last = last_step(run_id)
        self._waiting: list[tuple[int, dict[str, float]]] = []
        self._failed_at: float | None = None
        self.went_on = False

    def report(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take a step's metrics; never raises."""
        if step > self._last:
            if not self.went_on:
                self.went_on = True
                self._on_new()
            self._waiting.append((step, dict(metrics)))
        if self._failed_at is None or time.monotonic() - self._failed_at > TRY_AGAIN_SECONDS:
            self._send()

    def close(self) -> None:
        """Try once more to send what is left."""
        self._send()
        if self._waiting:
            logger.warning(
                "%d epochs of the curve are missing in MLflow; the model folder's metrics.jsonl has"
                " them all",
                len(self._waiting),
            )

    def _send(self) -> None:
        try:
            while self._waiting:
                step, metrics = self._waiting[0]
                mlflow.log_metrics(metrics, step=step, run_id=self._run_id)
                del self._waiting[0]
        except Exception as error:
            if self._failed_at is None:
                logger.warning(
                    "MLflow takes no metrics (%s); training goes on, its curve is kept in the model"
                    " folder's metrics.jsonl and sent when MLflow is back",
                    in_a_line(error),
                )
            self._failed_at = time.monotonic()
            return
        if self._failed_at is not None:
            self._failed_at = None
            logger.info("MLflow takes metrics again; the curve is complete")


def last_step(run_id: str) -> int:
    """Return the last step of a run's curve; -1 where it has none."""
    history = mlflow.MlflowClient().get_metric_history(run_id, "train/loss")
    return max((point.step for point in history), default=-1)
