"""Node of the predict pipeline."""

import logging
from pathlib import Path

import pandas as pd

from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.scans.settings import PredictRun, PredictSettings

logger = logging.getLogger(__name__)


def segment_scans(
    predict: PredictRun, inference: InferenceSettings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Segment what `predict.input` names; return volumes and problems.

    Raises:
        ScanError: input, output or model is not set, or the input holds nothing to segment.
        ModelError: no usable model, or an unknown target.
    """
    from tsfm_pipeline.scans.problem import ScanError
    from tsfm_pipeline.scans.run import predict_folder

    if predict.input is None or predict.output is None or predict.model is None:
        unset = [f"predict.{key}" for key in ("input", "output", "model") if not vars(predict)[key]]
        raise ScanError(
            f"{', '.join(unset)} not set; give it in parameters_predict.yml or as"
            f" --params {unset[0]}=FOLDER"
        )
    settings = PredictSettings(**{key: vars(predict)[key] for key in PredictSettings.model_fields})
    summary = predict_folder(
        Path(predict.input), Path(predict.output), predict.model, settings, inference
    )
    logger.info("Model: %s", summary.model)
    for warning in summary.warnings:
        logger.warning("%s", warning)
    for scan, notes in summary.notes.items():
        for note in notes:
            logger.warning("%s: %s", scan, note)
    for row in summary.problems.itertuples():
        logger.warning("%s: %s: %s; %s", row.verdict, row.file, row.reason, row.remedy)
    return summary.volumes, summary.problems
