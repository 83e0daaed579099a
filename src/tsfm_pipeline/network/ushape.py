"""The way through an encoder and a decoder of blocks, which all U-shaped networks share.

Shape suffixes: B batch, C channels, D/H/W voxels along z, y, x, K output channels.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsfm_pipeline.network.blocks import Grid
from tsfm_pipeline.network.segmentation import SegmentationNetwork


class UShape(SegmentationNetwork):
    """Stages of blocks that halve the grid, a bottleneck, and stages that double it again.

    An odd axis is halved to its upper half, and the decoder cuts the doubled axis back to the skip
    connection's, so nothing is padded, and no padding enters the instance statistics. Only an input
    that would leave a single bottleneck voxel (with four halvings, no axis above 16), which
    InstanceNorm cannot normalise, is padded with zeros along x until there are two.

    Attributes:
        encoder: a sequence of blocks per resolution, finest first.
        bottleneck: what runs on the coarsest grid.
        up: of each resolution but the coarsest: from the next coarser one to its grid.
        decoder: a sequence of blocks for each of those.
        strides: of each down-sampling, (z, y, x), finest first.
    """

    encoder: nn.ModuleList
    bottleneck: nn.Module
    up: nn.ModuleList
    decoder: nn.ModuleList
    strides: Sequence[Grid]

    def forward(self, x_BCDHW: Tensor) -> list[Tensor] | Tensor:
        """Predict logits.

        Returns:
            In training mode the logits (B, K, D, H, W) and those of the half and quarter grid (and
            so on: one per head; sides rounded up), finest first; in evaluation mode only the
            finest.
        """
        shape = x_BCDHW.shape[2:]
        divisor = [math.prod(along) for along in zip(*self.strides, strict=True)]
        if all(side <= step for side, step in zip(shape, divisor, strict=True)):
            x_BCDHW = F.pad(x_BCDHW, (0, divisor[2] + 1 - shape[2]))
        skips = []
        for stage in self.encoder:
            x_BCDHW = self._run(stage, x_BCDHW)
            skips.append(x_BCDHW)
        x_BCDHW = self.bottleneck(skips.pop())
        logits = []
        for level in reversed(range(len(self.up))):
            skip_BCDHW = skips.pop()
            up_BCDHW = self.up[level](x_BCDHW, skip_BCDHW.shape[2:])
            x_BCDHW = self._run(self.decoder[level], torch.cat((up_BCDHW, skip_BCDHW), dim=1))
            if level == 0 or (self.training and level < len(self.heads)):
                logits_BKDHW = self.heads[level](x_BCDHW)
                width = -(-shape[2] // math.prod(stride[2] for stride in self.strides[:level]))
                if logits_BKDHW.shape[4] > width:  # the x axis was padded
                    logits_BKDHW = logits_BKDHW[..., :width]
                logits.append(logits_BKDHW)
        return logits[::-1] if self.training else logits[0]

    def _run(self, stage: nn.Module, x_BCDHW: Tensor) -> Tensor:
        """Run the blocks of a resolution."""
        for block in stage.children():
            x_BCDHW = self.run(block, x_BCDHW)
        return x_BCDHW
