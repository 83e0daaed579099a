"""TSFM: a residual U-shape with a transformer at its lowest resolution (paper figure 1(a))."""

from collections.abc import Sequence

from torch import nn

from tsfm_pipeline.network.blocks import (
    NEGATIVE_SLOPE,
    DownSample,
    Grid,
    Head,
    ResidualBlock,
    Stem,
    TransformerBottleneck,
    TransformerLayer,
    UpSample,
)
from tsfm_pipeline.network.sizes import TsfmSize
from tsfm_pipeline.network.ushape import UShape

RARE = -3.0
"""Logit that every voxel of every channel starts around: a probability of 0.05."""


class TSFM(UShape):
    """The tumour segmentation foundation model.

    >>> import torch
    >>> from tsfm_pipeline.network.sizes import SIZES
    >>> network = TSFM(1, 2, SIZES["tiny"], (16, 16, 32)).eval()
    >>> with torch.inference_mode():
    ...     logits = network(torch.zeros(1, 1, 16, 16, 32))
    >>> logits.shape
    torch.Size([1, 2, 16, 16, 32])

    Args:
        in_channels: image channels.
        out_channels: logits per voxel (the regions of the label table).
        size: widths and depths.
        patch: voxels (z, y, x) of the training patch; sets the stored position embedding's grid.

    Checkpointing is by residual block (by whole resolution, the full one alone would not fit).

    Raises:
        ValueError: a channel count or a patch side is not positive.
    """

    first_layers = ("encoder.0.0.conv1.weight", "encoder.0.0.connection.weight")
    repeated = (ResidualBlock, TransformerLayer)

    def __init__(self, in_channels: int, out_channels: int, size: TsfmSize, patch: Grid) -> None:
        super().__init__()
        if min(in_channels, out_channels, *patch) < 1:
            raise ValueError(
                f"a network needs positive sizes: in_channels {in_channels}, out_channels"
                f" {out_channels}, patch {patch}"
            )
        channels = [size.channels * 2**level for level in range(size.resolutions)]
        self.size = size
        self.strides = size.strides
        firsts: list[ResidualBlock] = [Stem(in_channels, channels[0])]
        firsts += [DownSample(w, stride) for w, stride in zip(channels, size.strides, strict=False)]
        self.encoder = nn.ModuleList(
            nn.Sequential(first, *_blocks(width, size.blocks - 1))
            for first, width in zip(firsts, channels, strict=True)
        )
        self.bottleneck = (
            TransformerBottleneck(channels[-1], size, bottleneck_grid(patch, size))
            if size.layers
            else nn.Identity()
        )
        self.up = nn.ModuleList(
            UpSample(2 * width, stride)
            for width, stride in zip(channels, size.strides, strict=False)
        )
        self.decoder = nn.ModuleList(
            nn.Sequential(ResidualBlock(2 * width, width), *_blocks(width, size.blocks - 1))
            for width in channels[:-1]
        )
        self.heads = nn.ModuleList(
            Head(width, out_channels) for width in channels[: size.supervised]
        )
        self.apply(_initialise)
        if isinstance(self.bottleneck, TransformerBottleneck):
            nn.init.trunc_normal_(self.bottleneck.position, std=0.02)


def bottleneck_grid(patch: Sequence[int], size: TsfmSize) -> Grid:
    """Voxels (z, y, x) of the coarsest grid of a patch, one of at least two voxels."""
    grid = [-(-side // step) for side, step in zip(patch, size.divisor, strict=True)]
    return (grid[0], grid[1], max(grid[2], 2) if max(grid) == 1 else grid[2])


def _blocks(channels: int, count: int) -> list[ResidualBlock]:
    return [ResidualBlock(channels, channels) for _ in range(count)]


def _initialise(module: nn.Module) -> None:
    """He initialisation for convolutions, ViT's truncated normal for linear layers.

    nnU-Net gives every convolution He's gain for a LeakyReLU. Ours has 1x1x1 convolutions that no
    activation follows, one after the other on the un-normalised sums: with that gain logits start
    with a standard deviation of 15 (tiny) to 50 (small). They get the gain 1.

    Heads start at "rare" (the prior of Lin et al. 2017, focal loss): else the summed cross-entropy
    of many channels spends the first hundred steps on saying background.
    """
    if isinstance(module, nn.Conv3d):
        slope = NEGATIVE_SLOPE if module.kernel_size != (1, 1, 1) else 1.0
        nn.init.kaiming_normal_(module.weight, a=slope)
    elif isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
    if isinstance(module, nn.Conv3d | nn.Linear) and module.bias is not None:
        nn.init.constant_(module.bias, RARE if isinstance(module, Head) else 0.0)
