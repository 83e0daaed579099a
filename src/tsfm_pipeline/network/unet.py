"""nnU-Net's plain U-Net: two convolutions a resolution, strided down, transposed up.

Number for number the `PlainConvUNet` of dynamic_network_architectures 0.4.4, which nnU-Net v2
builds (tests/reference/plain_unet.py), but for the head of the coarsest decoder resolution: nnU-Net
gives that one the weight 0, so it is left out. nnU-Net v1.7.1's `Generic_UNet` is the same where
all kernels are 3x3x3; it has no biases in its heads and transposed convolutions, and its decoder
takes each kernel from one resolution too coarse.

Shape suffixes: B batch, C channels, D/H/W voxels along z, y, x.
"""

from torch import Tensor, nn

from tsfm_pipeline.network.blocks import NEGATIVE_SLOPE, Grid, Head
from tsfm_pipeline.network.sizes import Kernel, Stride, UNetShape
from tsfm_pipeline.network.ushape import UShape

MOST_CHANNELS = 320
"""nnU-Net's limit for feature channels, which double until then."""


class ConvolutionPair(nn.Sequential):
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


class TransposedConvolution(nn.Module):
    """Up-sampling by a stride with a kernel of the same size."""

    def __init__(self, in_channels: int, out_channels: int, stride: Stride) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose3d(in_channels, out_channels, stride, stride)

    def forward(self, x_BCDHW: Tensor, grid: Grid) -> Tensor:
        """Map (B, in, D, H, W) to (B, out, *grid); `grid` is stride x the input's or one less."""
        y_BCDHW: Tensor = self.conv(x_BCDHW)
        return y_BCDHW[:, :, : grid[0], : grid[1], : grid[2]]


class PlainUNet(UShape):
    """The U-Net of a plan.

    >>> import torch
    >>> shape = UNetShape(channels=4, strides=((1, 2, 2),), kernels=((1, 3, 3), (3, 3, 3)))
    >>> network = PlainUNet(1, 2, shape, (8, 16, 16)).eval()
    >>> with torch.inference_mode():
    ...     logits = network(torch.zeros(1, 1, 5, 17, 30))
    >>> logits.shape
    torch.Size([1, 2, 5, 17, 30])

    Args:
        in_channels: image channels.
        out_channels: logits per voxel.
        shape: channels, strides and kernels.
        patch: not needed, as `shape` was made for it.
    """

    first_layers = ("encoder.0.0.0.weight",)
    repeated = (ConvolutionPair,)

    def __init__(self, in_channels: int, out_channels: int, shape: UNetShape, patch: Grid) -> None:
        super().__init__()
        widths = [
            min(shape.channels * 2**level, MOST_CHANNELS) for level in range(len(shape.kernels))
        ]
        strides: list[Grid] = [(1, 1, 1), *shape.strides]
        inputs = [in_channels, *widths[:-1]]
        self.strides = shape.strides
        self.encoder = nn.ModuleList(
            nn.Sequential(ConvolutionPair(*numbers))
            for numbers in zip(inputs, widths, shape.kernels, strides, strict=True)
        )
        self.bottleneck = nn.Identity()
        self.up = nn.ModuleList(
            TransposedConvolution(below, width, stride)
            for below, width, stride in zip(widths[1:], widths, shape.strides, strict=False)
        )
        self.decoder = nn.ModuleList(
            nn.Sequential(ConvolutionPair(2 * width, width, kernel))
            for width, kernel in zip(widths[:-1], shape.kernels, strict=False)
        )
        supervised = max(len(shape.strides) - 1, 1)
        self.heads = nn.ModuleList(Head(width, out_channels) for width in widths[:supervised])
        self.apply(_initialise)


def _initialise(module: nn.Module) -> None:
    """He initialisation of every convolution, heads included, as nnU-Net (`InitWeights_He`)."""
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=NEGATIVE_SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
