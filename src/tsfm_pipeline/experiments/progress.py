"""How far each experiment of the grid has come, from what it has left on disk."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import pandas as pd

from tsfm_pipeline.experiments.experiment import Experiment
from tsfm_pipeline.experiments.grid import PROMPTED
from tsfm_pipeline.experiments.outcome import ModelRecord, Outcome, collect_statuses
from tsfm_pipeline.experiments.settings import ExperimentSettings
from tsfm_pipeline.model.folder import WEIGHTS, ModelError, ModelFolder
from tsfm_pipeline.model.training_spec import TrainingSpec
from tsfm_pipeline.nnunetv2.task import prediction_of, spec_file
from tsfm_pipeline.reporting.staleness import stale_experiments

State = Literal[
    "finished",
    "in progress",
    "interrupted",
    "failed",
    "stale",
    "needs checkpoint",
    "left out",
    "not run",
]
STATES: tuple[State, ...] = get_args(State)

QUIET_MINUTES = 30.0
"""Validation, the first compilation and slow disks may take so long between two saved states."""


@dataclass(frozen=True)
class Left:
    """What the stages of an experiment recorded.

    Attributes:
        model: of its training.
        saved_at: when that was written, in seconds since 1970; 0 without a record.
        scoring: of its last stage.
    """

    model: ModelRecord | None = None
    saved_at: float = 0.0
    scoring: Outcome | None = None


@dataclass(frozen=True)
class Progress:
    """Where an experiment stands.

    Attributes:
        experiment: its name.
        state: one word for it.
        detail: epochs, last sign of life, or the reason.
    """

    experiment: str
    state: State
    detail: str = ""


@dataclass(frozen=True)
class Environment:
    """What experiments run on and where they leave their files.

    Attributes:
        settings: values of the experiments.
        datasets: of the pool and downstream.
        pool: version of the pool; empty while there is none.
        models_root: folder of all model folders.
        predictions_root: folder of all predictions.
    """

    settings: ExperimentSettings
    datasets: Collection[str]
    pool: str
    models_root: Path
    predictions_root: Path


def progress_of_all(
    grid: Collection[Experiment], left: Mapping[str, Left], environment: Environment, now: float
) -> list[Progress]:
    """Find out where experiments stand, without reading images or weights.

    A training that its files show at work, or given up, counts before an older record; a finished
    figure counts before settings that no longer ask for it.

    Args:
        grid: the experiments.
        left: what each has recorded, by name; those without anything may be missing.
        environment: what they run on.
        now: seconds since 1970.

    Returns:
        One entry each, in order.
    """
    stale = {}
    if environment.pool:
        models = [entry.model for entry in left.values() if entry.model is not None]
        stale = stale_experiments(collect_statuses(*models), environment.pool)
    pairs = [(experiment, left.get(experiment.name, Left())) for experiment in grid]
    alive = max(_last_sign(experiment, own, environment) for experiment, own in pairs)
    return [
        _training_under_way(experiment, own, environment, now)
        or _recorded(experiment, own, environment, stale, now - alive)
        or _not_run(experiment, own, environment)
        for experiment, own in pairs
    ]


def prompted_progress(statuses: pd.DataFrame, environment: Environment) -> Progress:
    """Say how far SAM-Med3D has come, which is scored without a training.

    Args:
        statuses: rows of `outcome.STATUSES_SCHEMA` that its last run left; none before one.
        environment: what it runs on.
    """
    reason = environment.settings.why_not_prompted()
    if not statuses.empty:
        _, status, explanation, pool = statuses.iloc[0]
        if status == "failed":
            return Progress(PROMPTED, "failed", str(explanation))
        if status == "finished" and environment.pool and pool != environment.pool:
            return Progress(
                PROMPTED, "stale", f"scored on pool {pool}, the pool is {environment.pool} now"
            )
        if status == "finished":
            return Progress(PROMPTED, "finished", "prompted with the ground truth")
    if environment.settings.methods["sam_med3d"].checkpoint is None:
        return Progress(PROMPTED, "needs checkpoint", reason or "")
    return Progress(PROMPTED, "left out" if reason else "not run", reason or "")


def _training_under_way(
    experiment: Experiment, left: Left, environment: Environment, now: float
) -> Progress | None:
    """Judge the model folder that was touched last, if its training has not come to an end."""
    folders = _model_folders(experiment, environment)
    newest = max(folders, key=_written, default=None)
    if newest is None or _written(newest) <= left.saved_at:  # what came of it is recorded
        return None
    folder = ModelFolder(newest)
    try:
        spec = spec_of(folder)
        if spec is None or _has_ended(folder, spec):
            return None
    except ModelError as error:
        return Progress(experiment.name, "failed", str(error))
    quiet = now - _written(newest)
    at_work = quiet < _patience(spec.settings.checkpoint_minutes)
    done = len(folder.epochs())
    epochs = f"epoch {min(done + 1, spec.settings.epochs)} of {spec.settings.epochs}, "
    if not folder.card_path.exists():
        epochs = "nnU-Net v2, "  # its own log has the epochs
    detail = f"{epochs}last sign of life {_ago(quiet)} ago"
    return Progress(experiment.name, "in progress" if at_work else "interrupted", detail)


def _recorded(
    experiment: Experiment,
    left: Left,
    environment: Environment,
    stale: Mapping[str, str],
    quiet: float,
) -> Progress | None:
    """Judge the record of a training that was finished, or failed."""
    name, model = experiment.name, left.model
    if model is None or model.status not in ("finished", "failed"):
        return None
    if model.status == "failed":
        return Progress(name, "failed", model.explanation())
    if name in stale:
        return Progress(
            name, "stale", f"trained on pool {stale[name]}, the pool is {environment.pool} now"
        )
    return _scored(experiment, model, left.scoring, quiet)


def _scored(
    experiment: Experiment, model: ModelRecord, scoring: Outcome | None, quiet: float
) -> Progress:
    """Judge prediction and scoring of a trained model.

    A run may train all its experiments before it predicts with the first, so `quiet` is the time
    in seconds since a sign of life of any experiment.
    """
    name = experiment.name
    if scoring is not None and scoring.pool_version == model.pool_version:
        if scoring.status == "finished":
            epochs = f"{model.epochs} epoch{'s' if model.epochs != 1 else ''}"
            return Progress(
                name, "finished", epochs if experiment.trains else f"as {experiment.initial} is"
            )
        if scoring.status == "failed":
            return Progress(name, "failed", scoring.explanation())
    at_work = quiet < _patience(0)
    detail = "trained, not yet scored"
    return Progress(name, "in progress" if at_work else "interrupted", detail)


def _not_run(experiment: Experiment, left: Left, environment: Environment) -> Progress:
    """Say why nothing is there, by the settings of now; else by what the last run said."""
    name, settings = experiment.name, environment.settings
    if reason := settings.why_left_out(experiment):
        return Progress(name, "left out", reason)
    if settings.lacks_checkpoint(experiment):
        return Progress(name, "needs checkpoint", settings.why_not_run(experiment) or "")
    reason = settings.why_not_run(experiment) or experiment.why_no_data(environment.datasets)
    if reason is None and left.model is not None:
        reason = f"at the last run: {left.model.reason}"
    return Progress(name, "not run", reason or "")


def spec_of(folder: ModelFolder) -> TrainingSpec | None:
    """Read what is trained in a folder; None where nothing says so yet.

    Raises:
        ModelError: the file that says so is damaged.
    """
    if folder.card_path.exists():
        return folder.card
    if spec_file(folder.path).exists():
        return TrainingSpec.model_validate_json(spec_file(folder.path).read_bytes())
    return None


def _has_ended(folder: ModelFolder, spec: TrainingSpec) -> bool:
    if folder.card_path.exists():
        return folder.summary is not None and folder.summary.is_end_of(spec.settings)
    cases = [key.split("/", 1)[1] for key in spec.scored]
    return all(
        prediction_of(folder.path, kind, case).exists() for kind in WEIGHTS for case in cases
    )


def _last_sign(experiment: Experiment, left: Left, environment: Environment) -> float:
    """Return when an experiment last wrote something."""
    predicted = (environment.predictions_root / experiment.name).glob("*/*/*")  # digest, weights
    folders = _model_folders(experiment, environment)
    return max([left.saved_at, *map(_changed, predicted), *map(_written, folders)])


def _model_folders(experiment: Experiment, environment: Environment) -> list[Path]:
    place = environment.models_root / experiment.name
    return [path for path in place.iterdir() if path.is_dir()] if place.is_dir() else []


def _written(folder: Path) -> float:
    """Return when a folder or a file in it was last written."""
    return max(map(_changed, [folder, *folder.iterdir()]))


def _changed(path: Path) -> float:
    with suppress(FileNotFoundError):  # a temporary file of a training at work
        return path.stat().st_mtime
    return 0.0


def _patience(checkpoint_minutes: float) -> float:
    """Return the seconds without a sign of life that a stage at work may take."""
    return 60 * (QUIET_MINUTES + 2 * checkpoint_minutes)


def _ago(seconds: float) -> str:
    """Write a duration in its largest unit."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
