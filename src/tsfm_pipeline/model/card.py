"""What a model folder says about its model."""

import math
from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from tsfm_pipeline.imaging.geometry import Triple
from tsfm_pipeline.imaging.intensity import CtStatistics
from tsfm_pipeline.model.training_spec import TrainingSpec
from tsfm_pipeline.network.sizes import Architecture

if TYPE_CHECKING:
    from tsfm_pipeline.network.segmentation import SegmentationNetwork

MAX_PATCH_SIDE = 2048
MAX_PATCH_VOXELS = 2**28
"""78 of the paper's patches: 1 GiB of float32 a channel."""
MAX_CHANNELS = 64


class ModelCard(TrainingSpec):
    """Everything that inference needs besides the weights, and where the model comes from.

    Attributes:
        network: its numbers (not a size's name, which may come to mean another).
        in_channels: image channels.
        modalities: of the training cases; empty in folders older than this field.
        patch: voxels (z, y, x) of training samples and inference tiles.
        ct_statistics: normalises CT; None for a model trained on MR alone.
        initial_weights: digest of the weights file it started from; None from scratch.
        pool_digest: digest of the raw files and preparation of its training and validation cases.
            Where these are the whole pool (no test cases), it starts with the pool's version.
    """

    network: Architecture
    in_channels: int
    modalities: tuple[Literal["CT", "MR"], ...] = ()
    patch: Triple
    ct_statistics: CtStatistics | None
    initial_weights: str | None
    pool_digest: str

    @model_validator(mode="after")
    def _can_be(self) -> "ModelCard":
        """Refuse numbers of a damaged or foreign card that would take all memory."""
        if not all(0 < size <= MAX_PATCH_SIDE for size in self.patch) or (
            math.prod(self.patch) > MAX_PATCH_VOXELS
        ):
            raise ValueError(
                f"patch {self.patch}: at most {MAX_PATCH_SIDE} voxels along an axis and"
                f" {MAX_PATCH_VOXELS} in all; is the card damaged?"
            )
        if not 0 < self.in_channels <= MAX_CHANNELS:
            raise ValueError(f"in_channels {self.in_channels}: 1 to {MAX_CHANNELS}")
        return self

    def build_network(self) -> "SegmentationNetwork":
        """Build the network with fresh weights; its outputs are regions, or classes (softmax).

        >>> from tsfm_pipeline.imaging.labels import LabelTable
        >>> from tsfm_pipeline.model.training_settings import TrainingSettings
        >>> from tsfm_pipeline.network.sizes import SIZES
        >>> card = ModelCard(
        ...     name="example",
        ...     settings=TrainingSettings(),
        ...     training=("msd_liver/liver_0",),
        ...     validation=(),
        ...     table=LabelTable(targets={"liver": 5, "liver_tumor": 25}),
        ...     regions=("liver", "liver_tumor"),
        ...     network=SIZES["tiny"],
        ...     in_channels=1,
        ...     patch=(16, 16, 32),
        ...     ct_statistics=None,
        ...     initial_weights=None,
        ...     pool_digest="",
        ... )
        >>> card.build_network().heads[0].out_channels
        2
        """
        # whoever reads or lists scans needs no more than the card
        from tsfm_pipeline.network.build import build_network  # noqa: PLC0415 (torch: seconds)

        return build_network(self.network, self.in_channels, len(self.outputs), self.patch)
