"""One prepared case from image to label map."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tsfm_pipeline.inference.export import OriginalGrid, export_case
from tsfm_pipeline.inference.model import SegmentationModel, predict_scores
from tsfm_pipeline.inference.settings import PredictionSettings


def predict_case(
    model: SegmentationModel,
    image_CZYX: NDArray[np.float32],
    modality: Literal["CT", "MR"],
    grid: OriginalGrid,
    regions: Sequence[str],
    settings: PredictionSettings,
) -> NDArray[np.uint8]:
    """Predict a prepared case and bring the labels back onto its original grid.

    Args:
        model: the network and its card, whose label table gives the written integers.
        image_CZYX: as the store holds it: HU for CT, z-scores for MR.
        modality: CT in HU is normalised with the model's statistics.
        grid: where the prepared grid lies in the original one.
        regions: regions to predict, in any order.
        settings: how tiles are laid and averaged.

    Returns:
        Fused label integers (z, y, x) on the whole canonical grid; `imaging.volume.write_label`
        writes them in the file's own orientation.
    """
    image_CZYX = model.normalise(image_CZYX, modality)
    probabilities_KZYX = predict_scores(model, image_CZYX, regions, settings)
    return export_case(probabilities_KZYX, grid, regions, model.card.table)
