"""A small model card, and a network that knows the answer."""

import json

import numpy as np
import pytest
import torch

from tsfm_pipeline.imaging.intensity import CtStatistics
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.inference.model import SegmentationModel
from tsfm_pipeline.model.card import ModelCard
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.network.sizes import SIZES

TABLE = LabelTable(
    targets={"spleen": 1, "liver": 5, "kidney": 22, "kidney_cyst": 24, "liver_tumor": 25},
    regions={"liver": ("liver", "liver_tumor"), "kidney": ("kidney", "kidney_cyst")},
)
REGIONS = ("kidney_cyst", "liver_tumor", "spleen", "liver", "kidney")


class Oracle(torch.nn.Module):
    """Reads the label from the CT number: 10 times (label + 1), background below 0."""

    def forward(self, tiles_BCDHW):
        ids = (tiles_BCDHW[:, 0] / 10).round().long() - 1
        channels = [torch.isin(ids, torch.tensor(TABLE.region_ids(region))) for region in REGIONS]
        return torch.stack(channels, dim=1).float() * 20 - 10


@pytest.fixture(scope="session")
def reference(repository):
    """What nnU-Net gives, made by tests/reference/nnunet_inference.py: JSON content, arrays."""
    folder = repository / "tests" / "reference"
    content = json.loads((folder / "nnunet_inference.json").read_text())
    return content, np.load(folder / "nnunet_inference.npz")


@pytest.fixture
def card():
    return ModelCard(
        name="test",
        network=SIZES["tiny"],
        in_channels=1,
        regions=REGIONS,
        table=TABLE,
        patch=(16, 24, 16),
        ct_statistics=CtStatistics(lower=-1000, upper=3000, mean=0, sd=1),
        target_spacing=None,
        settings=TrainingSettings(),
        training=(),
        validation=(),
        initial_weights=None,
        pool_digest="",
    )


@pytest.fixture
def oracle(card):
    return SegmentationModel(Oracle(), card, torch.device("cpu"))
