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
from tqdm import tqdm

from tsfm_pipeline.files import write_text
from tsfm_pipeline.model.card import ModelCard
from tsfm_pipeline.model.folder import WEIGHTS, ModelFolder, Weights
from tsfm_pipeline.model.summary import TrainingSummary
from tsfm_pipeline.processes import end_by, signals_noted
from tsfm_pipeline.store.record import CaseRecord
from tsfm_pipeline.training import checkpoint
from tsfm_pipeline.training.checks import check_task
from tsfm_pipeline.training.describe import describe
from tsfm_pipeline.training.device import autocast_type, choose_device
from tsfm_pipeline.training.device_augmentation import DeviceAugmentation
from tsfm_pipeline.training.finished import finished_training
from tsfm_pipeline.training.group import ALONE, Group, local_rank
from tsfm_pipeline.training.losses import confusion_counts, make_loss, region_ids
from tsfm_pipeline.training.parallel import parallel_model
from tsfm_pipeline.training.progress import (
    Progress,
    collect_state,
    collect_tensors,
    restore_network,
    restore_progress,
)
from tsfm_pipeline.training.sampling import Batch, PatchDataset, make_loader
from tsfm_pipeline.training.schedule import learning_rates
from tsfm_pipeline.training.step import MicroBatch, TrainStep
from tsfm_pipeline.training.task import TrainingError, TrainingTask
from tsfm_pipeline.training.transfer import transfer_weights, weights_json

logger = logging.getLogger(__name__)

Report = Callable[[int, Mapping[str, float]], None]
"""Receives an epoch's metrics: (epoch counted from 0, name -> value)."""


def train(
    task: TrainingTask, folder: Path, report: Report, group: Group = ALONE
) -> TrainingSummary:
    """Train in a folder, from its saved state if it has one.

    A finished training with the same number of epochs returns at once; with more, it goes on.
    On Ctrl-C or SIGTERM the state is saved and KeyboardInterrupt or SystemExit raised.

    Args:
        task: cases, regions, initial weights, settings.
        folder: the model folder; made when absent.
        report: called by the leading process after every epoch with 'train/loss' (NaN where all
            steps were left out), 'train/skipped_steps', 'lr', 'seconds_per_iteration',
            'samples_per_second', on a GPU 'gpu_memory_gb', and, with validation cases, 'val/dice',
            'val/dice_ema' and 'val/dice/<region>' of the regions that occurred.
        group: the processes that train together; `launch.train` starts them.

    Raises:
        TrainingError: impossible settings or data, a folder of another training, files that
            can't be read, a loss that stays non-finite, or too little GPU memory.
    """
    model = ModelFolder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    records = task.records()
    card = describe(task, records, model, resumed=checkpoint.has_state(model))
    finished = finished_training(task, model)
    if finished is not None:
        return finished
    check_task(task, records)
    group.barrier()  # all have read the card that the first one now writes
    if group.is_main:
        model.write_card(card)
    try:
        run = TrainingRun(task, card, records, model, group)
        with signals_noted() as received:
            run.fit(report, received)
    except torch.OutOfMemoryError as error:
        raise TrainingError(_too_large(task, error)) from error
    summary = run.finish()
    if received:  # too late to end the training, but what comes next must not begin
        end_by(received[0])
    return summary


def _too_large(task: TrainingTask, error: Exception) -> str:
    settings, where = task.settings, "experiments.<role>.training"
    return (
        f"{task.name}: a step of size {settings.size}, patch {settings.patch}, batch_size"
        f" {settings.batch_size} does not fit the GPU's memory; in {where}, set"
        " activation_checkpointing to true, raise micro_batches or parallel.processes (with"
        f" parallel.strategy fsdp to share out the weights, too), or take a smaller patch ({error})"
    )


class TrainingRun:
    """One training: its parts, and how far it has come."""

    # ------------------------------------------------------------------ setup

    def __init__(
        self,
        task: TrainingTask,
        card: ModelCard,
        records: Mapping[str, CaseRecord],
        folder: ModelFolder,
        group: Group = ALONE,
    ) -> None:
        settings = task.settings
        self.task, self.settings, self.folder, self.group = task, settings, folder, group
        self.device = choose_device(settings, local_rank())
        autocast = autocast_type(settings, self.device)
        # every patch has the same shape: looking for the quickest convolutions pays (GPU only)
        torch.backends.cudnn.benchmark = True
        self.memory_format = (
            torch.channels_last_3d if settings.channels_last else torch.contiguous_format
        )
        self.ids_KM = region_ids(task.table, task.regions).to(self.device)
        loss = make_loss(task, self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.network = card.build_network()
        state = checkpoint.load_state(folder)
        if state is not None:
            restore_network(self.network, state, folder)
        elif task.initial_weights is not None:
            table = transfer_weights(self.network, task.initial_weights)
            if group.is_main:
                write_text(folder.weights_table, weights_json(table))
        self.network.checkpointing = settings.activation_checkpointing
        # FSDP2 deals out contiguous weights only; feature maps may still have channels innermost
        shared_out = group.size > 1 and settings.parallel.strategy == "fsdp"
        weight_format = torch.contiguous_format if shared_out else self.memory_format
        self.network.to(device=self.device, memory_format=weight_format)  # type: ignore[call-overload]
        model = parallel_model(self.network, settings, group, self.device)
        self.step = TrainStep(self.network, model, loss, settings, self.device, autocast, group)
        self.progress = Progress()
        if state is not None:
            self.progress = restore_progress(
                state, self.network, self.step.optimizer, self.step.scaler
            )
            self._check_progress()
        self._check_group()
        self._open_loaders(records, card)
        self.states = checkpoint.StateWriter(folder)
        self.saved_at = time.monotonic()

    def _check_progress(self) -> None:
        progress = self.progress
        if progress.epoch > self.settings.epochs:
            raise TrainingError(
                f"{self.folder.path} is already trained for {progress.epoch} epochs, more than the"
                f" {self.settings.epochs} asked for; ask for more, or use another folder"
            )
        logger.info(
            "%s: resumed after epoch %d, step %d", self.task.name, progress.epoch, progress.step
        )

    def _check_group(self) -> None:
        """Refuse to go on with a process that has read another state: it would train other weights.

        On a shared file system, a machine may still see the file that was replaced.
        """
        progress = self.progress
        done = progress.epoch * self.settings.iterations_per_epoch + progress.step
        if not self.group.agree(done, self.device):
            raise TrainingError(
                f"{self.task.name}: the processes have read different states of {self.folder.path}"
                f" (process {self.group.rank}: epoch {progress.epoch}, step {progress.step}); give"
                " the same command again"
            )

    def _open_loaders(self, records: Mapping[str, CaseRecord], card: ModelCard) -> None:
        """Open the streams of samples, for all epochs, at the next sample."""
        task, settings, group = self.task, self.settings, self.group
        epoch, step = self.progress.epoch, self.progress.step
        statistics = card.ct_statistics
        self.samples = PatchDataset(task, "training", records, statistics)
        self.augmentation = self.samples.device_augmentation()
        first = epoch * self.samples.per_epoch + step * settings.batch_size
        last = settings.epochs * self.samples.per_epoch
        self.batches: Iterator[Batch] = iter(
            make_loader(self.samples, first, last, settings, group)
        )
        self.validation_batches: Iterator[Batch] | None = None
        if task.validation:
            samples = PatchDataset(task, "validation", records, statistics)
            first, last = (e * samples.per_epoch for e in (epoch, settings.epochs))
            self.validation_batches = iter(make_loader(samples, first, last, settings, group))

    # -------------------------------------------------------------------- fit

    def fit(self, report: Report, received: list[int]) -> None:
        """Train the epochs that are left; `received` fills with signals that ask to end."""
        settings, progress = self.settings, self.progress
        log = None
        if self.group.is_main:
            log = checkpoint.MetricsLog(self.folder.metrics, progress.epoch)
        total = settings.epochs * settings.iterations_per_epoch
        done = progress.epoch * settings.iterations_per_epoch + progress.step
        disable = None if self.group.is_main else True
        try:
            with tqdm(total=total, initial=done, desc=self.task.name, disable=disable) as bar:
                while progress.epoch < settings.epochs and not progress.out_of_patience(
                    settings.patience
                ):
                    metrics = self._train_epoch(bar, received)
                    if self.validation_batches is not None:
                        metrics |= self.validate(self.validation_batches, received)
                    if log is not None:
                        log.append(progress.epoch, metrics)
                        report(progress.epoch, metrics)
                        self._log_epoch(metrics)
                    progress.start_epoch()
                    self._save_if_due()
            self.save()
        finally:
            self.states.wait()

    def _train_epoch(self, bar: "tqdm[Any]", received: list[int]) -> dict[str, float]:
        """Take the epoch's remaining steps; return its metrics."""
        settings, progress = self.settings, self.progress
        rates = learning_rates(settings, progress.epoch)
        self.step.set_rates(rates)
        self.network.train()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        while progress.step < settings.iterations_per_epoch:
            started = time.monotonic()
            loss = self._train_step(next(self.batches), train_body=rates.body > 0)
            progress.count_step(time.monotonic() - started)
            bar.set_postfix(epoch=f"{progress.epoch + 1}/{settings.epochs}", loss=f"{loss:.3f}")
            bar.update()
            self._end_if(received)
            self._save_if_due()
        per_iteration = progress.epoch_seconds / settings.iterations_per_epoch
        metrics = {
            "train/loss": (
                sum(progress.losses) / len(progress.losses) if progress.losses else math.nan
            ),
            "train/skipped_steps": float(progress.skipped),
            "lr": rates.heads,
            "seconds_per_iteration": per_iteration,
            "samples_per_second": settings.batch_size / per_iteration,
        }
        if self.device.type == "cuda":
            metrics["gpu_memory_gb"] = torch.cuda.max_memory_allocated(self.device) / 2**30
        return metrics

    def _train_step(self, batch: Batch, *, train_body: bool) -> float:
        """Take one optimiser step, unless loss or gradient are not finite; return the loss."""
        loss = self.step.compute_gradients(self._micro_batches(batch))
        outcome = self.step.update(train_body=train_body) if math.isfinite(loss) else "broken"
        if outcome == "broken":
            self._count_bad_step(batch)
        else:
            self.progress.skipped += outcome == "overflown"
            self.progress.losses.append(loss)
            self.progress.bad_in_row = []
        return loss

    def _micro_batches(self, batch: Batch) -> list[MicroBatch]:
        tensors = self._to_device(batch, self.augmentation)
        chunks = (tensor.chunk(self.settings.micro_batches) for tensor in tensors)
        return list(zip(*chunks, strict=True))

    def _count_bad_step(self, batch: Batch) -> None:
        cases = ", ".join(self.samples.keys[case] for case in batch["case"].tolist())
        broken = self.step.broken_gradients()
        where = (
            f"gradients of {len(broken)} parameters, {broken[0]} first" if broken else "the loss"
        )
        bad_in_row = self.progress.bad_in_row
        self.progress.skipped += 1
        bad_in_row.append(cases)
        logger.warning("Step skipped: %s not finite on %s", where, cases)
        if len(bad_in_row) >= self.settings.bad_steps:
            raise TrainingError(
                f"{self.task.name}: loss or gradient not finite in {len(bad_in_row)} steps in"
                f" a row, on the cases {'; '.join(bad_in_row)} (last: {where}). Check these"
                " cases; if they"
                " are sound, lower learning_rate, or set amp to bf16 or off"
            )

    # --------------------------------------------------------------- validate

    def validate(self, batches: Iterator[Batch], received: list[int]) -> dict[str, float]:
        """Return the pseudo-Dice of validation patches, and keep the weights if it is the best.

        Counts of hard predictions are summed over all patches before dividing; regions that
        occur neither in labels nor in predictions are left out (nnU-Net v1).
        """
        self.network.eval()
        counts_3K = torch.zeros(3, len(self.task.regions), dtype=torch.int64, device=self.device)
        started = time.monotonic()
        for _ in range(self.settings.validation_iterations):
            image_BCDHW, labels_BDHW, annotated_BK = self._to_device(next(batches))
            logits_BKDHW = self.step.region_logits(image_BCDHW)
            counts_3K += confusion_counts(logits_BKDHW, labels_BDHW, annotated_BK, self.ids_KM)
            self._end_if(received)
        counts_3K = self.group.sum(counts_3K)
        self.progress.seconds += time.monotonic() - started
        dice = {
            region: 2 * hits / (2 * hits + false + missed)
            for region, (hits, false, missed) in zip(
                self.task.regions, counts_3K.T.tolist(), strict=True
            )
            if hits + false + missed
        }
        if not dice:
            return {}
        mean = sum(dice.values()) / len(dice)
        if self.progress.score(mean):
            self._save_weights("best")
        by_region = {f"val/dice/{region}": value for region, value in dice.items()}
        assert self.progress.dice_ema is not None
        return {"val/dice": mean, "val/dice_ema": self.progress.dice_ema, **by_region}

    # ------------------------------------------------------------------- save

    def save(self) -> None:
        """Start writing the state: everything that the next step depends on."""
        self.states.wait()  # never two states in memory
        optimizer, scaler = self.step.optimizer, self.step.scaler
        optimizer.zero_grad()  # memory: every step computes its own gradients
        on_cpu = self.device.type == "cpu"
        state = collect_state(
            self.progress, self.network, optimizer, scaler, self.group, copy=not on_cpu
        )
        if self.group.is_main:
            self.states.write(state)
        if on_cpu:
            self.states.wait()  # no copy: the next step would change what is being written
        self.saved_at = time.monotonic()

    def _save_weights(self, *kinds: Weights) -> None:
        self.step.optimizer.zero_grad()  # memory, as above
        weights = collect_tensors(self.network.state_dict(), self.group, copy=False)
        if self.group.is_main:
            for kind in kinds:
                self.folder.unseal(self.folder.weights(kind))
                checkpoint.save_weights(self.folder.weights(kind), weights)

    def finish(self) -> TrainingSummary:
        """Write the final weights and the summary."""
        progress = self.progress
        # nothing validated: the last weights are all there is
        kinds = WEIGHTS if progress.best_dice is None else ("final",)
        self._save_weights(*kinds)
        summary = TrainingSummary(
            name=self.task.name,
            epochs=progress.epoch,
            parameters=sum(parameter.numel() for parameter in self.network.parameters()),
            seconds=progress.seconds,
            dice=progress.dice,
            best_dice=progress.best_dice,
            best_epoch=progress.best_epoch,
            skipped_steps=progress.skipped,
            ended_early=progress.epoch < self.settings.epochs,
        )
        if self.group.is_main:
            self.folder.write_summary(summary)
        return summary

    def _save_if_due(self) -> None:
        due = time.monotonic() - self.saved_at >= 60 * self.settings.checkpoint_minutes
        if self.group.largest(int(due), self.device):
            self.save()

    def _end_if(self, received: list[int]) -> None:
        """Save and raise when a signal has asked any process to end."""
        number = self.group.largest(received[0] if received else 0, self.device)
        if not number:
            return
        self.save()
        self.states.wait()
        self.group.barrier()  # the launcher kills the others once one process has ended
        logger.warning(
            "%s: stopped by %s in epoch %d; saved, the same command goes on",
            self.task.name,
            signal.Signals(number).name,
            self.progress.epoch + 1,
        )
        end_by(number)

    # ---------------------------------------------------------------- helpers

    def _to_device(
        self, batch: Batch, augmentation: DeviceAugmentation | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        image_BCDHW = batch["image"].to(self.device, non_blocking=True)
        labels_BDHW = batch["labels"].to(self.device, non_blocking=True)
        if augmentation is not None:
            image_BCDHW, labels_BDHW = augmentation(
                image_BCDHW,
                labels_BDHW,
                batch["seed"],
                batch["masked"],
                batch["swappable"],
            )
        image_BCDHW = image_BCDHW.contiguous(memory_format=self.memory_format)
        return image_BCDHW, labels_BDHW, batch["annotated"].to(self.device, non_blocking=True)

    def _log_epoch(self, metrics: Mapping[str, float]) -> None:
        epochs, epoch = self.settings.epochs, self.progress.epoch
        left = (epochs - epoch - 1) * self.settings.iterations_per_epoch
        dice = f", Dice {metrics['val/dice']:.3f}" if "val/dice" in metrics else ""
        logger.info(
            "%s epoch %d/%d: loss %.4f%s, %.2f s per iteration, %.0f min of training left",
            self.task.name,
            epoch + 1,
            epochs,
            metrics["train/loss"],
            dice,
            metrics["seconds_per_iteration"],
            left * metrics["seconds_per_iteration"] / 60,
        )
