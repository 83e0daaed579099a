"""How far a training has come, and the state from which a later one goes on exactly."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.training.group import Group
from tsfm_pipeline.training.parallel import full_tensor, shard_of
from tsfm_pipeline.training.task import TrainingError

EMA = 0.9
"""Weight of the past in the moving average of the pseudo-Dice (nnU-Net)."""

OPTIMIZER_STATE = {
    "momentum": "momentum_buffer",
    "first_moment": "exp_avg",
    "second_moment": "exp_avg_sq",
    "optimizer_step": "step",
}
"""Name in a saved state -> torch's name, of all that SGD and AdamW keep of a parameter."""


@dataclass
class Progress:
    """How far a training has come.

    Attributes:
        epoch: epochs completed.
        step: iterations completed of the current epoch.
        losses: of the current epoch's steps.
        bad_in_row: the cases of the last steps, if those were left out.
        skipped: steps left out so far.
        epoch_seconds: spent on the current epoch's steps.
        seconds: spent on steps and validation so far.
        dice: pseudo-Dice of the last epoch; None before the first, or without validation cases.
        dice_ema: its moving average.
        best_dice: highest moving average.
        best_epoch: its epoch, counted from 0.
    """

    epoch: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)
    bad_in_row: list[str] = field(default_factory=list)
    skipped: int = 0
    epoch_seconds: float = 0.0
    seconds: float = 0.0
    dice: float | None = None
    dice_ema: float | None = None
    best_dice: float | None = None
    best_epoch: int | None = None

    def start_epoch(self) -> None:
        """Go on to the next epoch's first step."""
        self.epoch += 1
        self.step, self.losses, self.epoch_seconds = 0, [], 0.0

    def count_step(self, seconds: float) -> None:
        """Count a step, taken or left out."""
        self.step += 1
        self.epoch_seconds += seconds
        self.seconds += seconds

    def score(self, dice: float) -> bool:
        """Take in an epoch's pseudo-Dice; tell whether its moving average is the best so far."""
        previous = dice if self.dice_ema is None else self.dice_ema
        self.dice, self.dice_ema = dice, EMA * previous + (1 - EMA) * dice
        if self.best_dice is not None and self.dice_ema <= self.best_dice:
            return False
        self.best_dice, self.best_epoch = self.dice_ema, self.epoch
        return True

    def out_of_patience(self, patience: int | None) -> bool:
        """Tell whether the moving average has not risen for so many epochs."""
        if patience is None or self.best_epoch is None:
            return False
        return self.epoch - 1 - self.best_epoch >= patience


def collect_state(
    progress: Progress,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: GradScaler,
    group: Group,
    *,
    copy: bool,
) -> dict[str, Any]:
    """Collect everything that the next step depends on: tensors on the CPU and plain values.

    Every process takes part in collecting shared-out tensors; only the leading one gets them.
    Without `copy`, tensors that lie on the CPU are the network's and the optimiser's own.
    """
    # first: with FSDP2 it brings parameters that a validation left whole back to their shares,
    # which the optimiser knows
    weights = collect_tensors(network.state_dict(), group, copy=copy)
    kept = {}
    for ours, theirs in OPTIMIZER_STATE.items():
        found = {
            name: optimizer.state[parameter][theirs]
            for name, parameter in network.named_parameters()
            if optimizer.state[parameter].get(theirs) is not None
        }
        kept[ours] = collect_tensors(found, group, copy=copy)
    return {**asdict(progress), "scaler": scaler.state_dict(), "network": weights, **kept}


def collect_tensors(
    tensors: Mapping[str, Tensor], group: Group, *, copy: bool
) -> dict[str, Tensor]:
    """Bring tensors, complete, to the leading process's main memory; the others get nothing.

    Without `copy`, what lies there contiguously is returned as it is.
    """
    collected = {}
    for name, tensor in tensors.items():
        complete = full_tensor(tensor.detach())
        if group.is_main:
            collected[name] = complete.to("cpu", copy=copy).contiguous()
    return collected


def restore_network(network: nn.Module, state: Mapping[str, Any], folder: ModelFolder) -> None:
    """Load a state's weights.

    Raises:
        TrainingError: they are of another network.
    """
    try:
        network.load_state_dict(state["network"])
    except RuntimeError as error:
        raise TrainingError(
            f"the saved state in {folder.path} is of another network ({error}); train in another"
            " folder"
        ) from error


def restore_progress(
    state: Mapping[str, Any],
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: GradScaler,
) -> Progress:
    """Load the rest of a state, the optimiser's as shares of the network's parameters."""
    for ours, theirs in OPTIMIZER_STATE.items():
        saved = state.get(ours, {})  # states older than AdamW have momentum alone
        for name, parameter in network.named_parameters():
            if name not in saved:
                continue
            if saved[name].shape == parameter.shape:
                buffer = saved[name].to(parameter.device, copy=True)
                optimizer.state[parameter][theirs] = shard_of(buffer, parameter)
            else:  # AdamW's count of steps, which torch keeps on the CPU
                optimizer.state[parameter][theirs] = saved[name].clone()
    if state["scaler"]:  # empty where the state was written without fp16
        scaler.load_state_dict(state["scaler"])
    return Progress(**{entry.name: state[entry.name] for entry in fields(Progress)})
