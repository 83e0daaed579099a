"""The six blocks of TSFM's figure 1(b), under their letters A to F (paper section 2.2).

Shape suffixes: B batch, C channels, D/H/W voxels along z, y, x, T tokens, E embedding width,
K output channels.
"""

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsfm_pipeline.network.sizes import HALVED, Stride, TsfmSize

Grid = tuple[int, int, int]

NEGATIVE_SLOPE = 0.01


class ResidualBlock(nn.Module):
    """B: two Conv3x3x3 - InstanceNorm - LeakyReLU and a connection added after the second.

    The sum passes through neither norm nor activation, which is how we read "we choose
    pre-activation to ensure that the input parameters are not all positive". Where channels or
    grid change, the connection is a 1x1x1 convolution with the same stride.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: Grid = (1, 1, 1)) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, out_channels, 3, stride, padding=1)
        self.norm1 = nn.InstanceNorm3d(out_channels, affine=True)
        self.conv2 = nn.Conv3d(out_channels, out_channels, 3, padding=1)
        self.norm2 = nn.InstanceNorm3d(out_channels, affine=True)
        self.connection: nn.Module = nn.Identity()
        if max(stride) > 1 or in_channels != out_channels:
            self.connection = nn.Conv3d(in_channels, out_channels, 1, stride)

    def forward(self, x_BCDHW: Tensor) -> Tensor:
        """Map (B, in, D, H, W) to (B, out, ceil(D / stride along z), ...)."""
        y_BCDHW = F.leaky_relu(self.norm1(self.conv1(x_BCDHW)), NEGATIVE_SLOPE, inplace=True)
        y_BCDHW = F.leaky_relu(self.norm2(self.conv2(y_BCDHW)), NEGATIVE_SLOPE, inplace=True)
        connection_BCDHW: Tensor = self.connection(x_BCDHW)
        return y_BCDHW + connection_BCDHW


class Stem(ResidualBlock):
    """A: the first residual block, from image channels to feature channels."""


class DownSample(ResidualBlock):
    """C: a residual block that halves the grid (along some axes or all) and doubles channels."""

    def __init__(self, in_channels: int, stride: Stride = HALVED) -> None:
        super().__init__(in_channels, 2 * in_channels, stride)


class TransformerLayer(nn.Module):
    """One pre-norm encoder layer of ViT: attention, then an MLP of four times the width."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, x_BTE: Tensor) -> Tensor:
        """Map (B, T, E) to the same shape."""
        batch, tokens, width = x_BTE.shape
        qkv_BTE = self.query_key_value(self.norm1(x_BTE))
        query, key, value = qkv_BTE.view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        x_BTE = x_BTE + self.project(mixed.transpose(1, 2).reshape(batch, tokens, width))
        hidden: Tensor = self.contract(F.gelu(self.expand(self.norm2(x_BTE))))
        return x_BTE + hidden


class TransformerBottleneck(nn.Module):
    """D: a ViT encoder over the voxels of the coarsest grid.

    1x1x1 convolution to the embedding width, learned 3-D position embedding, pre-norm layers,
    LayerNorm, 1x1x1 convolution back. The embedding is stored for the training patch's grid and
    interpolated trilinearly for any other.
    """

    def __init__(self, channels: int, size: TsfmSize, grid: Grid) -> None:
        super().__init__()
        self.embed = nn.Conv3d(channels, size.width, 1)
        self.position = nn.Parameter(torch.zeros(1, size.width, *grid))
        self.layers = nn.ModuleList(
            TransformerLayer(size.width, size.heads) for _ in range(size.layers)
        )
        self.norm = nn.LayerNorm(size.width, eps=1e-6)
        self.restore = nn.Conv3d(size.width, channels, 1)

    def forward(self, x_BCDHW: Tensor) -> Tensor:
        """Map (B, C, D, H, W) to the same shape."""
        x_BEDHW = self.embed(x_BCDHW)
        grid = x_BEDHW.shape[2:]
        x_BEDHW = x_BEDHW + resize_position(self.position, (grid[0], grid[1], grid[2]))
        x_BTE = x_BEDHW.flatten(2).transpose(1, 2)
        for layer in self.layers:
            x_BTE = layer(x_BTE)
        x_BTE = self.norm(x_BTE)
        restored_BCDHW: Tensor = self.restore(x_BTE.transpose(1, 2).reshape(x_BEDHW.shape))
        return restored_BCDHW


def resize_position(position_1EDHW: Tensor, grid: Grid) -> Tensor:
    """Interpolate a position embedding trilinearly to another grid (itself if it fits)."""
    if position_1EDHW.shape[2:] == grid:
        return position_1EDHW
    return F.interpolate(position_1EDHW, size=grid, mode="trilinear", align_corners=False)


class UpSample(nn.Module):
    """E: nearest interpolation by the stride and a 1x1x1 convolution (to half the channels).

    The two commute, so the convolution runs first, on an eighth of the voxels.
    """

    def __init__(
        self, in_channels: int, stride: Stride = HALVED, out_channels: int | None = None
    ) -> None:
        super().__init__()
        self.stride = tuple(map(float, stride))
        self.conv = nn.Conv3d(in_channels, out_channels or in_channels // 2, 1)

    def forward(self, x_BCDHW: Tensor, grid: Grid) -> Tensor:
        """Map (B, C, D, H, W) to (B, out, *grid); `grid` is stride x the input's or one less."""
        x_BCDHW = self.conv(x_BCDHW)
        # copying voxels needs no float32, which autocast would make of them and of what follows
        device = x_BCDHW.device.type
        half = torch.amp.is_autocast_available(device)  # not on the meta device
        with torch.autocast(device, enabled=False) if half else nullcontext():
            y_BCDHW = F.interpolate(x_BCDHW, scale_factor=self.stride, mode="nearest")
        return y_BCDHW[:, :, : grid[0], : grid[1], : grid[2]]


class Head(nn.Conv3d):
    """F: a 1x1x1 convolution to one logit per output channel."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)
