"""The training loop: setup -> fit -> validate -> save, in reading order.

Shape suffixes: B batch, C image channels, K output channels, D/H/W voxels along z, y, x.
"""

import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from tsfm_pipeline.network.tsfm import TSFM
from tsfm_pipeline.store.record import CaseRecord
from tsfm_pipeline.training import checkpoint
from tsfm_pipeline.training.device import autocast_type, choose_device
from tsfm_pipeline.training.interruption import signals_noted
from tsfm_pipeline.training.losses import deep_supervision_loss, hard_counts, region_ids
from tsfm_pipeline.training.model_card import (
    CARD,
    SUMMARY,
    ModelCard,
    TrainingSummary,
    describe,
)
from tsfm_pipeline.training.sampling import PatchDataset, Sample, make_loader
from tsfm_pipeline.training.settings import TrainingSettings
from tsfm_pipeline.training.task import TrainingError, TrainingTask
from tsfm_pipeline.training.transfer import WEIGHTS_TABLE, transfer_weights, weights_json

logger = logging.getLogger(__name__)

Report = Callable[[int, Mapping[str, float]], None]
"""Receives an epoch's metrics: (epoch counted from 0, name -> value)."""

EMA = 0.9
"""Weight of the past in the moving average of the pseudo-Dice (nnU-Net)."""


def train(
    task: TrainingTask, settings: TrainingSettings, folder: Path, report: Report
) -> TrainingSummary:
    """Train in a folder, from its saved state if it has one.

    A finished training with the same number of epochs returns at once; with more, it goes on.
    On Ctrl-C or SIGTERM the state is saved and KeyboardInterrupt or SystemExit raised.

    Args:
        task: cases, regions, initial weights.
        settings: how to train.
        folder: the model folder; made when absent.
        report: called after every epoch with 'train/loss', 'train/skipped_steps', 'lr',
            'seconds_per_iteration' and, with validation cases, 'val/dice', 'val/dice_ema' and
            'val/dice/<region>' of the regions that occurred.

    Raises:
        TrainingError: impossible settings or data, a folder of another training, files that
            can't be read, or a loss that stays non-finite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records = task.records()
    card = describe(task, settings, records, folder, resumed=(folder / checkpoint.STATE).exists())
    finished = TrainingSummary.read(folder)
    if finished is not None and finished.epochs == settings.epochs:
        logger.info("%s: already trained for %d epochs", task.name, settings.epochs)
        return finished
    checkpoint.write_text(folder / CARD, card.model_dump_json(indent=1))
    run = TrainingRun(task, card, records, folder)
    with signals_noted() as received:
        run.fit(report, received)
    return run.finish()


class TrainingRun:
    """One training: its parts, and how far it has come.

    Attributes:
        epoch: epochs completed.
        step: iterations completed of the current epoch.
    """

    # ------------------------------------------------------------------ setup

    def __init__(
        self,
        task: TrainingTask,
        card: ModelCard,
        records: Mapping[str, CaseRecord],
        folder: Path,
    ) -> None:
        settings = card.settings
        self.task, self.settings, self.folder = task, settings, folder
        self.device = choose_device(settings)
        self.autocast = autocast_type(settings, self.device)
        self.memory_format = (
            torch.channels_last_3d if settings.channels_last else torch.contiguous_format
        )
        self.ids_KM = region_ids(task.table, task.regions).to(self.device)
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            self.network = TSFM(card.in_channels, len(card.regions), card.network, card.patch)
        state = checkpoint.load_state(folder)
        if state is None and task.initial_weights is not None:
            table = transfer_weights(self.network, task.initial_weights)
            checkpoint.write_text(folder / WEIGHTS_TABLE, weights_json(table))
        self.network.to(device=self.device, memory_format=self.memory_format)  # type: ignore[call-overload]
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=settings.momentum > 0,
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.autocast == torch.float16)
        self.epoch = self.step = 0
        self.losses: list[float] = []
        self.bad_in_row: list[str] = []
        self.skipped = 0
        self.epoch_seconds = self.seconds = 0.0
        self.dice: float | None = None
        self.dice_ema: float | None = None
        self.best_dice: float | None = None
        self.best_epoch: int | None = None
        if state is not None:
            self._restore(state)
        self._open_loaders(records, card)
        self.saved_at = time.monotonic()

    def _restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        for name in _PROGRESS:
            setattr(self, name, state[name])
        if self.epoch > self.settings.epochs:
            raise TrainingError(
                f"{self.folder} is already trained for {self.epoch} epochs, more than the"
                f" {self.settings.epochs} asked for; ask for more, or use another folder"
            )
        logger.info("%s: resumed after epoch %d, step %d", self.task.name, self.epoch, self.step)

    def _open_loaders(self, records: Mapping[str, CaseRecord], card: ModelCard) -> None:
        """Open the streams of samples, for all epochs, at the next sample."""
        task, settings = self.task, self.settings
        statistics = card.ct_statistics
        self.samples = PatchDataset(task, settings, "training", records, statistics)
        first = self.epoch * self.samples.per_epoch + self.step * settings.batch_size
        last = settings.epochs * self.samples.per_epoch
        self.batches = iter(make_loader(self.samples, first, last, settings))
        self.validation_batches: Iterator[Sample] | None = None
        if task.validation:
            samples = PatchDataset(task, settings, "validation", records, statistics)
            first, last = (e * samples.per_epoch for e in (self.epoch, settings.epochs))
            self.validation_batches = iter(make_loader(samples, first, last, settings))

    # -------------------------------------------------------------------- fit

    def fit(self, report: Report, received: list[int]) -> None:
        """Train the epochs that are left; `received` fills with signals that ask to end."""
        settings = self.settings
        log = checkpoint.MetricsLog(self.folder, self.epoch)
        total = settings.epochs * settings.iterations_per_epoch
        done = self.epoch * settings.iterations_per_epoch + self.step
        with tqdm(total=total, initial=done, desc=self.task.name, disable=None) as bar:
            while self.epoch < settings.epochs:
                rate = self._train_epoch(bar, received)
                metrics = {
                    "train/loss": sum(self.losses) / max(len(self.losses), 1),
                    "train/skipped_steps": float(self.skipped),
                    "lr": rate,
                    "seconds_per_iteration": self.epoch_seconds / settings.iterations_per_epoch,
                }
                if self.validation_batches is not None:
                    metrics |= self.validate(self.validation_batches, received)
                log.append(self.epoch, metrics)
                report(self.epoch, metrics)
                self._log_epoch(metrics)
                self.epoch += 1
                self.step, self.losses, self.epoch_seconds = 0, [], 0.0
                self._save_if_due()
        self.save()

    def _train_epoch(self, bar: "tqdm[Any]", received: list[int]) -> float:
        """Take the epoch's remaining steps; return the learning rate."""
        settings = self.settings
        left = 1 - self.epoch / settings.epochs
        rate = settings.learning_rate * float(left**settings.poly_power)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        while self.step < settings.iterations_per_epoch:
            started = time.monotonic()
            loss = self._iterate(next(self.batches))
            self.step += 1
            self.epoch_seconds += time.monotonic() - started
            self.seconds += time.monotonic() - started
            bar.set_postfix(epoch=f"{self.epoch + 1}/{settings.epochs}", loss=f"{loss:.3f}")
            bar.update()
            self._end_if(received)
            self._save_if_due()
        return rate

    def _iterate(self, batch: Sample) -> float:
        """Take one optimiser step, unless loss or gradient are not finite; return the loss."""
        image_BCDHW, labels_BDHW, annotated_BK = self._to_device(batch)
        with self._autocast():
            outputs = self.network(image_BCDHW)
        loss = deep_supervision_loss(outputs, labels_BDHW, annotated_BK, self.ids_KM)
        value = loss.item()
        good = math.isfinite(value)
        if good:
            self.optimizer.zero_grad()
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            self.scaler.unscale_(self.optimizer)
            norm = clip_grad_norm_(self.network.parameters(), self.settings.gradient_clip)
            # in fp16 the scaler leaves out overflown gradients itself, and adapts its scale
            good = self.scaler.is_enabled() or math.isfinite(norm.item())
        if good:
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.losses.append(value)
            self.bad_in_row = []
        else:
            self._count_bad_step(batch)
        return value

    def _count_bad_step(self, batch: Sample) -> None:
        cases = ", ".join(self.samples.keys[case] for case in torch.as_tensor(batch["case"]))
        self.skipped += 1
        self.bad_in_row.append(cases)
        logger.warning("Step skipped: loss or gradient not finite on %s", cases)
        if len(self.bad_in_row) >= self.settings.bad_steps:
            raise TrainingError(
                f"{self.task.name}: loss or gradient not finite in {len(self.bad_in_row)} steps in"
                f" a row, on the cases {'; '.join(self.bad_in_row)}. Check these cases; if they"
                " are sound, lower learning_rate, or set amp to bf16 or off"
            )

    # --------------------------------------------------------------- validate

    def validate(self, batches: Iterator[Sample], received: list[int]) -> dict[str, float]:
        """Return the pseudo-Dice of validation patches, and keep the weights if it is the best.

        Counts of hard predictions are summed over all patches before dividing; regions that
        occur neither in labels nor in predictions are left out (nnU-Net v1).
        """
        self.network.eval()
        counts_3K = torch.zeros(3, len(self.task.regions), dtype=torch.int64, device=self.device)
        started = time.monotonic()
        for _ in range(self.settings.validation_iterations):
            image_BCDHW, labels_BDHW, annotated_BK = self._to_device(next(batches))
            with torch.no_grad(), self._autocast():
                logits_BKDHW = self.network(image_BCDHW)
            counts_3K += hard_counts(logits_BKDHW, labels_BDHW, annotated_BK, self.ids_KM)
            self._end_if(received)
        self.seconds += time.monotonic() - started
        dice = {
            region: 2 * hits / (2 * hits + false + missed)
            for region, (hits, false, missed) in zip(
                self.task.regions, counts_3K.T.tolist(), strict=True
            )
            if hits + false + missed
        }
        if not dice:
            return {}
        self.dice = sum(dice.values()) / len(dice)
        previous = self.dice if self.dice_ema is None else self.dice_ema
        self.dice_ema = EMA * previous + (1 - EMA) * self.dice
        if self.best_dice is None or self.dice_ema > self.best_dice:
            self.best_dice, self.best_epoch = self.dice_ema, self.epoch
            checkpoint.save_weights(self.folder / checkpoint.BEST, self.network.state_dict())
        by_region = {f"val/dice/{region}": value for region, value in dice.items()}
        return {"val/dice": self.dice, "val/dice_ema": self.dice_ema, **by_region}

    # ------------------------------------------------------------------- save

    def save(self) -> None:
        """Write state.pt: everything that the next step depends on."""
        state = {name: getattr(self, name) for name in _PROGRESS}
        state["network"] = self.network.state_dict()
        state["optimizer"] = self.optimizer.state_dict()
        state["scaler"] = self.scaler.state_dict()
        checkpoint.save_state(self.folder, state)
        self.saved_at = time.monotonic()

    def finish(self) -> TrainingSummary:
        """Write the final weights and the summary."""
        weights = self.network.state_dict()
        checkpoint.save_weights(self.folder / checkpoint.FINAL, weights)
        if self.best_dice is None:  # nothing was validated: the last weights are all there is
            checkpoint.save_weights(self.folder / checkpoint.BEST, weights)
        summary = TrainingSummary(
            name=self.task.name,
            epochs=self.epoch,
            parameters=sum(parameter.numel() for parameter in self.network.parameters()),
            seconds=self.seconds,
            dice=self.dice,
            best_dice=self.best_dice,
            best_epoch=self.best_epoch,
            skipped_steps=self.skipped,
        )
        checkpoint.write_text(self.folder / SUMMARY, summary.model_dump_json(indent=1))
        return summary

    def _save_if_due(self) -> None:
        if time.monotonic() - self.saved_at >= 60 * self.settings.checkpoint_minutes:
            self.save()

    def _end_if(self, received: list[int]) -> None:
        """Save and raise when a signal has asked to end."""
        if not received:
            return
        self.save()
        logger.warning(
            "%s: stopped by %s in epoch %d; saved, the same command goes on",
            self.task.name,
            signal.Signals(received[0]).name,
            self.epoch + 1,
        )
        if received[0] == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + received[0])

    # ---------------------------------------------------------------- helpers

    def _to_device(self, batch: Sample) -> tuple[Tensor, Tensor, Tensor]:
        image_BCDHW = batch["image"].to(
            self.device, non_blocking=True, memory_format=self.memory_format
        )
        labels_BDHW = batch["labels"].to(self.device, non_blocking=True)
        return image_BCDHW, labels_BDHW, batch["annotated"].to(self.device, non_blocking=True)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, dtype=self.autocast, enabled=self.autocast is not None
        )

    def _log_epoch(self, metrics: Mapping[str, float]) -> None:
        epochs = self.settings.epochs
        left = (epochs - self.epoch - 1) * self.settings.iterations_per_epoch
        dice = f", Dice {metrics['val/dice']:.3f}" if "val/dice" in metrics else ""
        logger.info(
            "%s epoch %d/%d: loss %.4f%s, %.2f s per iteration, %.0f min of training left",
            self.task.name,
            self.epoch + 1,
            epochs,
            metrics["train/loss"],
            dice,
            metrics["seconds_per_iteration"],
            left * metrics["seconds_per_iteration"] / 60,
        )


_PROGRESS = (
    "epoch",
    "step",
    "losses",
    "bad_in_row",
    "skipped",
    "epoch_seconds",
    "seconds",
    "dice",
    "dice_ema",
    "best_dice",
    "best_epoch",
)
"""What a saved state holds of a run besides network, optimiser and gradient scaler."""
