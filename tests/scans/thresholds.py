"""A model whose segmentation is known: it paints what lies above or below a HU value."""

from pathlib import Path

import torch

from tests.scans.conftest import write_model
from tsfm_pipeline.inference.model import SegmentationModel


class Threshold(torch.nn.Module):
    """Liver above 300 HU, its tumour above 600, spleen below -300 (air)."""

    def forward(self, tiles_BCDHW):
        hu = tiles_BCDHW[:, 0] * 80 + 40
        return torch.stack([hu - 600, -300 - hu, hu - 300], dim=1)


def threshold_model(folder: Path, **changes) -> SegmentationModel:
    """Return the model, at the scan's own spacing; its folder has a card and other weights."""
    card = write_model(
        folder,
        target_spacing=None,
        ct_statistics={"lower": -1100, "upper": 1000, "mean": 40, "sd": 80},
        **changes,
    )
    return SegmentationModel(Threshold(), card, torch.device("cpu"))
