"""Train one experiment of the grid, or say why it is not run."""

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pandas as pd

from tsfm_pipeline.experiments.grid import Experiment
from tsfm_pipeline.experiments.outcome import ModelRecord
from tsfm_pipeline.experiments.planned import with_plan
from tsfm_pipeline.experiments.settings import ExperimentSettings
from tsfm_pipeline.files import content_digest, file_digest
from tsfm_pipeline.files.locking import waiting_lock
from tsfm_pipeline.imaging.geometry import TripleFloat
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.planning.dataset_plan import DatasetPlan
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.training.describe import FREE_TO_CHANGE
from tsfm_pipeline.training.launch import train
from tsfm_pipeline.training.task import TrainingError, TrainingTask

logger = logging.getLogger(__name__)

Report = Callable[[int, Mapping[str, float]], None]
Track = Callable[[str, str, TrainingSettings], AbstractContextManager[Report]]
"""Opens the tracking of one experiment: (name, digest, settings) -> where its metrics go."""


def run_training(
    experiment: Experiment,
    settings: ExperimentSettings,
    table: LabelTable,
    store: CaseStore,
    splits: pd.DataFrame,
    target_spacing: TripleFloat | None,
    plans: Mapping[str, DatasetPlan],
    models_root: Path,
    initial: ModelRecord | None,
    track: Track,
) -> ModelRecord:
    """Train an experiment into `models_root / name / digest`, resuming or skipping as needed.

    A training that fails is recorded and logged, and does not stop the other experiments; a
    keyboard interrupt or a termination signal does.

    Args:
        experiment: the entry of the grid.
        settings: values of the experiments in this environment.
        table: the fused label table.
        store: the case store of the pool.
        splits: key, dataset, role of every case in use, and the version of the pool.
        target_spacing: mm (z, y, x) the pool was resampled to, kept with the model.
        plans: of every dataset, for settings that are planned.
        models_root: folder of all model folders.
        initial: record of the experiment whose best weights it starts from; None takes the
            weights that the settings name, if any.
        track: opens the tracking of the experiment.

    Returns:
        The record: finished, failed (with the error) or not run (with the reason).
    """
    name = experiment.name
    pool_version = str(splits["pool_version"].iat[0])
    training = settings.training_of(experiment)
    if training is None:
        return _not_run(
            name, pool_version, f"budget {experiment.budget} is left out in this environment"
        )
    datasets = experiment.datasets or tuple(dict.fromkeys(splits.loc[splits["pool"], "dataset"]))
    missing = [dataset for dataset in datasets if dataset not in set(splits["dataset"])]
    if missing:
        return _not_run(
            name, pool_version, f"{', '.join(missing)} is not among this environment's datasets"
        )
    if initial is not None and initial.status != "finished":
        return _not_run(
            name, pool_version, f"{initial.experiment}, where it starts from, is {initial.status}"
        )

    training = with_plan(training, settings.planned_of(experiment), datasets, plans)
    chosen = splits[splits["dataset"].isin(datasets)]
    training_keys = list(chosen.loc[chosen["role"] == "training", "key"])
    task = TrainingTask(
        name=name,
        settings=training,
        store=store.root,
        training=tuple(training_keys),
        validation=tuple(chosen.loc[chosen["role"] == "validation", "key"]),
        table=table,
        regions=_annotated_regions(store, training_keys, table),
        initial_weights=(
            initial.model_folder(models_root).weights("best")
            if initial is not None
            else settings.initial_weights_of(experiment)
        ),
        target_spacing=target_spacing,
        pool_version=pool_version,
    )
    digest = training_digest(task)
    folder = Path(name) / digest
    model = ModelFolder(models_root / folder)
    try:
        model.path.mkdir(parents=True, exist_ok=True)
        # the second of two runs of one workspace waits, and finds the training finished
        with waiting_lock(model.lock), track(name, digest, training) as report:
            summary = train(task, model.path, report)
    except Exception as error:  # the other experiments go on; the record keeps the cause
        # a TrainingError says all there is to say
        own = isinstance(error, TrainingError)
        logger.error("Training of %s failed: %s", name, error, exc_info=not own)
        return ModelRecord(
            experiment=name,
            status="failed",
            reason=f"{type(error).__name__}: {error}",
            pool_version=pool_version,
            folder=str(folder),
            digest=digest,
        )
    return ModelRecord(
        experiment=name,
        status="finished",
        pool_version=pool_version,
        folder=str(folder),
        digest=digest,
        epochs=summary.epochs,
    )


def training_digest(task: TrainingTask) -> str:
    """Digest of everything that decides the weights, but the number of epochs.

    So a resumed or extended training keeps its folder and its tracked curves, and any other
    change starts a new one.
    """
    records = [task.cases.record(key) for key in [*task.training, *task.validation]]
    content = {
        # budgets of one dataset differ in epochs alone, and are runs of their own
        "name": task.name,
        "settings": task.settings.model_dump(mode="json", exclude=FREE_TO_CHANGE),
        "regions": {region: task.table.region_ids(region) for region in task.regions},
        "training": task.training,
        "validation": task.validation,
        "cases": [[record.raw_digest, record.preparation_digest] for record in records],
        "initial": file_digest(task.initial_weights) if task.initial_weights else None,
    }
    return content_digest(content)


def _annotated_regions(store: CaseStore, keys: list[str], table: LabelTable) -> tuple[str, ...]:
    targets = {name for key in keys for name in store.record(key).annotated}
    return table.regions_annotated_by(sorted(targets))


def _not_run(name: str, pool_version: str, reason: str) -> ModelRecord:
    logger.info("Not run: %s (%s)", name, reason)
    return ModelRecord(experiment=name, status="not run", reason=reason, pool_version=pool_version)
