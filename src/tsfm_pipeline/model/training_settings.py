"""What a user can set about a training; the defaults are the paper's (section 3.1)."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.network.sizes import NETWORKS, PAPER_PATCH, NetworkName


class AugmentationSettings(FrozenModel):
    """How training samples are varied.

    Attributes:
        transforms: "full" is nnU-Net v1's moreDA list; "light" leaves out what resamples or
            filters (rotation, scaling, blur, low resolution) and costs about a tenth; "none".
        mirror_axes: axes (0 = z, 1 = y, 2 = x, left-right) flipped with probability 0.5 each.
        left_right: what happens to axis 2 when the network predicts targets that have a side:
            "keep" leaves it out; "swap" flips it and exchanges left and right targets, except in
            cases that annotate a sided target without its partner (the middle lung lobe).
        where: "workers" varies single samples in the loader processes (batchgeneratorsv2);
            "device" varies batches where the network is, so that loaders only read. Same
            distributions, other random numbers.
        dummy_2d_axis: axis across thick slices; rotation (then by any angle), scaling and low
            resolution of "full" stay within them, as in nnU-Net's dummy_2d. None has no slices,
            and `patch: planned` then follows the dataset's plan.
    """

    transforms: Literal["full", "light", "none"] = "full"
    mirror_axes: tuple[Literal[0, 1, 2], ...] = (0, 1, 2)
    left_right: Literal["keep", "swap"] = "keep"
    where: Literal["workers", "device"] = "workers"
    dummy_2d_axis: Literal[0, 1, 2] | None = None


class ParallelSettings(FrozenModel):
    """How many processes train together. They give the gradient of one process (losses.py).

    Attributes:
        processes: on this machine, one per GPU; 1 trains in the calling process.
        strategy: "ddp" keeps a copy of the network in every process, "fsdp" a share of it
            (FSDP2); saved states are the same files.
        restarts: how often the group starts again, from the last saved state, after a process
            has died.
        machines: machines that train together, each with as many processes; the others join with
            the torchrun line that the log shows. They share the file system.
        rendezvous: host:port on this machine where the others find it; for one machine unused.
    """

    processes: PositiveInt = 1
    machines: PositiveInt = 1
    rendezvous: str = ""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    restarts: int = Field(default=3, ge=0)


class TrainingSettings(FrozenModel):
    """Everything that decides what a training does to the weights, and how fast.

    Attributes:
        network: its name; nnU-Net's U-Net is as deep as the patch asks for.
        size: name of a size that the network has (`network.sizes.NETWORKS`).
        patch: voxels (z, y, x) of a training sample.
        batch_size: samples per iteration, over all processes.
        micro_batches: parts in which a process takes its samples, to save memory. More than one
            costs a second forward pass: the batch Dice needs the counts of all parts first.
        iterations_per_epoch: optimiser steps per epoch.
        validation_iterations: batches of validation patches after each epoch.
        epochs: epochs in all; raising it extends a finished training.
        patience: epochs without a higher moving average of the pseudo-Dice after which training
            ends early; null never does.
        loss: "regions" is MultiTalent's masked BCE and Dice; "softmax" is nnU-Net's Dice and
            cross-entropy, for cases that all annotate the same targets.
        masked_loss: leave a channel out of the loss of cases that do not annotate it (paper
            section 2.1); false takes what is not annotated for background.
        dataset_sampling: how often each dataset of a pool is drawn: "square_root" of its number of
            cases (paper section 2.1), or by their number ("uniform" over the cases).
        optimizer: "sgd" with Nesterov momentum is nnU-Net's; "adamw" is SwinUNETR's.
        schedule: how the rate falls: "poly" is nnU-Net's, "cosine" SwinUNETR's.
        learning_rate: the highest.
        heads_first_epochs: epochs at the start in which only the heads are trained.
        warmup_epochs: epochs after those in which the rate rises linearly.
        momentum: Nesterov momentum of sgd.
        weight_decay: on all parameters.
        poly_power: of the poly decay over the epochs that are left (schedule.py).
        gradient_clip: largest norm of the gradient.
        oversample_foreground: share of a batch, its last items, centred on foreground (nnU-Net's
            rounding: of 2 items the second).
        augmentation: how samples are varied.
        ct_statistics: whose clip bounds, mean and sd normalise CT: "own" are those of the training
            cases, "initial" those of the model that the initial weights come from; without initial
            weights they are its own. MR is z-scored case by case and knows neither.
        workers: processes that load samples; 0 loads in the training process. Does not change
            the samples.
        device: "auto" takes the first GPU if there is one.
        amp: number format of the forward pass on a GPU; "auto" is bf16 where the GPU has it,
            else fp16. On a CPU everything is float32.
        channels_last: keep feature maps with the channels innermost: quicker on a CPU, and half as
            quick on a GPU.
        compile: let torch.compile fuse the network's operations; minutes at the start.
        activation_checkpointing: keep only the inputs of blocks for the backward pass and compute
            the rest again: a third more time, a fraction of the memory.
        parallel: processes.
        seed: decides the initial weights and every sample.
        checkpoint_minutes: time between saved states; 0 saves after every iteration.
        bad_steps: steps in a row with a loss that is not finite after which training stops.
    """

    network: NetworkName = "tsfm"
    size: str = "huge"
    patch: tuple[PositiveInt, PositiveInt, PositiveInt] = PAPER_PATCH
    batch_size: PositiveInt = 2
    micro_batches: PositiveInt = 1
    iterations_per_epoch: PositiveInt = 250
    validation_iterations: PositiveInt = 50
    epochs: PositiveInt = 1000
    patience: PositiveInt | None = None
    loss: Literal["regions", "softmax"] = "regions"
    masked_loss: bool = True
    dataset_sampling: Literal["square_root", "uniform"] = "square_root"
    optimizer: Literal["sgd", "adamw"] = "sgd"
    schedule: Literal["poly", "cosine"] = "poly"
    learning_rate: PositiveFloat = 1e-3
    heads_first_epochs: int = Field(default=0, ge=0)
    warmup_epochs: int = Field(default=0, ge=0)
    momentum: float = Field(default=0.99, ge=0, lt=1)
    weight_decay: float = Field(default=1e-3, ge=0)
    poly_power: PositiveFloat = 0.9
    gradient_clip: PositiveFloat = 12.0
    oversample_foreground: float = Field(default=0.33, ge=0, le=1)
    augmentation: AugmentationSettings = AugmentationSettings()
    ct_statistics: Literal["own", "initial"] = "own"
    workers: int = Field(default=4, ge=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    amp: Literal["auto", "bf16", "fp16", "off"] = "auto"
    channels_last: bool = False
    compile: bool = False
    activation_checkpointing: bool = False
    parallel: ParallelSettings = ParallelSettings()
    seed: int = Field(default=0, ge=0)
    checkpoint_minutes: float = Field(default=10.0, ge=0)
    bad_steps: PositiveInt = 10

    @model_validator(mode="after")
    def _of_that_size(self) -> "TrainingSettings":
        sizes = NETWORKS[self.network]
        if self.size not in sizes:
            raise ValueError(
                f"network {self.network} has no size {self.size!r}; it has {', '.join(sizes)}"
            )
        return self

    @model_validator(mode="after")
    def _divisible(self) -> "TrainingSettings":
        parts = self.parallel.processes * self.parallel.machines * self.micro_batches
        if self.batch_size % parts:
            raise ValueError(
                f"batch_size {self.batch_size} can't be dealt out evenly to"
                f" {self.parallel.processes} process(es) on {self.parallel.machines} machine(s) in"
                f" {self.micro_batches} micro_batches; make it a multiple of {parts}"
            )
        if self.parallel.machines > 1 and ":" not in self.parallel.rendezvous:
            raise ValueError(
                f"parallel.rendezvous {self.parallel.rendezvous!r} is no host:port, which"
                f" {self.parallel.machines} machines need to find each other"
            )
        if self.heads_first_epochs + self.warmup_epochs >= self.epochs > 1:
            raise ValueError(
                f"heads_first_epochs {self.heads_first_epochs} and warmup_epochs"
                f" {self.warmup_epochs} leave none of {self.epochs} epochs; shorten them"
            )
        return self

    def with_epochs(self, epochs: int) -> "TrainingSettings":
        """Return the same settings with another number of epochs; raise as for wrong settings."""
        return TrainingSettings.model_validate(self.model_dump() | {"epochs": epochs})
