"""Train one experiment of the grid, or say why it is not run."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pandas as pd

from tsfm_pipeline.experiments.experiment import Experiment
from tsfm_pipeline.experiments.nnunetv2_run import nnunetv2_digest, train_nnunetv2
from tsfm_pipeline.experiments.outcome import ModelRecord, Status
from tsfm_pipeline.experiments.planned import with_plan
from tsfm_pipeline.experiments.settings import ExperimentSettings
from tsfm_pipeline.files import content_digest, file_digest
from tsfm_pipeline.files.locking import waiting_lock
from tsfm_pipeline.imaging.geometry import TripleFloat
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.machine import MachineError, told
from tsfm_pipeline.model.folder import ModelError, ModelFolder
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.model.training_spec import TrainingSpec
from tsfm_pipeline.nnunetv2 import NnunetError
from tsfm_pipeline.planning.dataset_plan import DatasetPlan
from tsfm_pipeline.pool.leakage import leakage_free
from tsfm_pipeline.pool.roles import scored_role
from tsfm_pipeline.sources import Source
from tsfm_pipeline.store.case_store import CaseStore, StoreError
from tsfm_pipeline.training.describe import deciding_settings
from tsfm_pipeline.training.launch import train
from tsfm_pipeline.training.task import TrainingError, TrainingTask

logger = logging.getLogger(__name__)

NOTHING_LEAKS = (
    "no case of the pool is of a person who is downstream, too: the leakage-free pool is the pool"
)

Report = Callable[[int, Mapping[str, float]], None]
Track = Callable[[str, str, TrainingSettings], AbstractContextManager[Report]]
"""Opens the tracking of one experiment: (name, digest, settings) -> where its metrics go."""


def run_training(
    experiment: Experiment,
    settings: ExperimentSettings,
    table: LabelTable,
    sources: Mapping[str, Source],
    case_index: pd.DataFrame,
    store: CaseStore,
    splits: pd.DataFrame,
    target_spacing: TripleFloat | None,
    plans: Mapping[str, DatasetPlan],
    models_root: Path,
    initial: ModelRecord | None,
    track: Track,
    phantoms: Collection[str] = (),
) -> ModelRecord:
    """Train an experiment into `models_root / name / digest`, resuming or skipping as needed.

    A training that fails is recorded and logged, and does not stop the other experiments; a
    keyboard interrupt or a termination signal does.

    Args:
        experiment: the entry of the grid.
        settings: values of the experiments in this environment.
        table: the fused label table.
        sources: the dataset entries, for nnU-Net v2.
        case_index: where each case's raw files are, for nnU-Net v2.
        store: the case store of the pool.
        splits: key, dataset, role of every case in use, and the version of the pool.
        target_spacing: mm (z, y, x) the pool was resampled to, kept with the model.
        plans: of every dataset, for settings that are planned.
        models_root: folder of all model folders.
        initial: record of the experiment whose best weights it starts from; None takes the
            weights that the settings name, if any.
        track: opens the tracking of the experiment.
        phantoms: datasets that are built-in phantoms; the model says so where it saw no other.

    Returns:
        The record: finished, failed (with the error) or not run (with the reason).

    Raises:
        MachineError: the model folder can't be made.
    """
    name = experiment.name
    pool_version = str(splits["pool_version"].iat[0])
    reason = settings.why_not_run(experiment)
    training = settings.training_of(experiment)
    if reason is not None or training is None:
        lacking = settings.lacks_checkpoint(experiment)
        status: Status = "needs checkpoint" if lacking else "not run"
        return _not_run(name, pool_version, str(reason), status)
    datasets = experiment.datasets or tuple(dict.fromkeys(splits.loc[splits["pool"], "dataset"]))
    whole = splits[splits["dataset"].isin(datasets)]
    chosen = leakage_free(whole) if experiment.leakage_free else whole
    no_data = experiment.why_no_data(set(splits["dataset"]))
    if experiment.leakage_free and len(chosen) == len(whole):
        no_data = NOTHING_LEAKS
    if no_data is not None:
        return _not_run(name, pool_version, no_data)
    weights = settings.initial_weights_of(experiment)
    if initial is not None and weights is None:
        if why := _lacking_start(experiment, initial, models_root):
            return _not_run(name, pool_version, *why)
        weights = initial.model_folder(models_root).weights("best")

    training_keys = list(chosen.loc[chosen["role"] == "training", "key"])
    validation = tuple(chosen.loc[chosen["role"] == "validation", "key"])
    scored = tuple(chosen.loc[chosen["role"] == scored_role(splits), "key"])
    if not experiment.trains:
        assert initial is not None  # the grid's test
        return _as_it_is(experiment, initial, scored, store, models_root, pool_version)
    if experiment.cases is not None:
        wanted = settings.transfer.cases[experiment.cases]
        training_keys = few_cases(training_keys, wanted or 0, training.seed)
    if weights is None:  # nothing to keep: not another training
        training = training.model_copy(update={"ct_statistics": "own"})
    engine = settings.engine_of(experiment)
    annotated = sorted({name for key in training_keys for name in store.record(key).annotated})
    exclusive = engine == "nnunetv2" or training.loss == "softmax"
    table = table.over(annotated) if exclusive else table.composed_within(annotated)
    spec = TrainingSpec(
        name=name,
        settings=with_plan(training, settings.planned_of(experiment), datasets, plans),
        training=tuple(training_keys),
        validation=validation,
        test=() if scored == validation else scored,
        table=table,
        regions=table.regions_annotated_by(annotated),
        target_spacing=target_spacing if engine == "native" else None,
        pool_version=pool_version,
        synthetic=set(phantoms).issuperset(datasets),
    )
    task = TrainingTask(**dict(spec), store=store.root, initial_weights=weights)
    digest = training_digest(task) if engine == "native" else nnunetv2_digest(spec, store)
    folder = Path(name) / digest
    model = ModelFolder(models_root / folder)
    epochs = spec.settings.epochs
    _make(model.path)
    try:
        # the second of two runs of one workspace waits, and finds the training finished
        with waiting_lock(model.lock), track(name, digest, spec.settings) as report:
            if engine == "native":
                epochs = train(task, model.path, report).epochs
            else:
                python = settings.nnunet.python
                train_nnunetv2(spec, sources, case_index, model.path, python, report)
    except Exception as error:  # the other experiments go on; the record keeps the cause
        # these say all there is to say
        own = isinstance(error, TrainingError | NnunetError | StoreError)
        logger.error("Training of %s failed: %s", name, error, exc_info=not own)
        return ModelRecord(
            experiment=name,
            status="failed",
            reason=f"{type(error).__name__}: {error}",
            pool_version=pool_version,
            folder=str(folder),
            digest=digest,
            engine=engine,
        )
    return ModelRecord(
        experiment=name,
        status="finished",
        pool_version=pool_version,
        folder=str(folder),
        digest=digest,
        epochs=epochs,
        engine=engine,
        cases=scored,
    )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(told(error, folder)) from error


def _lacking_start(
    experiment: Experiment, initial: ModelRecord, models_root: Path
) -> tuple[str, Status] | None:
    """Say why an experiment can't start from another one's best weights; None where it can."""
    if initial.status != "finished":
        return f"{initial.experiment}, where it starts from, is {initial.status}", "not run"
    origin = initial.model_folder(models_root)
    try:  # before their digest names a folder
        origin.check(origin.weights("best"))
    except ModelError as error:
        logger.error("Training of %s failed: %s", experiment.name, error)
        return str(error), "failed"
    return None


def training_digest(task: TrainingTask) -> str:
    """Digest of everything that decides the weights, but the number of epochs.

    So a resumed or extended training keeps its folder and its tracked curves, and any other
    change starts a new one.
    """
    records = [task.cases.record(key) for key in [*task.training, *task.validation]]
    content = {
        # budgets of one dataset differ in epochs alone, and are runs of their own
        "name": task.name,
        "settings": deciding_settings(task.settings),
        "regions": {region: task.table.composed_ids(region) for region in task.regions},
        "training": task.training,
        "validation": task.validation,
        "cases": [[record.raw_digest, record.preparation_digest] for record in records],
        "initial": file_digest(task.initial_weights) if task.initial_weights else None,
    }
    return content_digest(content)


def few_cases(keys: Sequence[str], number: int, seed: int) -> list[str]:
    """Choose some of the training cases; fewer are always among more, with the same seed."""
    order = np.random.default_rng(seed).permutation(len(keys))
    return [sorted(keys)[index] for index in order[:number]]


def _as_it_is(
    experiment: Experiment,
    initial: ModelRecord,
    cases: tuple[str, ...],
    store: CaseStore,
    models_root: Path,
    pool_version: str,
) -> ModelRecord:
    """Return the record of a model that is scored without any training on the cases' dataset."""
    card = initial.model_folder(models_root).card
    for key in cases:
        case = store.record(key)
        known = set(card.table.regions_annotated_by(case.annotated)) & set(card.regions)
        if case.channels != card.in_channels or not known:
            what = f"{case.channels} channel(s), targets {', '.join(case.annotated)}"
            return _not_run(
                experiment.name,
                pool_version,
                f"{initial.experiment} takes {card.in_channels} channel(s) and predicts other"
                f" targets than {key} has ({what})",
            )
    return initial.model_copy(
        update={
            "experiment": experiment.name,
            "cases": cases,
            "pool_version": pool_version,
            "epochs": 0,
        }
    )


def _not_run(name: str, pool_version: str, reason: str, status: Status = "not run") -> ModelRecord:
    logger.debug("%s: %s (%s)", status.capitalize(), name, reason)
    return ModelRecord(experiment=name, status=status, reason=reason, pool_version=pool_version)
