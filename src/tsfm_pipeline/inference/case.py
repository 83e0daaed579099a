"""One stored case from image to label map."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tsfm_pipeline.inference.export import export_case
from tsfm_pipeline.inference.model import SegmentationModel, predict_scores
from tsfm_pipeline.inference.settings import PredictionSettings
from tsfm_pipeline.store.record import CaseRecord


def predict_case(
    model: SegmentationModel,
    image_CZYX: NDArray[np.float32],
    record: CaseRecord,
    regions: Sequence[str],
    settings: PredictionSettings,
) -> NDArray[np.uint8]:
    """Predict a prepared case and bring the labels back onto its original grid.

    Args:
        model: the network and its card, whose label table gives the written integers.
        image_CZYX: as the store holds it: HU for CT, z-scores for MR.
        record: the case's record.
        regions: regions to predict, in any order.
        settings: how tiles are laid and averaged.

    Returns:
        Fused label integers (z, y, x) on the whole canonical grid; `imaging.volume.write_label`
        writes them in the file's own orientation.
    """
    image_CZYX = model.normalise(image_CZYX, record.modality)
    probabilities_KZYX = predict_scores(model, image_CZYX, regions, settings)
    return export_case(probabilities_KZYX, record, regions, model.card.table)
