"""One prepared image from voxels to a label map on the grid of its file."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tsfm_pipeline.inference.export import OriginalGrid, export_case
from tsfm_pipeline.inference.model import SegmentationModel, predict_scores
from tsfm_pipeline.inference.postprocessing import postprocess
from tsfm_pipeline.inference.settings import InferenceSettings


def predict_case(
    model: SegmentationModel,
    image_CZYX: NDArray[np.float32],
    modality: Literal["CT", "MR"],
    grid: OriginalGrid,
    regions: Sequence[str],
    settings: InferenceSettings,
) -> NDArray[np.uint8]:
    """Predict a prepared image and bring the labels back onto its original grid.

    Args:
        model: the network and its card, whose label table gives the written integers; its
            postprocessing rule, if it has one, is applied.
        image_CZYX: as the store holds it: HU for CT, z-scores for MR.
        modality: CT or MR.
        grid: where the image lies in the canonical grid of its file.
        regions: regions to predict, in any order.
        settings: how tiles are laid and averaged.

    Returns:
        Fused label integers (z, y, x) on the whole canonical grid; `imaging.volume.write_label`
        writes them in the file's own orientation.

    Raises:
        ModelError, PlacementError: see `predict_scores`.
    """
    probabilities_KZYX = predict_scores(model, image_CZYX, modality, regions, settings)
    labels_ZYX = export_case(probabilities_KZYX, grid, regions, model.card.table)
    if model.postprocessing is not None:
        postprocess(labels_ZYX, model.postprocessing, regions, model.card.table)
    return labels_ZYX
