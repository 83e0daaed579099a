"""Nodes of the experiment template."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd

from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.experiments.experiment import Experiment
from tsfm_pipeline.experiments.outcome import ModelRecord, Outcome
from tsfm_pipeline.experiments.settings import ExperimentSettings
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.phantom.ownership import is_phantom
from tsfm_pipeline.planning.dataset_plan import DatasetPlan
from tsfm_pipeline.planning.target_spacing import PoolSpacing
from tsfm_pipeline.sources import Datasets
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.workers import WorkerSettings


def train_model(
    experiments: ExperimentSettings,
    labels: LabelTable,
    datasets: Datasets,
    case_index: pd.DataFrame,
    pool_store: CaseStore,
    splits: pd.DataFrame,
    target_spacing: PoolSpacing,
    dataset_plans: dict[str, Callable[[], DatasetPlan]],
    models_root: Path,
    raw_root: Path,
    initial_model: ModelRecord | None = None,
    *,
    experiment: Experiment,
) -> ModelRecord:
    """Train an experiment, from the best weights of another where one is given."""
    from tsfm_pipeline.experiments.training_run import run_training
    from tsfm_pipeline.tracking.described import describe_training
    from tsfm_pipeline.tracking.results import log_model
    from tsfm_pipeline.tracking.trainings import training_run

    initial_weights = experiments.initial_weights_of(experiment)
    description = describe_training(
        experiment,
        splits,
        pool_store.root,
        pretrained=initial_model is not None or initial_weights is not None,
    )
    model = run_training(
        experiment=experiment,
        settings=experiments,
        table=labels,
        sources=datasets.root,
        case_index=case_index,
        store=pool_store,
        splits=splits,
        target_spacing=target_spacing.spacing,
        plans={name: load() for name, load in dataset_plans.items()},
        models_root=models_root,
        initial=initial_model,
        track=partial(training_run, description=description),
        phantoms={
            name for name, source in datasets.root.items() if is_phantom(raw_root / source.folder)
        },
    )
    if model.status == "finished":
        log_model(model.digest, model.model_folder(models_root))
    return model


def predict_cases(
    model: ModelRecord,
    inference: InferenceSettings,
    datasets: Datasets,
    pool_store: CaseStore,
    models_root: Path,
    predictions_root: Path,
) -> tuple[pd.DataFrame, Outcome]:
    """Predict the model's validation cases on their original grids; list the files."""
    from tsfm_pipeline.experiments.prediction_run import run_prediction

    return run_prediction(
        model, inference, datasets.root, pool_store, models_root, predictions_root
    )


def score_predictions(
    model: ModelRecord,
    predictions: pd.DataFrame,
    prediction_outcome: Outcome,
    case_index: pd.DataFrame,
    datasets: Datasets,
    labels: LabelTable,
    evaluation: EvaluationSettings,
    workers: WorkerSettings,
    predictions_root: Path,
) -> tuple[pd.DataFrame, Outcome]:
    """Score the predicted files against the raw label files."""
    from tsfm_pipeline.evaluation.summary import summarise
    from tsfm_pipeline.experiments.scoring_run import headline_dice, run_scoring
    from tsfm_pipeline.reporting.dice_summary import dice_summary
    from tsfm_pipeline.tracking.results import log_scores

    scores, outcome = run_scoring(
        predictions,
        prediction_outcome,
        case_index,
        datasets.root,
        labels,
        evaluation,
        predictions_root,
        workers,
    )
    if not scores.empty:
        dice = dice_summary(summarise(scores, evaluation.bootstrap_resamples), evaluation)
        log_scores(model.digest, headline_dice(dice), dice)
    return scores, outcome
