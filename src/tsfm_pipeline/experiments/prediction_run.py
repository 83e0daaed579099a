"""Predict the held-out cases of an experiment, each into a file of its own."""

import gzip
import logging
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from tsfm_pipeline.experiments.postprocessing_run import find_rule
from tsfm_pipeline.experiments.record import WEIGHTS, ModelRecord, Weights
from tsfm_pipeline.files import content_digest, file_digest
from tsfm_pipeline.inference.case import predict_case
from tsfm_pipeline.inference.export import OriginalGrid
from tsfm_pipeline.inference.model import SegmentationModel, load_model
from tsfm_pipeline.inference.postprocessing import PostprocessingRule
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.preparation.labels import prediction_path, write_targets
from tsfm_pipeline.sources import Source
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.store.record import CaseRecord

logger = logging.getLogger(__name__)

PREDICTION_COLUMNS = (
    "experiment",
    "weights",
    "key",
    "dataset",
    "case",
    "regions",
    "file",
    "problem",
)
"""`problem` says why prediction failed, in the one row that is then left; else it is empty."""

READ_AT_ONCE = 2**22

FORMAT = 2
"""Of the predicted files, raised by hand when it changes: 2 is the datasets' own label values."""


def run_prediction(
    record: ModelRecord,
    settings: InferenceSettings,
    sources: Mapping[str, Source],
    store: CaseStore,
    models_root: Path,
    predictions_root: Path,
) -> pd.DataFrame:
    """Predict an experiment's validation cases with its best and its final weights.

    A case is predicted for the regions that its dataset annotates, on its original grid and in
    the dataset's own label values, into `predictions_root / experiment / digest / weights /
    dataset / case.nii.gz` (or `case / segmentations / <class>.nii.gz` where the dataset has a file
    per class). Files that are there already are kept: the digest names weights, settings and
    postprocessing rule, and a file appears whole. One that was damaged since is predicted again.

    Returns:
        Rows with PREDICTION_COLUMNS; `file` is relative to `predictions_root`, `regions` are
        comma-separated. No rows for an experiment without a finished model. Where prediction
        fails, the error is logged and one row names the case and the `problem`: there are no files
        to score, because a mean over some cases would mislead.
    """
    rows: list[tuple[str, ...]] = []
    at: tuple[str, ...] = (record.experiment, "", "", "", "")  # until a case is at hand
    if record.status == "finished":
        try:
            for weights in WEIGHTS:
                model, digest = _ready(record, weights, settings, sources, store, models_root)
                folder = Path(record.experiment) / digest / weights
                name = f"Predicting {record.experiment} ({weights})"
                for key in tqdm(model.card.validation, desc=name, unit="case", disable=None):
                    at = (record.experiment, weights, key, *key.split("/", 1))
                    case = store.record(key)
                    source = sources[case.dataset]
                    regions = model.regions_for(case.annotated)
                    file = prediction_path(folder / case.dataset, case.case, source)
                    path = predictions_root / file
                    if not (path.exists() and _is_whole(path)):
                        image_CZYX = store.read_image(key)
                        _predict_into(path, image_CZYX, case, regions, model, source, settings)
                    rows.append((*at, ",".join(regions), str(file), ""))
        except Exception as error:  # the other experiments go on; the row keeps the cause
            logger.exception("Prediction of %s failed", record.experiment)
            rows = [(*at, "", "", f"{type(error).__name__}: {error}")]
    return pd.DataFrame(rows, columns=list(PREDICTION_COLUMNS))


def _is_whole(path: Path) -> bool:
    """Tell whether a prediction's packed voxels are all there, by their checksums."""
    files = sorted(path.glob("*.nii.gz")) if path.is_dir() else [path]
    try:
        for file in files:
            with gzip.open(file) as unpacked:
                while unpacked.read(READ_AT_ONCE):
                    pass
                if not unpacked.tell():
                    raise EOFError  # an empty file
    except (OSError, EOFError, zlib.error):
        logger.warning("%s is damaged, predicted again", path)
        return False
    return bool(files)


def _ready(
    record: ModelRecord,
    weights: Weights,
    settings: InferenceSettings,
    sources: Mapping[str, Source],
    store: CaseStore,
    models_root: Path,
) -> tuple[SegmentationModel, str]:
    """Return the model with the postprocessing rule wanted, and the digest of what it predicts."""
    folder = record.path(models_root)
    model = load_model(folder, weights)
    weights_digest = file_digest(folder / f"{weights}.safetensors")
    rule = None
    if settings.postprocessing_cases:
        rule_path = PostprocessingRule.path(folder, weights)
        rule = find_rule(model, weights_digest, rule_path, settings, store)
    datasets = sorted({key.partition("/")[0] for key in model.card.validation})
    digest = content_digest(
        {
            "format": FORMAT,
            "model": record.digest,
            "weights": weights_digest,
            "prediction": settings.deciding(),
            "postprocessing": rule and rule.model_dump(mode="json"),
            "values": {
                name: sources[name].source_values(name, model.card.table) for name in datasets
            },
        }
    )
    return replace(model, postprocessing=rule), digest


def _predict_into(
    path: Path,
    image_CZYX: NDArray[np.float32],
    case: CaseRecord,
    regions: list[str],
    model: SegmentationModel,
    source: Source,
    settings: InferenceSettings,
) -> None:
    grid = OriginalGrid.of(case)
    labels_ZYX = predict_case(model, image_CZYX, case.modality, grid, regions, settings)
    table = model.card.table
    targets = [table.region_targets(region)[0] for region in regions]
    like = (case.file_geometry, case.reorientation)
    write_targets(path, labels_ZYX, targets, case.dataset, source, table, like)
