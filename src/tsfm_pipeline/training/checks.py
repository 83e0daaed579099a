"""What settings can't do with the data, told before any work."""

import logging
from collections.abc import Mapping

from tsfm_pipeline.store.record import CaseRecord
from tsfm_pipeline.training.task import TrainingError, TrainingTask

logger = logging.getLogger(__name__)


def check_task(task: TrainingTask, records: Mapping[str, CaseRecord]) -> None:
    """Refuse, before any work, what the task's settings can't do with its data.

    Raises:
        TrainingError: a softmax over cases that do not all annotate the same targets.
    """
    settings = task.settings
    if settings.batch_size > len(task.training):
        logger.warning(
            "%s: a batch of %d from %d training case(s): cases repeat within a batch",
            task.name,
            settings.batch_size,
            len(task.training),
        )
    if settings.loss != "softmax":
        return
    classes = task.table.exclusive_targets(task.regions)
    for key, record in records.items():
        missing = [name for name in classes if name not in record.annotated]
        if missing:
            raise TrainingError(
                f"{task.name}: loss softmax needs cases that annotate every class, and {key} does"
                f" not annotate {missing}; set loss to regions, or train on one dataset"
            )
