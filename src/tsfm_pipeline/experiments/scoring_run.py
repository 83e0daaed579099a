"""Score predicted label maps against the raw label files, on the raw images' own grids."""

import logging
import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from tsfm_pipeline.evaluation.metrics import AUTOMATIC, SCORES_SCHEMA, score_case
from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.experiments.outcome import Outcome
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.imaging.volume import read_image
from tsfm_pipeline.machine import MachineError, fault_of_machine
from tsfm_pipeline.preparation.labels import read_prediction, read_targets
from tsfm_pipeline.sources import Source, SourceCase
from tsfm_pipeline.sources.case_index import case_from_row
from tsfm_pipeline.workers import WorkerFailure, WorkerSettings, run_cases

logger = logging.getLogger(__name__)


class ScoringError(ValueError):
    """Predicted files that can't be scored."""


def run_scoring(
    predictions: pd.DataFrame,
    predicted: Outcome,
    case_index: pd.DataFrame,
    sources: Mapping[str, Source],
    table: LabelTable,
    settings: EvaluationSettings,
    predictions_root: Path,
    workers: WorkerSettings,
) -> tuple[pd.DataFrame, Outcome]:
    """Score every predicted file.

    A scoring that fails is recorded and logged, and does not stop the other experiments.

    Args:
        predictions: rows of `prediction_run.run_prediction`.
        predicted: outcome of the prediction.
        case_index: where each case's raw files are.
        sources: the dataset entries.
        table: the fused label table.
        settings: how predictions are scored.
        predictions_root: folder of all predictions.
        workers: how many cases at once.

    Returns:
        Rows of `evaluation.metrics.SCORES_SCHEMA`, one per weights, case and region that the case
        annotates and the model predicts, and the extra targets of these; and the outcome: that of
        the prediction where it is not finished. Where one case can't be scored there are no rows:
        a mean over the others would mislead.

    Raises:
        MachineError: a full disk or no memory, which would stop the others, too.
    """
    name = predicted.experiment
    rows: list[dict[str, object]] = []
    outcome = predicted.unfinished()
    if outcome is None:
        try:
            rows = _score_cases(
                predictions, case_index, sources, table, settings, predictions_root, workers
            )
            outcome = predicted.next(stage="scoring", status="finished")
        except Exception as error:  # the other experiments go on; the outcome keeps the cause
            if fault := fault_of_machine(error):  # they could not go on either
                raise MachineError(fault) from error
            named = isinstance(error, ScoringError)  # its text says it all
            logger.error("Scoring of %s failed: %s", name, error, exc_info=not named)
            reason = str(error) if named else f"{type(error).__name__}: {error}"
            outcome = predicted.next(stage="scoring", status="failed", reason=reason)
    return pd.DataFrame(rows, columns=SCORES_SCHEMA.names), outcome


def _score_cases(
    predictions: pd.DataFrame,
    case_index: pd.DataFrame,
    sources: Mapping[str, Source],
    table: LabelTable,
    settings: EvaluationSettings,
    predictions_root: Path,
    workers: WorkerSettings,
) -> list[dict[str, object]]:
    """Return the rows of all cases, in the order of the predictions."""
    cases = {case.key: case for case in (case_from_row(row) for _, row in case_index.iterrows())}
    grouped: dict[str, list[dict[str, object]]] = defaultdict(list)
    for row in predictions.to_dict("records"):
        grouped[str(row["key"])].append({str(name): value for name, value in row.items()})
    tasks = {
        key: (cases[key], rows, sources[cases[key].dataset], table, settings, predictions_root)
        for key, rows in grouped.items()
    }
    scored: dict[str, list[dict[str, object]]] = {}
    for key, outcome in run_cases(_score, tasks, workers, "Scoring cases"):
        if isinstance(outcome, WorkerFailure):
            raise ScoringError(f"{key}: {outcome.cause}")
        scored[key] = outcome
    return [row for key in grouped for row in scored[key]]


def headline_dice(dice: pd.DataFrame) -> dict[str, float]:
    """Return the means that a tracker shows of every experiment.

    Args:
        dice: rows of `reporting.dice_summary.dice_summary` of one experiment.

    Returns:
        dice/organ, dice/tumour and dice/mean (over all datasets and targets) of the best weights,
        and dice_final/... of the final ones. A method that has only final ones has their figures
        as dice/... Means without a figure are left out.
    """
    automatic = dice[dice["protocol"] == AUTOMATIC]
    chosen = {
        "organ": automatic[automatic["kind"] == "organ"],
        "tumour": automatic[automatic["kind"] == "tumour"],
        "mean": automatic[automatic["kind"].isin(("organ", "tumour"))],
    }
    means = {
        (weights, name): float(rows[weights].astype(float).mean())
        for name, rows in chosen.items()
        for weights in ("best", "final")
    }
    has_best = any(not math.isnan(means["best", name]) for name in chosen)
    prefixes = {"best": "dice", "final": "dice_final"} if has_best else {"final": "dice"}
    return {
        f"{prefixes[weights]}/{name}": value
        for (weights, name), value in means.items()
        if weights in prefixes and not math.isnan(value)
    }


def _score(
    case: SourceCase,
    predictions: list[dict[str, object]],
    source: Source,
    table: LabelTable,
    settings: EvaluationSettings,
    predictions_root: Path,
) -> list[dict[str, object]]:
    """Score all predictions of one case; its reference is read once."""
    image = read_image(case.images)
    reference = read_targets(case, source, table, image)
    rows: list[dict[str, object]] = []
    for prediction in predictions:
        path = predictions_root / str(prediction["file"])
        labels = read_prediction(path, case, source, table, image)
        regions = str(prediction["regions"]).split(",")
        shared = {name: prediction[name] for name in ("experiment", "weights", "dataset", "case")}
        shared |= {"protocol": AUTOMATIC, "patient": case.patient}
        spacing = image.geometry.spacing
        scored = score_case(reference, labels, regions, table, spacing, settings)
        rows += [{**shared, **row} for row in scored]
    return rows
