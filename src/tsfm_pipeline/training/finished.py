"""Whether a training has nothing left to do, and whether all that it left is still there."""

import logging

from tsfm_pipeline.model.folder import ModelError, ModelFolder
from tsfm_pipeline.model.summary import TrainingSummary
from tsfm_pipeline.training import checkpoint
from tsfm_pipeline.training.task import TrainingError, TrainingTask

logger = logging.getLogger(__name__)


def finished_training(task: TrainingTask, model: ModelFolder) -> TrainingSummary | None:
    """Return the summary of a training with as many epochs as asked for; None where some are left.

    Weights are not read here, as they have gigabytes: whatever reads them compares their digests.
    None, with a warning, is returned where only the final weights are gone, too: the saved state
    has them.

    Raises:
        TrainingError: the summary is damaged, weights are gone that nothing can make again, or the
            best ones are of a longer training that was begun here since.
    """
    try:
        summary = model.summary
        if summary is None or not summary.is_end_of(task.settings):
            return None
        lost = model.lost()
        if lost == [model.weights("final")] and checkpoint.has_state(model):
            logger.warning("%s is gone; it is made again from the saved state", lost[0])
            return None
        for path in lost:
            model.check(path)
        _check_best(task, model)
    except ModelError as error:
        raise TrainingError(str(error)) from error
    if not model.seals.exists():  # of before there were any, or gone
        logger.warning("%s is not there; made anew of the files as they are", model.seals)
        model.seal_all()
    _check_records(model)
    logger.debug("%s: already trained for %d epochs", task.name, summary.epochs)
    return summary


def _check_best(task: TrainingTask, model: ModelFolder) -> None:
    """Refuse best weights that an interrupted extension has replaced."""
    best = model.weights("best")
    if not model.seals.exists() or model.is_sealed(best):
        return
    begun = model.card.settings.epochs
    if begun > task.settings.epochs:
        raise TrainingError(
            f"{best} is not of the {task.settings.epochs} epochs asked for any more: a training of"
            f" {begun} was begun in its folder; ask for {begun}, or remove the folder and train"
            " again"
        )


def _check_records(model: ModelFolder) -> None:
    for path in (model.metrics, model.weights_table):
        try:
            model.check(path)
        except ModelError:
            logger.warning(
                "%s is gone or not what was written: reports may lack a part of it, nothing else"
                " depends on it",
                path,
            )
