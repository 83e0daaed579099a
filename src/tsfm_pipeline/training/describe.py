"""The card of a training, made from its task and checked against the folder's."""

from collections.abc import Mapping
from typing import Any

from tsfm_pipeline.files import file_digest
from tsfm_pipeline.imaging.intensity import CtStatistics, ct_statistics
from tsfm_pipeline.model.card import ModelCard
from tsfm_pipeline.model.folder import ModelError, ModelFolder
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
ADDED_LATER = {"network", "masked_loss", "dataset_sampling", "optimizer", "schedule"}
"""Settings younger than some trainings: at their defaults, they do not enter a digest."""

_DEFAULTS = TrainingSettings().model_dump()


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
        return card.model_copy(update={"ct_statistics": pool_statistics(task, records)})
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


def pool_statistics(task: TrainingTask, records: Mapping[str, CaseRecord]) -> CtStatistics | None:
    """Pool the CT statistics of the training cases; None if all cases are MR."""
    ct_cases = [key for key in task.training if records[key].modality == "CT"]
    if ct_cases:
        return ct_statistics(task.cases.intensities(key) for key in ct_cases)
    ct_validation = [key for key in task.validation if records[key].modality == "CT"]
    if ct_validation:
        raise TrainingError(
            f"{task.name}: validation case {ct_validation[0]} is CT, but no training case is:"
            " there are no statistics to normalise it with"
        )
    return None


def deciding_settings(settings: TrainingSettings) -> dict[str, Any]:
    """Return, for a digest, the settings that decide the weights."""
    old = {name for name in ADDED_LATER if getattr(settings, name) == _DEFAULTS[name]}
    return settings.model_dump(mode="json", exclude=FREE_TO_CHANGE | old)


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
            name not in ("ct_statistics", "modalities", "pool_version", "synthetic") and old != new
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
