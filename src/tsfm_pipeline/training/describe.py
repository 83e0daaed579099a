"""The card of a training, made from its task and checked against the folder's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tsfm_pipeline.files import file_digest
from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.imaging.intensity import CtStatistics, ct_statistics
from tsfm_pipeline.model.card import ModelCard
from tsfm_pipeline.model.folder import WEIGHTS_SUFFIX, ModelError, ModelFolder
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.model.training_spec import TrainingSpec
from tsfm_pipeline.planning.architecture import architecture_for
from tsfm_pipeline.store.record import CaseRecord, cases_digest
from tsfm_pipeline.training.task import TrainingError, TrainingTask

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
ADDED_LATER = {
    "network",
    "masked_loss",
    "dataset_sampling",
    "optimizer",
    "schedule",
    "ct_statistics",
}
"""Settings younger than some trainings: at their defaults, they do not enter a digest."""
AUGMENTATION_ADDED_LATER = {"dummy_2d_axis"}
"""The same among `augmentation`'s."""

_DEFAULTS = TrainingSettings()


def describe(
    task: TrainingTask, records: Mapping[str, CaseRecord], folder: ModelFolder, *, resumed: bool
) -> ModelCard:
    """Return the card of a training, with the folder's CT statistics when it is resumed.

    Raises:
        TrainingError: the folder holds the state of another training, or can't tell of which.
    """
    cases = [(key, r.raw_digest, r.preparation_digest) for key, r in records.items()]
    card = ModelCard(
        **{name: getattr(task, name) for name in TrainingSpec.model_fields},
        network=architecture_for(task.settings, task.target_spacing),
        in_channels=records[task.training[0]].channels,
        modalities=tuple(sorted({records[key].modality for key in task.training})),
        patch=task.settings.patch,
        ct_statistics=None,
        initial_weights=file_digest(task.initial_weights) if task.initial_weights else None,
        pool_digest=cases_digest(cases),
    )
    if not resumed:
        return card.model_copy(update={"ct_statistics": chosen_statistics(task, records)})
    try:
        found = folder.card
    except ModelError as error:
        raise TrainingError(
            f"{folder.path} holds a training whose {folder.card_path.name} can't be read"
            f" ({error.__cause__ or error}); restore the file, or train in another folder"
        ) from error
    changed = _differences(found, card)
    if changed:
        raise TrainingError(
            f"{folder.path} holds a training that differs in {', '.join(changed)};"
            " restore it, or train in another folder"
        )
    kept = {"ct_statistics": found.ct_statistics, "pool_version": found.pool_version}
    return card.model_copy(update=kept)


def chosen_statistics(task: TrainingTask, records: Mapping[str, CaseRecord]) -> CtStatistics | None:
    """Return what normalises CT: the initial model's, or of the training cases; None for MR alone.

    Raises:
        TrainingError: the initial weights come without statistics; CT is validated, not trained on.
    """
    ct_cases = [key for key in task.training if records[key].modality == "CT"]
    if ct_cases:
        if task.settings.ct_statistics == "initial" and task.initial_weights is not None:
            return _initial_statistics(task.name, task.initial_weights)
        return ct_statistics(task.cases.intensities(key) for key in ct_cases)
    ct_validation = [key for key in task.validation if records[key].modality == "CT"]
    if ct_validation:
        raise TrainingError(
            f"{task.name}: validation case {ct_validation[0]} is CT, but no training case is:"
            " there are no statistics to normalise it with"
        )
    return None


def _initial_statistics(name: str, weights: Path) -> CtStatistics:
    """Return the CT statistics on the card beside a model's weights."""
    remedy = (
        "set ct_statistics of this training to own, or start from a model folder of a training on"
        " CT"
    )
    if weights.suffix != WEIGHTS_SUFFIX:
        raise TrainingError(
            f"{name}: ct_statistics is initial, but the initial weights {weights} are a published"
            f" checkpoint, which has no model card; {remedy}"
        )
    folder = ModelFolder(weights.parent)
    try:
        statistics = folder.card.ct_statistics
    except ModelError as error:
        raise TrainingError(
            f"{name}: ct_statistics is initial, but the initial weights {weights} have no usable"
            f" {folder.card_path.name} beside them ({error.__cause__ or error}); {remedy}"
        ) from error
    if statistics is None:
        raise TrainingError(
            f"{name}: ct_statistics is initial, but the initial weights {weights} were trained on"
            f" MR alone; {remedy}"
        )
    return statistics


def deciding_settings(settings: TrainingSettings) -> dict[str, Any]:
    """Return, for a digest, the settings that decide the weights."""
    deciding = settings.model_dump(
        mode="json", exclude=FREE_TO_CHANGE | _at_default(ADDED_LATER, settings, _DEFAULTS)
    )
    for name in _at_default(
        AUGMENTATION_ADDED_LATER, settings.augmentation, _DEFAULTS.augmentation
    ):
        del deciding["augmentation"][name]
    return deciding


def _at_default(names: set[str], settings: FrozenModel, defaults: FrozenModel) -> set[str]:
    return {name for name in names if getattr(settings, name) == getattr(defaults, name)}


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
        elif name == "table":
            if _table_as_seen(found) != _table_as_seen(wanted):
                differ.append(name)
        elif name == "pool_digest" and old != new:
            differ.append(
                f"the contents of its cases (pool version {found.pool_version or 'unknown'} there,"
                f" {wanted.pool_version or 'unknown'} now)"
            )
        elif (
            name not in ("ct_statistics", "modalities", "pool_version", "synthetic", "test")
            and old != new
        ):
            differ.append(name)
    return differ


def _table_as_seen(card: ModelCard) -> list[Any]:
    """Return what a training sees of the label table: a target more, elsewhere, changes nothing."""
    partners = card.table.side_partners()
    return [
        card.table.reading,
        {region: card.table.composed_ids(region) for region in card.regions},
        [
            (name, partners[name] in card.table.targets)
            for name in card.table.exclusive_targets(card.regions)
            if name in partners
        ],
    ]
