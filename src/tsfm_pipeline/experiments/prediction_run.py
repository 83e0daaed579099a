"""Predict the held-out cases of an experiment, each into a file of its own."""

import gzip
import logging
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from tqdm import tqdm

from tsfm_pipeline.experiments.nnunetv2_run import import_predictions
from tsfm_pipeline.experiments.outcome import ModelRecord, Outcome
from tsfm_pipeline.experiments.postprocessing_run import find_rule
from tsfm_pipeline.files import content_digest, file_digest
from tsfm_pipeline.inference.case import predict_case
from tsfm_pipeline.inference.export import OriginalGrid
from tsfm_pipeline.inference.model import SegmentationModel, load_model
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.machine import MachineError, fault_of_machine
from tsfm_pipeline.model.folder import WEIGHTS, ModelError, Weights
from tsfm_pipeline.preparation.labels import prediction_path, write_targets
from tsfm_pipeline.sources import Source
from tsfm_pipeline.store.case_store import CaseStore, StoreError
from tsfm_pipeline.store.record import CaseRecord

logger = logging.getLogger(__name__)

PREDICTIONS_SCHEMA = pa.schema(
    [
        pa.field(name, pa.string(), nullable=False)
        for name in ("experiment", "weights", "key", "dataset", "case", "regions", "file")
    ]
)
"""One row per predicted file; `file` is relative to the folder of all predictions, `regions` are
comma-separated."""

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
) -> tuple[pd.DataFrame, Outcome]:
    """Predict an experiment's held-out cases with its best and its final weights.

    A case is predicted for the regions that its dataset annotates, on its original grid and in
    the dataset's own label values, into `predictions_root / experiment / digest / weights /
    dataset / case.nii.gz` (or `case / segmentations / <class>.nii.gz` where the dataset has a file
    per class). Files that are there already are kept: the digest names weights, settings and
    postprocessing rule, and a file appears whole. One that was damaged since is predicted again.

    Returns:
        Rows of PREDICTIONS_SCHEMA, and the outcome: that of the training where it is not finished.
        Where prediction fails, the error is logged, the reason names the case, and there are no
        rows to score, because a mean over some cases would mislead.

    Raises:
        MachineError: a full disk or no memory, which would stop the others, too.
    """
    name = record.experiment
    rows: list[tuple[str, ...]] = []
    outcome = record.unfinished()
    if outcome is None:
        at = ""  # until a case is at hand
        try:
            if record.engine == "nnunetv2":
                rows = import_predictions(record, sources, store, models_root, predictions_root)
            else:
                for weights in WEIGHTS:
                    model, digest = _ready(record, weights, settings, sources, store, models_root)
                    folder = Path(name) / digest / weights
                    title = f"Predicting {name} ({weights})"
                    for key in tqdm(_cases(record, model), desc=title, unit="case", disable=None):
                        at = f"{key}: "
                        case = store.record(key)
                        source = sources[case.dataset]
                        regions = model.regions_for(case.annotated)
                        file = prediction_path(folder / case.dataset, case.case, source)
                        path = predictions_root / file
                        if not (path.exists() and _is_whole(path)):
                            image_CZYX = store.read_image(key)
                            _predict_into(path, image_CZYX, case, regions, model, source, settings)
                        where = (name, weights, key, *key.split("/", 1))
                        rows.append((*where, ",".join(regions), str(file)))
            outcome = record.next(stage="prediction", status="finished")
        except Exception as error:  # the other experiments go on; the outcome keeps the cause
            if fault := fault_of_machine(error):  # they could not go on either
                raise MachineError(fault) from error
            own = isinstance(error, ModelError | StoreError)  # they say all there is to say
            logger.error("Prediction of %s failed: %s", name, error, exc_info=not own)
            reason = f"{at}{type(error).__name__}: {error}"
            outcome = record.next(stage="prediction", status="failed", reason=reason)
            rows = []
    return pd.DataFrame(rows, columns=PREDICTIONS_SCHEMA.names), outcome


def _cases(record: ModelRecord, model: SegmentationModel) -> tuple[str, ...]:
    return record.cases or model.card.validation


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
    folder = record.model_folder(models_root)
    model = load_model(folder, weights)
    weights_digest = file_digest(folder.weights(weights))
    rule = None
    if settings.postprocessing_cases:
        rule = find_rule(model, folder, weights, settings, store)
    cases = _cases(record, model)
    datasets = sorted({key.partition("/")[0] for key in cases})
    content: dict[str, object] = {
        "format": FORMAT,
        "model": record.digest,
        "weights": weights_digest,
        "prediction": settings.deciding(),
        "postprocessing": rule and rule.model_dump(mode="json"),
        "values": {name: sources[name].source_values(model.card.table) for name in datasets},
    }
    # the model's digest speaks for its training and validation cases alone
    if others := [store.record(key) for key in cases if key not in model.card.validation]:
        content["cases"] = [[case.raw_digest, case.preparation_digest] for case in others]
    return replace(model, postprocessing=rule), content_digest(content)


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
    write_targets(path, labels_ZYX, targets, source, table, like)
