"""Any registered network from its numbers."""

from collections.abc import Callable
from typing import Any

from tsfm_pipeline.network.blocks import Grid
from tsfm_pipeline.network.segmentation import SegmentationNetwork
from tsfm_pipeline.network.sizes import Architecture
from tsfm_pipeline.network.stunet import STUNet
from tsfm_pipeline.network.swinunetr import SwinUNETR
from tsfm_pipeline.network.tsfm import TSFM
from tsfm_pipeline.network.unet import PlainUNet

_CLASSES: dict[str, Callable[[int, int, Any, Grid], SegmentationNetwork]] = {
    "tsfm": TSFM,
    "nnunet": PlainUNet,
    "swinunetr": SwinUNETR,
    "stunet": STUNet,
}


def build_network(
    architecture: Architecture, in_channels: int, out_channels: int, patch: Grid
) -> SegmentationNetwork:
    """Build a network with fresh weights.

    Args:
        architecture: its numbers.
        in_channels: image channels.
        out_channels: logits per voxel.
        patch: voxels (z, y, x) of the training patch.

    Raises:
        MissingExtra: the network is another package's that is not installed.
    """
    return _CLASSES[architecture.kind](in_channels, out_channels, architecture, patch)
