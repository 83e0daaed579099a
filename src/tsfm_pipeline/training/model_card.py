"""What a model folder says about its model."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import ValidationError, model_validator

from tsfm_pipeline.files import file_digest
from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.imaging.geometry import Triple, TripleFloat
from tsfm_pipeline.imaging.intensity import CtStatistics, ct_statistics
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.network.sizes import SIZES, NetworkSize
from tsfm_pipeline.network.tsfm import TSFM
from tsfm_pipeline.store.record import CaseRecord, cases_digest
from tsfm_pipeline.training.losses import exclusive_targets
from tsfm_pipeline.training.settings import TrainingSettings
from tsfm_pipeline.training.task import TrainingError, TrainingTask

CARD = "model.json"
SUMMARY = "summary.json"

MAX_PATCH_SIDE = 2048
MAX_PATCH_VOXELS = 2**28
"""78 of the paper's patches: 1 GiB of float32 a channel."""
MAX_CHANNELS = 64

FREE_TO_CHANGE = {
    "epochs",
    "patience",
    "micro_batches",
    "workers",
    "device",
    "compile",
    "activation_checkpointing",
    "parallel",
    "checkpoint_minutes",
    "bad_steps",
}
"""Settings that a resumed training may change."""


class ModelCard(FrozenModel):
    """Everything that inference needs besides the weights, and where the model comes from.

    Attributes:
        name: of the training.
        network: the size's numbers (not its name, which may come to mean another).
        in_channels: image channels.
        modalities: of the training cases; empty in folders older than this field.
        regions: output channels, in order.
        table: the label table that the regions belong to.
        patch: voxels (z, y, x) of training samples and inference tiles.
        ct_statistics: normalises CT; None for a model trained on MR alone.
        target_spacing: mm (z, y, x) to resample to; None keeps a case's own.
        settings: of the training.
        training: keys of the training cases.
        validation: keys of the cases behind the pseudo-Dice.
        initial_weights: digest of the weights file it started from; None from scratch.
        pool_digest: digest of all cases' raw files and preparation. A training on a whole pool
            has a digest that starts with the pool's version.
        pool_version: version of the pool that the cases were taken from, first used.
    """

    name: str
    network: NetworkSize
    in_channels: int
    modalities: tuple[Literal["CT", "MR"], ...] = ()
    regions: tuple[str, ...]
    table: LabelTable
    patch: Triple
    ct_statistics: CtStatistics | None
    target_spacing: TripleFloat | None
    settings: TrainingSettings
    training: tuple[str, ...]
    validation: tuple[str, ...]
    initial_weights: str | None
    pool_digest: str
    pool_version: str = ""

    def build_network(self) -> TSFM:
        """Build the network with fresh weights; its outputs are regions, or classes (softmax)."""
        outputs = self.regions
        if self.settings.loss == "softmax":
            outputs = exclusive_targets(self.table, self.regions)
        return TSFM(self.in_channels, len(outputs), self.network, self.patch)

    @model_validator(mode="after")
    def _can_be(self) -> "ModelCard":
        """Refuse numbers of a damaged or foreign card that would take all memory."""
        if not all(0 < size <= MAX_PATCH_SIDE for size in self.patch) or (
            math.prod(self.patch) > MAX_PATCH_VOXELS
        ):
            raise ValueError(
                f"patch {self.patch}: at most {MAX_PATCH_SIDE} voxels along an axis and"
                f" {MAX_PATCH_VOXELS} in all; is the card damaged?"
            )
        if not 0 < self.in_channels <= MAX_CHANNELS:
            raise ValueError(f"in_channels {self.in_channels}: 1 to {MAX_CHANNELS}")
        return self

    @classmethod
    def read(cls, folder: Path) -> "ModelCard":
        """Read the card of a model folder."""
        return cls.model_validate_json((folder / CARD).read_bytes())


class TrainingSummary(FrozenModel):
    """The outcome of a finished training.

    Attributes:
        name: of the training.
        epochs: epochs trained.
        parameters: of the network, deep-supervision heads included.
        seconds: wall-clock time over all restarts.
        dice: pseudo-Dice of the last epoch; None without validation cases.
        best_dice: highest moving average of the pseudo-Dice, that of best.safetensors.
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
        if self.ended_early:
            return settings.patience is not None and settings.epochs >= self.epochs
        return self.epochs == settings.epochs

    @classmethod
    def read(cls, folder: Path) -> "TrainingSummary | None":
        """Read the summary of a model folder; None while nothing has finished there."""
        path = folder / SUMMARY
        return cls.model_validate_json(path.read_bytes()) if path.exists() else None


def describe(
    task: TrainingTask,
    settings: TrainingSettings,
    records: Mapping[str, CaseRecord],
    folder: Path,
    *,
    resumed: bool,
) -> ModelCard:
    """Return the card of a training, with the folder's CT statistics when it is resumed.

    Raises:
        TrainingError: the folder holds the state of another training, or can't tell of which.
    """
    cases = [(key, r.raw_digest, r.preparation_digest) for key, r in records.items()]
    card = ModelCard(
        name=task.name,
        network=SIZES[settings.size],
        in_channels=records[task.training[0]].channels,
        modalities=tuple(sorted({records[key].modality for key in task.training})),
        regions=tuple(task.regions),
        table=task.table,
        patch=settings.patch,
        ct_statistics=None,
        target_spacing=task.target_spacing,
        settings=settings,
        training=tuple(task.training),
        validation=tuple(task.validation),
        initial_weights=file_digest(task.initial_weights) if task.initial_weights else None,
        pool_digest=cases_digest(cases),
        pool_version=task.pool_version,
    )
    if not resumed:
        return card.model_copy(update={"ct_statistics": pool_statistics(task, records)})
    try:
        found = ModelCard.read(folder)
    except (OSError, ValidationError) as error:
        raise TrainingError(
            f"{folder} holds a training whose {CARD} can't be read ({error}); restore the file, or"
            " train in another folder"
        ) from error
    changed = _differences(found, card)
    if changed:
        raise TrainingError(
            f"{folder} holds a training that differs in {', '.join(changed)};"
            " restore it, or train in another folder"
        )
    kept = {"ct_statistics": found.ct_statistics, "pool_version": found.pool_version}
    return card.model_copy(update=kept)


def pool_statistics(task: TrainingTask, records: Mapping[str, CaseRecord]) -> CtStatistics | None:
    """Pool the CT statistics of the training cases; None if all cases are MR."""
    ct_cases = [key for key in task.training if records[key].modality == "CT"]
    if ct_cases:
        return ct_statistics(task.store.intensities(key) for key in ct_cases)
    ct_validation = [key for key in task.validation if records[key].modality == "CT"]
    if ct_validation:
        raise TrainingError(
            f"{task.name}: validation case {ct_validation[0]} is CT, but no training case is:"
            " there are no statistics to normalise it with"
        )
    return None


def _differences(found: ModelCard, wanted: ModelCard) -> list[str]:
    """Name what may not change between two runs in one folder, and did."""
    differ = []
    for name in ModelCard.model_fields:
        old, new = getattr(found, name), getattr(wanted, name)
        if name == "settings":
            differ += [
                f"{field} ({getattr(old, field)} there, {getattr(new, field)} asked for)"
                for field in TrainingSettings.model_fields
                if field not in FREE_TO_CHANGE and getattr(old, field) != getattr(new, field)
            ]
        elif name == "pool_digest" and old != new:
            differ.append(
                f"the contents of its cases (pool version {found.pool_version or 'unknown'} there,"
                f" {wanted.pool_version or 'unknown'} now)"
            )
        elif name not in ("ct_statistics", "modalities", "pool_version") and old != new:
            differ.append(name)
    return differ
