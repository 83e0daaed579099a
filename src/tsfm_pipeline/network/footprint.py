"""What a network size costs: parameters and floating-point operations, without allocating it."""

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from tsfm_pipeline.network.blocks import Grid
from tsfm_pipeline.network.sizes import SIZES, SizeName
from tsfm_pipeline.network.tsfm import TSFM


@dataclass(frozen=True)
class Footprint:
    """The cost of one network.

    Attributes:
        parameters: what inference uses: everything but the deep-supervision heads.
        supervision_parameters: the heads of the coarser grids, used in training only.
        forward_flops: operations of one inference pass over one patch; a multiply-add counts two.
    """

    parameters: int
    supervision_parameters: int
    forward_flops: int


def footprint(size: SizeName, in_channels: int, out_channels: int, patch: Grid) -> Footprint:
    """Count a named size on the meta device (no memory, seconds)."""
    with torch.device("meta"):
        network = TSFM(in_channels, out_channels, SIZES[size], patch)
        image_BCDHW = torch.empty(1, in_channels, *patch)
    network.eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(image_BCDHW)
    supervision = sum(p.numel() for p in network.heads[1:].parameters())
    total = sum(p.numel() for p in network.parameters())
    return Footprint(total - supervision, supervision, int(counter.get_total_flops()))
