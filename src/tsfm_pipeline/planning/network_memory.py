"""What a patch costs: nnU-Net v1's estimate for its U-Net, and TSFM's saved activations.

After nnU-Net v1.7.1, network_architecture/generic_UNet.py:compute_approx_vram_consumption, whose
unit is the value: the entries of all feature maps of one forward pass. It is no number of bytes;
nnU-Net compares it with the value of a network that is known to fit.
"""

import math

from tsfm_pipeline.imaging.geometry import Triple
from tsfm_pipeline.network.sizes import TsfmSize

FEATURES, MOST_FEATURES = 32, 320
"""Feature maps of nnU-Net's first resolution; they double at each down-sampling up to a limit."""

REFERENCE_VALUES = 520_000_000 * 32 / 30
"""Values that fit at batch 2: nnU-Net's limit for 30 first feature maps, scaled to its 32."""
REFERENCE_GB = 8.0
"""GPU memory that nnU-Net v1's limit is meant for."""

_CONVOLUTIONS = 2
_BYTES = 2
_SAVED = 3


def budget_values(memory_gb: float) -> float:
    """Return the values that fit: nnU-Net's limit, scaled linearly with the memory.

    Linear leaves out what does not grow with the patch (weights, momentum), so it is cautious
    above 8 GB and optimistic below.
    """
    return REFERENCE_VALUES * (memory_gb / REFERENCE_GB)


def unet_values(
    patch: Triple, strides: tuple[Triple, ...], in_channels: int, out_channels: int
) -> int:
    """Estimate the feature-map values of nnU-Net v1's U-Net for one sample.

    Each resolution has two convolutions on the way down, two on the way up and one transposed
    convolution; the coarsest has the two alone.

    Args:
        patch: voxels of each axis.
        strides: of each down-sampling.
        in_channels: image channels.
        out_channels: output channels, background included.
    """
    size, features = list(patch), FEATURES
    values = (2 * _CONVOLUTIONS + 1) * math.prod(size) * features
    values += (in_channels + out_channels) * math.prod(size)
    for level, stride in enumerate(strides, start=1):
        size = [side // step for side, step in zip(size, stride, strict=True)]
        features = min(2 * features, MOST_FEATURES)
        layers = _CONVOLUTIONS if level == len(strides) else 2 * _CONVOLUTIONS + 1
        values += layers * math.prod(size) * features
    return values


def tsfm_activation_gib(size: TsfmSize, patch: Triple) -> float:
    """Estimate the GiB that TSFM keeps for the backward pass of one sample, in two-byte numbers.

    Of every convolution of a residual block three maps are kept: its input, the norm's and the
    activation's. Transformer, projections, skips and heads are left out, and checkpointing is off.

    Args:
        size: numbers of the network size.
        patch: voxels (z, y, x).
    """
    values, grid = 0, list(patch)
    for level, stride in enumerate([(1, 1, 1), *size.strides]):
        grid = [-(-side // step) for side, step in zip(grid, stride, strict=True)]
        voxels = math.prod(grid)
        paths = 1 if level == len(size.strides) else 2  # the coarsest has no decoder
        blocks = paths * size.blocks
        values += blocks * _CONVOLUTIONS * _SAVED * voxels * size.channels * 2**level
    return values * _BYTES / 2**30
