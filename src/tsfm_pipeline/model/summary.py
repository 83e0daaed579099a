"""What came of a training, in figures."""

from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.model.training_settings import TrainingSettings


class TrainingSummary(FrozenModel):
    """The outcome of a finished training.

    Attributes:
        name: of the training.
        epochs: epochs trained.
        parameters: of the network, deep-supervision heads included.
        seconds: wall-clock time over all restarts.
        dice: pseudo-Dice of the last epoch; None without validation cases.
        best_dice: highest moving average of the pseudo-Dice, that of the best weights.
        best_epoch: its epoch, counted from 0.
        skipped_steps: steps left out because the loss was not finite.
        ended_early: whether `patience` ran out before the last epoch.
    """

    name: str
    epochs: int
    parameters: int
    seconds: float
    dice: float | None
    best_dice: float | None
    best_epoch: int | None
    skipped_steps: int
    ended_early: bool = False

    def is_end_of(self, settings: TrainingSettings) -> bool:
        """Tell whether the training has come to the end that the settings ask for."""
        if self.epochs >= settings.epochs or settings.patience is None or self.best_epoch is None:
            return self.epochs == settings.epochs
        return self.epochs - 1 - self.best_epoch >= settings.patience
