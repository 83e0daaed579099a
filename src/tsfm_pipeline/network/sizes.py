"""The named sizes of TSFM, in one table (litgpt's habit: exact counts are tested)."""

from typing import Literal

from pydantic import Field

from tsfm_pipeline.frozen import FrozenModel

SizeName = Literal["tiny", "small", "base", "large", "huge"]

PAPER_PATCH = (112, 160, 192)
"""Training patch of the paper's section 3.1, voxels (z, y, x)."""

RESOLUTIONS = 5
"""Encoder resolutions; four stride-2 steps, so one bottleneck voxel per 16x16x16 voxels."""


class NetworkSize(FrozenModel):
    """Everything that makes one TSFM larger than another; the bounds refuse a damaged card's.

    Attributes:
        channels: feature channels at full resolution; they double at each down-sampling.
        blocks: residual blocks per resolution, in the encoder and in the decoder.
        width: embedding width of the bottleneck transformer.
        layers: transformer layers.
        heads: attention heads; must divide `width`.
    """

    channels: int = Field(gt=0, le=512)
    blocks: int = Field(gt=0, le=32)
    width: int = Field(gt=0, le=8192)
    layers: int = Field(gt=0, le=128)
    heads: int = Field(gt=0, le=128)


SIZES: dict[SizeName, NetworkSize] = {
    "tiny": NetworkSize(channels=8, blocks=1, width=96, layers=2, heads=3),
    "small": NetworkSize(channels=16, blocks=2, width=192, layers=4, heads=3),
    "base": NetworkSize(channels=32, blocks=2, width=384, layers=6, heads=6),
    "large": NetworkSize(channels=64, blocks=3, width=768, layers=12, heads=12),
    # The paper's: ViT-base in the bottleneck (section 2.2), 1.6 billion parameters.
    "huge": NetworkSize(channels=128, blocks=4, width=768, layers=12, heads=12),
}


class NetworkSettings(FrozenModel):
    """Which network to build.

    Attributes:
        size: name of a row of `SIZES`.
    """

    size: SizeName = "huge"
