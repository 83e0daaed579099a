"""nnU-Net's plain U-Net: two convolutions a resolution, strided down, transposed up.

Number for number the `PlainConvUNet` of dynamic_network_architectures 0.4.4, which nnU-Net v2
builds (tests/reference/plain_unet.py), but for the head of the coarsest decoder resolution: nnU-Net
gives that one the weight 0, so it is left out. nnU-Net v1.7.1's `Generic_UNet` is the same where
all kernels are 3x3x3; it has no biases in its heads and transposed convolutions, and its decoder
takes each kernel from one resolution too coarse.

Shape suffixes: B batch, C channels, D/H/W voxels along z, y, x, K output channels.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsfm_pipeline.network.blocks import NEGATIVE_SLOPE, Grid
from tsfm_pipeline.network.segmentation import SegmentationNetwork
from tsfm_pipeline.network.sizes import Kernel, UNetShape

MOST_CHANNELS = 320
"""nnU-Net's limit for feature channels, which double until then."""


class Stage(nn.Sequential):
    """Twice convolution - InstanceNorm - LeakyReLU; the first convolution may be strided."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: Kernel, stride: Grid = (1, 1, 1)
    ) -> None:
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        super().__init__(
            nn.Conv3d(in_channels, out_channels, kernel, stride, padding),
            nn.InstanceNorm3d(out_channels, affine=True),
            nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
            nn.Conv3d(out_channels, out_channels, kernel, padding=padding),
            nn.InstanceNorm3d(out_channels, affine=True),
            nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
        )


class PlainUNet(SegmentationNetwork):
    """The U-Net of a plan.

    >>> shape = UNetShape(channels=4, strides=((1, 2, 2),), kernels=((1, 3, 3), (3, 3, 3)))
    >>> network = PlainUNet(1, 2, shape, (8, 16, 16)).eval()
    >>> with torch.inference_mode():
    ...     logits = network(torch.zeros(1, 1, 5, 17, 30))
    >>> logits.shape
    torch.Size([1, 2, 5, 17, 30])

    Any grid can be put in: an odd side is halved to its upper half, and what the transposed
    convolution makes of that is cut to the skip connection's grid. An input that would leave a
    single bottleneck voxel, which InstanceNorm cannot normalise, is padded with zeros along x.

    Args:
        in_channels: image channels.
        out_channels: logits per voxel.
        shape: channels, strides and kernels.
        patch: not needed, as `shape` was made for it.
    """

    first_layers = ("encoder.0.0.weight",)
    repeated = (Stage,)

    def __init__(self, in_channels: int, out_channels: int, shape: UNetShape, patch: Grid) -> None:
        super().__init__()
        widths = [
            min(shape.channels * 2**level, MOST_CHANNELS) for level in range(len(shape.kernels))
        ]
        strides: list[Grid] = [(1, 1, 1), *shape.strides]
        inputs = [in_channels, *widths[:-1]]
        self.strides = shape.strides
        self.encoder = nn.ModuleList(map(Stage, inputs, widths, shape.kernels, strides))
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(below, width, stride, stride)
            for below, width, stride in zip(widths[1:], widths, shape.strides, strict=False)
        )
        self.decoder = nn.ModuleList(
            Stage(2 * width, width, kernel)
            for width, kernel in zip(widths[:-1], shape.kernels, strict=False)
        )
        supervised = max(len(shape.strides) - 1, 1)
        self.heads = nn.ModuleList(
            nn.Conv3d(width, out_channels, 1) for width in widths[:supervised]
        )
        self.apply(_initialise)

    def forward(self, x_BCDHW: Tensor) -> list[Tensor] | Tensor:
        """Predict logits (B, K, D, H, W); in training mode a list, finest grid first."""
        width = x_BCDHW.shape[4]
        z, y, x = (math.prod(along) for along in zip(*self.strides, strict=True))
        padded = all(side <= step for side, step in zip(x_BCDHW.shape[2:], (z, y, x), strict=True))
        if padded:
            x_BCDHW = F.pad(x_BCDHW, (0, x + 1 - width))
        skips = []
        for stage in self.encoder:
            x_BCDHW = self.run(stage, x_BCDHW)
            skips.append(x_BCDHW)
        skips.pop()
        logits = []
        for level in reversed(range(len(self.up))):
            skip_BCDHW = skips.pop()
            depth, height, breadth = skip_BCDHW.shape[2:]
            up_BCDHW = self.up[level](x_BCDHW)[:, :, :depth, :height, :breadth]
            x_BCDHW = self.run(self.decoder[level], torch.cat((up_BCDHW, skip_BCDHW), dim=1))
            if level == 0 or (self.training and level < len(self.heads)):
                logits_BKDHW = self.heads[level](x_BCDHW)
                if padded:
                    step = math.prod(stride[2] for stride in self.strides[:level])
                    logits_BKDHW = logits_BKDHW[..., : -(-width // step)]
                logits.append(logits_BKDHW)
        return logits[::-1] if self.training else logits[0]


def _initialise(module: nn.Module) -> None:
    """He initialisation of every convolution, heads included, as nnU-Net (`InitWeights_He`)."""
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=NEGATIVE_SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
