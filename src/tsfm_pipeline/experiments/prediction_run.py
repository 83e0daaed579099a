"""Predict the held-out cases of an experiment, each into a file of its own."""

import logging
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from tsfm_pipeline.experiments.digest import content_digest
from tsfm_pipeline.experiments.record import WEIGHTS, ModelRecord, Weights
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.imaging.volume import write_label
from tsfm_pipeline.inference.case import predict_case
from tsfm_pipeline.inference.export import OriginalGrid
from tsfm_pipeline.inference.model import SegmentationModel, load_model
from tsfm_pipeline.inference.settings import PredictionSettings
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.training.checkpoint import file_digest

logger = logging.getLogger(__name__)

PREDICTION_COLUMNS = ("experiment", "weights", "key", "dataset", "case", "regions", "file")


def run_prediction(
    record: ModelRecord,
    settings: PredictionSettings,
    table: LabelTable,
    store: CaseStore,
    models_root: Path,
    predictions_root: Path,
) -> pd.DataFrame:
    """Predict an experiment's validation cases with its best and its final weights.

    A case is predicted for the regions that its dataset annotates, on its original grid, into
    `predictions_root / experiment / digest / weights / dataset / case.nii.gz`. Files that are
    there already are kept: the digest names weights and settings, and a file appears whole.

    Returns:
        Rows with PREDICTION_COLUMNS; `file` is relative to `predictions_root`, `regions` are
        comma-separated. No rows for an experiment without a finished model; where prediction
        fails, the error is logged and there are none either: a mean over some cases would mislead.
    """
    rows: list[tuple[str, ...]] = []
    if record.status == "finished":
        try:
            for weights in WEIGHTS:
                rows += _predict(
                    record, weights, settings, table, store, models_root, predictions_root
                )
        except Exception:  # the other experiments go on; this one shows as 'not scored'
            logger.exception("Prediction of %s failed", record.experiment)
            rows = []
    return pd.DataFrame(rows, columns=list(PREDICTION_COLUMNS))


def _predict(
    record: ModelRecord,
    weights: Weights,
    settings: PredictionSettings,
    table: LabelTable,
    store: CaseStore,
    models_root: Path,
    predictions_root: Path,
) -> list[tuple[str, ...]]:
    model = load_model(record.path(models_root), weights)
    folder = Path(record.experiment) / _digest(record, settings, models_root, weights)
    name = f"Predicting {record.experiment} ({weights})"
    rows: list[tuple[str, ...]] = []
    for key in tqdm(model.card.validation, desc=name, unit="case", disable=None):
        case = store.record(key)
        annotated = table.regions_annotated_by(case.annotated)
        regions = [region for region in annotated if region in model.card.regions]
        file = folder / weights / f"{key}.nii.gz"
        _predict_into(predictions_root / file, key, regions, model, store, settings)
        names = (record.experiment, weights, key, case.dataset, case.case)
        rows.append((*names, ",".join(regions), str(file)))
    return rows


def _predict_into(
    path: Path,
    key: str,
    regions: list[str],
    model: SegmentationModel,
    store: CaseStore,
    settings: PredictionSettings,
) -> None:
    if path.exists():
        return
    case = store.record(key)
    grid = OriginalGrid.of(case)
    labels = predict_case(model, store.read_image(key), case.modality, grid, regions, settings)
    write_label(path, labels, (case.file_geometry, case.reorientation))


def _digest(
    record: ModelRecord, settings: PredictionSettings, models_root: Path, weights: Weights
) -> str:
    return content_digest(
        {
            "model": record.digest,
            "weights": file_digest(record.path(models_root) / f"{weights}.safetensors"),
            # the batch of tiles does not change the labels
            "prediction": settings.model_dump(mode="json", exclude={"tile_batch"}),
        }
    )
