"""Every registered network and what it costs, each at a patch and outputs it is known for."""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from tsfm_pipeline.imaging.geometry import Triple
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.network.footprint import Footprint, footprint
from tsfm_pipeline.network.sam_med3d import SIDE, build_sam_med3d
from tsfm_pipeline.network.sizes import PAPER_PATCH, NetworkName
from tsfm_pipeline.planning.architecture import architecture_for

POOL_TARGETS = 30
BATCH_SIZE = 2
STATE_BYTES = 14
"""Of a parameter in training: weight, gradient and momentum in float32, a half-precision weight."""
SECOND_MOMENT_BYTES = 4
"""That AdamW keeps of a parameter besides."""
MAP_BYTES = 2


class KnownFor(NamedTuple):
    """Where a network's published numbers hold: voxels (z, y, x) of its patch, and its outputs."""

    patch: Triple
    outputs: int


KNOWN_FOR: dict[NetworkName, KnownFor] = {
    "tsfm": KnownFor(PAPER_PATCH, POOL_TARGETS),
    "tsfm_without_transformer": KnownFor(PAPER_PATCH, POOL_TARGETS),
    "nnunet": KnownFor(PAPER_PATCH, POOL_TARGETS),
    "swinunetr": KnownFor((96, 96, 96), 14),  # BTCV's 13 organs and background
    "stunet": KnownFor((128, 128, 128), 105),  # TotalSegmentator's 104 classes and background
}


@dataclass(frozen=True)
class NetworkRow:
    """A network of a size at the patch that it is known for.

    Attributes:
        patch: voxels (z, y, x).
        outputs: logits per voxel.
        cost: with one image channel.
        training_gib: of a step on a batch of 2; NaN for what is not trained here.
    """

    patch: Triple
    outputs: int
    cost: Footprint
    training_gib: float


def network_row(network: NetworkName, size: str) -> NetworkRow:
    """Count a network, nnU-Net's U-Net as planned for equal spacings.

    Raises:
        MissingExtra: it is another package's that is not installed.
    """
    patch, outputs = KNOWN_FOR[network]
    settings = TrainingSettings(network=network, size=size, patch=patch)
    cost = footprint(architecture_for(settings, None), 1, outputs, patch)
    return NetworkRow(patch, outputs, cost, training_gib(cost, BATCH_SIZE))


def sam_med3d_row() -> NetworkRow:
    """Count SAM-Med3D; its operations are those of the image encoder, which clicks do not repeat.

    Raises:
        MissingExtra: medim is not installed.
    """
    patch = (SIDE, SIDE, SIDE)
    with torch.device("meta"):
        network: Any = build_sam_med3d().eval()  # medim's, of whose parts mypy knows nothing
        image_BCXYZ = torch.empty(1, 1, *patch)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network.image_encoder(image_BCXYZ)
    cost = Footprint(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        supervision_parameters=0,
        supervised=1,
        forward_flops=counter.get_total_flops(),
        kept_values=0,
        outputs=1,
        head_parameters=0,
        head_flops=0,
    )
    return NetworkRow(patch, 1, cost, math.nan)


def training_gib(
    cost: Footprint, batch_size: int, optimizer: Literal["sgd", "adamw"] = "sgd"
) -> float:
    """Estimate the GiB of a training step in mixed precision.

    Workspaces of convolutions, what the loss keeps and the input are left out.

    Args:
        cost: of the network; it says whether checkpointing is on.
        batch_size: samples at once on one device.
        optimizer: of the training.
    """
    parameters = cost.parameters + cost.supervision_parameters
    state = STATE_BYTES + (SECOND_MOMENT_BYTES if optimizer == "adamw" else 0)
    return (state * parameters + batch_size * MAP_BYTES * cost.kept_values) / 2**30
