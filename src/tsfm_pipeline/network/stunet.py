"""STU-Net: nnU-Net's U-shape of residual blocks, scaled in width and depth (Huang et al. 2023).

After uni-medical/STU-Net, nnUNet-1.7.1/nnunet/network_architecture/STUNet.py; with copied weights
the logits are the same (tests/reference/stunet_parity.py).

Shape suffixes: B batch, C channels, D/H/W voxels along z, y, x.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from tsfm_pipeline.network.blocks import NEGATIVE_SLOPE, Grid, Head, UpSample
from tsfm_pipeline.network.sizes import Stride, STUNetSize
from tsfm_pipeline.network.ushape import UShape

WIDTHS = (1, 2, 4, 8, 16, 16)
"""Channels of the six resolutions, in those of the first."""

SUPERVISED = 4
"""Heads. The published code has one more, on the fifth resolution, to which nnU-Net v1's rule of
deep supervision gives the weight 0; it is left out."""

SHORTEST_HALVED = 8
"""Voxels; a shorter axis is not halved again (nnU-Net: no axis below 4)."""


class PostActivationBlock(nn.Module):
    """Two Conv3x3x3 - InstanceNorm, LeakyReLU between them and after the connection is added.

    `project` puts a 1x1x1 convolution without norm on the connection: in the first block of every
    resolution, also where shapes would allow an identity.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: Grid = (1, 1, 1), *, project: bool
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, out_channels, 3, stride, padding=1)
        self.norm1 = nn.InstanceNorm3d(out_channels, affine=True)
        self.conv2 = nn.Conv3d(out_channels, out_channels, 3, padding=1)
        self.norm2 = nn.InstanceNorm3d(out_channels, affine=True)
        self.connection: nn.Module = nn.Identity()
        if project:
            self.connection = nn.Conv3d(in_channels, out_channels, 1, stride)

    def forward(self, x_BCDHW: Tensor) -> Tensor:
        """Map (B, in, D, H, W) to (B, out, ceil(D / stride along z), ...)."""
        y_BCDHW = F.leaky_relu(self.norm1(self.conv1(x_BCDHW)), NEGATIVE_SLOPE, inplace=True)
        y_BCDHW = self.norm2(self.conv2(y_BCDHW)) + self.connection(x_BCDHW)
        return F.leaky_relu(y_BCDHW, NEGATIVE_SLOPE, inplace=True)


class STUNet(UShape):
    """The scalable and transferable U-Net, of six resolutions.

    >>> import torch
    >>> from tsfm_pipeline.network.sizes import NETWORKS
    >>> network = STUNet(1, 2, NETWORKS["stunet"]["tiny"], (16, 16, 32)).eval()
    >>> with torch.inference_mode():
    ...     logits = network(torch.zeros(1, 1, 16, 16, 32))
    >>> logits.shape
    torch.Size([1, 2, 16, 16, 32])

    Any grid can be put in. In training mode there are four outputs (`SUPERVISED`).

    Args:
        in_channels: image channels.
        out_channels: logits per voxel.
        size: width and depth.
        patch: voxels (z, y, x) of the training patch; sets the strides (`strides_for`), on which no
            weight's shape depends.
    """

    first_layers = ("encoder.0.0.conv1.weight", "encoder.0.0.connection.weight")
    repeated = (PostActivationBlock,)

    def __init__(self, in_channels: int, out_channels: int, size: STUNetSize, patch: Grid) -> None:
        super().__init__()
        channels = [size.channels * width for width in WIDTHS]
        self.strides = strides_for(patch)
        self.encoder = nn.ModuleList(
            _stage(before, width, size.blocks, stride)
            for before, width, stride in zip(
                [in_channels, *channels], channels, [(1, 1, 1), *self.strides], strict=False
            )
        )
        self.bottleneck = nn.Identity()
        self.up = nn.ModuleList(
            UpSample(coarser, stride, width)
            for width, coarser, stride in zip(channels, channels[1:], self.strides, strict=False)
        )
        self.decoder = nn.ModuleList(
            _stage(2 * width, width, size.blocks) for width in channels[:-1]
        )
        self.heads = nn.ModuleList(Head(width, out_channels) for width in channels[:SUPERVISED])
        self.apply(_initialise)


def strides_for(patch: Sequence[int]) -> tuple[Stride, ...]:
    """Return the stride (z, y, x) of each of the five down-samplings for a training patch.

    Published: those of nnU-Net's plan, cut to five or filled up with ones (STUNetTrainer). Here
    the plan is that of equal spacings: an axis is halved while no side falls below 4 voxels.

    >>> strides_for((128, 128, 128))[-1], strides_for((112, 160, 192))[-1]
    ((2, 2, 2), (1, 2, 2))
    """
    sides = list(patch)
    strides: list[Stride] = []
    for _ in WIDTHS[1:]:
        z, y, x = (side >= SHORTEST_HALVED for side in sides)
        strides.append((2 if z else 1, 2 if y else 1, 2 if x else 1))
        sides = [-(-side // step) for side, step in zip(sides, strides[-1], strict=True)]
    return tuple(strides)


def _stage(before: int, channels: int, blocks: int, stride: Grid = (1, 1, 1)) -> nn.Sequential:
    first = PostActivationBlock(before, channels, stride, project=True)
    others = [PostActivationBlock(channels, channels, project=False) for _ in range(blocks - 1)]
    return nn.Sequential(first, *others)


def _initialise(module: nn.Module) -> None:
    """He initialisation for the slope of the LeakyReLU, biases 0 (nnU-Net's InitWeights_He)."""
    if isinstance(module, nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, a=NEGATIVE_SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
