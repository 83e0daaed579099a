"""What a finished training left, added to its run; that does not move the end of the run."""

import time
from collections.abc import Mapping

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric

from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.tracking.curve import last_step
from tsfm_pipeline.tracking.problem import never_fatal
from tsfm_pipeline.tracking.registry import register_model, tag_model
from tsfm_pipeline.tracking.trainings import run_of_training

MAX_BATCH = 1000
"""Metrics MLflow takes in one request."""

SCORES_FILE = "dice.csv"


def log_model(digest: str, folder: ModelFolder) -> None:
    """Add what a finished training says of itself, and the points of the curve that the run lacks.

    Those are all of them where the training was finished before, tracked elsewhere or not at all.
    """
    run_id = run_of_training(digest)
    if run_id is None:
        return
    with never_fatal("files of a training"):
        summary = folder.summary
        if summary is not None:
            # a run's duration counts the pauses between resumed parts
            MlflowClient().log_metric(run_id, "training_seconds", summary.seconds)
            MlflowClient().set_tag(run_id, "epochs", str(summary.epochs))
        for path in (folder.card_path, folder.weights_table):
            if path.is_file():
                MlflowClient().log_artifact(run_id, str(path))
    with never_fatal("the version of a model"):
        register_model(run_id, digest, folder.path)
    if folder.metrics.is_file():
        with never_fatal("the curve of a training"):
            _complete_curve(run_id, folder)


def log_scores(digest: str, dice: Mapping[str, float], table: pd.DataFrame) -> None:
    """Add the scores of held-out cases: the headline as metrics, all targets as a table.

    Args:
        digest: of the training.
        dice: `experiments.scoring_run.headline_dice`.
        table: `reporting.dice_summary.dice_summary`.
    """
    run_id = run_of_training(digest)
    if run_id is None:
        return
    with never_fatal("scores of a training"):
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, 0) for name, value in dice.items()]
        MlflowClient().log_batch(run_id, metrics=metrics)
        MlflowClient().log_text(run_id, table.to_csv(index=False), SCORES_FILE)
    with never_fatal("the version of a model"):
        tag_model(run_id, dice)


def _complete_curve(run_id: str, folder: ModelFolder) -> None:
    written = int(folder.metrics.stat().st_mtime * 1000)
    last = last_step(run_id)
    points = []
    for metrics in folder.epochs():
        step = int(metrics.pop("epoch"))
        if step > last:
            points += [Metric(name, value, written, step) for name, value in metrics.items()]
    for start in range(0, len(points), MAX_BATCH):
        MlflowClient().log_batch(run_id, metrics=points[start:][:MAX_BATCH])
