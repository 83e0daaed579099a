"""The named sizes of TSFM, in one table (litgpt's habit: exact counts are tested)."""

import math
from typing import Literal

from pydantic import Field, model_validator

from tsfm_pipeline.frozen import FrozenModel

SizeName = Literal["tiny", "small", "base", "large", "huge", "small6", "huge6"]

PAPER_PATCH = (112, 160, 192)
"""Training patch of the paper's section 3.1, voxels (z, y, x)."""

Stride = tuple[Literal[1, 2], Literal[1, 2], Literal[1, 2]]
"""Of one down-sampling, along z, y, x."""

HALVED: Stride = (2, 2, 2)


class NetworkSize(FrozenModel):
    """Everything that makes one TSFM larger than another; the bounds refuse a damaged card's.

    Attributes:
        channels: feature channels at full resolution; they double at each down-sampling.
        blocks: residual blocks per resolution, in the encoder and in the decoder.
        width: embedding width of the bottleneck transformer.
        layers: transformer layers.
        heads: attention heads; must divide `width`.
        strides: of each down-sampling, (z, y, x). By default there are four halvings: one
            bottleneck voxel stands for 16x16x16 voxels.
    """

    channels: int = Field(gt=0, le=512)
    blocks: int = Field(gt=0, le=32)
    width: int = Field(gt=0, le=8192)
    layers: int = Field(gt=0, le=128)
    heads: int = Field(gt=0, le=128)
    strides: tuple[Stride, ...] = Field((HALVED,) * 4, min_length=1, max_length=9)

    @model_validator(mode="after")
    def _supervisable(self) -> "NetworkSize":
        # the loss takes every 2nd, 4th, ... voxel of the labels along all axes alike
        if any(stride != HALVED for stride in self.strides[: self.supervised - 1]):
            raise ValueError(f"strides {self.strides}: all but the last two have to be {HALVED}")
        return self

    @property
    def resolutions(self) -> int:
        """Resolutions of the encoder."""
        return len(self.strides) + 1

    @property
    def supervised(self) -> int:
        """Decoder resolutions with a head: nnU-Net's rule gives the coarsest the weight 0."""
        return max(self.resolutions - 2, 1)

    @property
    def divisor(self) -> tuple[int, int, int]:
        """Voxels (z, y, x) for which one bottleneck voxel stands."""
        z, y, x = (math.prod(along) for along in zip(*self.strides, strict=True))
        return (z, y, x)


_SIX: tuple[Stride, ...] = (*(HALVED,) * 4, (1, 2, 2))
"""nnU-Net's own rule for the paper's patch: 4, 5 and 5 poolings, a bottleneck of 7x5x6 voxels."""

SIZES: dict[SizeName, NetworkSize] = {
    "tiny": NetworkSize(channels=8, blocks=1, width=96, layers=2, heads=3),
    "small": NetworkSize(channels=16, blocks=2, width=192, layers=4, heads=3),
    "base": NetworkSize(channels=32, blocks=2, width=384, layers=6, heads=6),
    "large": NetworkSize(channels=64, blocks=3, width=768, layers=12, heads=12),
    # The paper's: ViT-base in the bottleneck (section 2.2), 1.6 billion parameters.
    "huge": NetworkSize(channels=128, blocks=4, width=768, layers=12, heads=12),
    # The other reading of 1.6 billion: half the channels, one resolution more. And its twin of
    # `small`, to compare the two readings where there is no GPU.
    "small6": NetworkSize(channels=8, blocks=2, width=192, layers=4, heads=3, strides=_SIX),
    "huge6": NetworkSize(channels=64, blocks=4, width=768, layers=12, heads=12, strides=_SIX),
}
