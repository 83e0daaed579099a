"""What a user can set about a training; the defaults are the paper's (section 3.1)."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from tsfm_pipeline.network.sizes import PAPER_PATCH, SizeName
from tsfm_pipeline.schema import Settings


class AugmentationSettings(Settings):
    """How training samples are varied.

    Attributes:
        transforms: "full" is nnU-Net v1's moreDA list; "light" leaves out what resamples or
            filters (rotation, scaling, blur, low resolution) and costs about a tenth; "none".
        mirror_axes: axes (0 = z, 1 = y, 2 = x, left-right) flipped with probability 0.5 each.
        left_right: what happens to axis 2 when the network predicts targets that have a side:
            "keep" leaves it out; "swap" flips it and exchanges left and right targets, except in
            cases that annotate a sided target without its partner (the middle lung lobe).
    """

    transforms: Literal["full", "light", "none"] = "full"
    mirror_axes: tuple[Literal[0, 1, 2], ...] = (0, 1, 2)
    left_right: Literal["keep", "swap"] = "keep"


class TrainingSettings(Settings):
    """Everything that decides what a training does to the weights, and how fast.

    Attributes:
        size: name of the network size.
        patch: voxels (z, y, x) of a training sample.
        batch_size: samples per iteration.
        iterations_per_epoch: optimiser steps per epoch.
        validation_iterations: batches of validation patches after each epoch.
        epochs: epochs in all; raising it extends a finished training.
        learning_rate: of the first epoch.
        momentum: Nesterov momentum.
        weight_decay: on all parameters.
        poly_power: the rate of epoch e is learning_rate * (1 - e / epochs) ** poly_power.
        gradient_clip: largest norm of the gradient.
        oversample_foreground: share of a batch, its last items, centred on foreground (nnU-Net's
            rounding: of 2 items the second).
        augmentation: how samples are varied.
        workers: processes that load samples; 0 loads in the training process. Does not change
            the samples.
        device: "auto" takes the first GPU if there is one.
        amp: number format of the forward pass on a GPU; "auto" is bf16 where the GPU has it,
            else fp16. On a CPU everything is float32.
        channels_last: keep feature maps with the channels innermost.
        seed: decides the initial weights and every sample.
        checkpoint_minutes: time between saved states; 0 saves after every iteration.
        bad_steps: steps in a row with a loss that is not finite after which training stops.
    """

    size: SizeName = "huge"
    patch: tuple[PositiveInt, PositiveInt, PositiveInt] = PAPER_PATCH
    batch_size: PositiveInt = 2
    iterations_per_epoch: PositiveInt = 250
    validation_iterations: PositiveInt = 50
    epochs: PositiveInt = 1000
    learning_rate: PositiveFloat = 1e-3
    momentum: float = Field(default=0.99, ge=0, lt=1)
    weight_decay: float = Field(default=1e-3, ge=0)
    poly_power: PositiveFloat = 0.9
    gradient_clip: PositiveFloat = 12.0
    oversample_foreground: float = Field(default=0.33, ge=0, le=1)
    augmentation: AugmentationSettings = AugmentationSettings()
    workers: int = Field(default=4, ge=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    amp: Literal["auto", "bf16", "fp16", "off"] = "auto"
    channels_last: bool = False
    seed: int = Field(default=0, ge=0)
    checkpoint_minutes: float = Field(default=10.0, ge=0)
    bad_steps: PositiveInt = 10
