"""Score predicted label maps against the raw label files, on the raw images' own grids."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from tsfm_pipeline.evaluation.metrics import AUTOMATIC, SCORE_COLUMNS, score_case
from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.imaging.volume import read_image
from tsfm_pipeline.preparation.labels import read_prediction, read_targets
from tsfm_pipeline.sources import Source, SourceCase
from tsfm_pipeline.sources.case_index import case_from_row
from tsfm_pipeline.workers import WorkerFailure, WorkerSettings, run_cases


class ScoringError(ValueError):
    """Predicted files that can't be scored."""


def run_scoring(
    predictions: pd.DataFrame,
    case_index: pd.DataFrame,
    sources: Mapping[str, Source],
    table: LabelTable,
    settings: EvaluationSettings,
    predictions_root: Path,
    workers: WorkerSettings,
) -> pd.DataFrame:
    """Score every predicted file.

    Args:
        predictions: rows of `prediction_run.run_prediction`; none for an experiment not run. A
            prediction that failed has no files to score.
        case_index: where each case's raw files are.
        sources: the dataset entries.
        table: the fused label table.
        settings: how predictions are scored.
        predictions_root: folder of all predictions.
        workers: how many cases at once.

    Returns:
        Rows with `evaluation.metrics.SCORE_COLUMNS`, one per weights, case and region that the
        case annotates and the model predicts.

    Raises:
        ScoringError: a case can't be scored; a mean over the others would mislead.
    """
    if predictions.empty or (predictions["problem"] != "").any():
        return pd.DataFrame(columns=list(SCORE_COLUMNS))
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
    return pd.DataFrame(
        [row for key in grouped for row in scored[key]], columns=list(SCORE_COLUMNS)
    )


TRACKED = ("dice", "nsd", "hd95", "lesion_sensitivity", "false_positive_lesions")
"""Columns of the summary that a tracker gets."""


def tracked_means(summary: pd.DataFrame) -> dict[str, float]:
    """Name the figures of `evaluation.summary.summarise` for a tracker: dice_best/kits21/kidney.

    Those without a figure (no case, no lesions, no HD95) are left out.
    """
    return {
        f"{measure}_{row['weights']}/{row['dataset']}/{row['target']}": float(row[measure])
        for row in summary.to_dict("records")
        for measure in TRACKED
        if pd.notna(row[measure])
    }


def mean_dice(summary: pd.DataFrame) -> dict[str, float]:
    """Return the mean over datasets and regions of their mean Dice, as dice_best and dice_final."""
    means = summary.groupby("weights")["dice"].mean().dropna()
    return {f"dice_{weights}": float(value) for weights, value in means.items()}


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
