"""The learning rate of every epoch."""

import math
from typing import NamedTuple

from tsfm_pipeline.model.training_settings import TrainingSettings


class Rates(NamedTuple):
    """Learning rates of one epoch.

    Attributes:
        body: of everything but the heads; 0 leaves it untouched.
        heads: of the heads.
    """

    body: float
    heads: float


def learning_rates(settings: TrainingSettings, epoch: int) -> Rates:
    """Return the rates of an epoch (counted from 0).

    nnU-Net's polynomial decay, learning_rate * (1 - e / n) ** poly_power, or half a cosine
    (SwinUNETR's), over the n epochs that follow the others. Before them, for transfer, as
    MultiTalent fine-tunes (`nnUNetTrainerV2_warmupsegheads`): epochs in which the heads alone are
    trained with a rate that rises linearly, then epochs in which everything is, with a rate that
    rises again. (There the heads' optimiser is AdamW; here it is the body's.) STU-Net's
    fine-tuning is a plain learning_rate of 1e-3 for all layers.
    """
    top = settings.learning_rate
    if epoch < settings.heads_first_epochs:
        return Rates(0.0, top * (epoch + 1) / settings.heads_first_epochs)
    epoch -= settings.heads_first_epochs
    if epoch < settings.warmup_epochs:
        return Rates(*[top * (epoch + 1) / settings.warmup_epochs] * 2)
    epoch -= settings.warmup_epochs
    done = epoch / (settings.epochs - settings.heads_first_epochs - settings.warmup_epochs)
    if settings.schedule == "cosine":
        return Rates(*[top * (1 + math.cos(math.pi * done)) / 2] * 2)
    return Rates(*[top * float((1 - done) ** settings.poly_power)] * 2)
