"""The networks and their named sizes, in one place (litgpt's habit: exact counts are tested)."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from tsfm_pipeline.frozen import FrozenModel

NetworkName = Literal["tsfm", "tsfm_without_transformer", "nnunet", "swinunetr", "stunet"]
SizeName = Literal["tiny", "small", "base", "large", "huge", "small6", "huge6"]

PAPER_PATCH = (112, 160, 192)
"""Training patch of the paper's section 3.1, voxels (z, y, x)."""

Stride = tuple[Literal[1, 2], Literal[1, 2], Literal[1, 2]]
"""Of one down-sampling, along z, y, x."""

HALVED: Stride = (2, 2, 2)

Kernel = tuple[Literal[1, 3], Literal[1, 3], Literal[1, 3]]
"""Of a convolution, along z, y, x."""


def _kind(given: Any) -> str:
    """Return the tag of an architecture; cards older than the others are TSFM's."""
    if isinstance(given, Mapping):
        return str(given.get("kind", "tsfm"))
    return str(getattr(given, "kind", "tsfm"))


class TsfmSize(FrozenModel):
    """Everything that makes one TSFM larger than another; the bounds refuse a damaged card's.

    Attributes:
        channels: feature channels at full resolution; they double at each down-sampling.
        blocks: residual blocks per resolution, in the encoder and in the decoder.
        width: embedding width of the bottleneck transformer.
        layers: transformer layers; none leaves the transformer out.
        heads: attention heads; must divide `width`.
        strides: of each down-sampling, (z, y, x). By default there are four halvings: one
            bottleneck voxel stands for 16x16x16 voxels.
    """

    kind: Literal["tsfm"] = "tsfm"
    channels: int = Field(gt=0, le=512)
    blocks: int = Field(gt=0, le=32)
    width: int = Field(gt=0, le=8192)
    layers: int = Field(ge=0, le=128)
    heads: int = Field(gt=0, le=128)
    strides: tuple[Stride, ...] = Field((HALVED,) * 4, min_length=1, max_length=9)

    @model_validator(mode="after")
    def _supervisable(self) -> "TsfmSize":
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


class UNetSize(FrozenModel):
    """A width of nnU-Net's plain U-Net, whose depth follows from the patch.

    Attributes:
        channels: feature channels at full resolution; they double at each down-sampling.
    """

    channels: int = Field(gt=0, le=512)


class UNetShape(UNetSize):
    """A plain U-Net of nnU-Net, axes (z, y, x) (`planning.architecture` makes it for a patch).

    Attributes:
        strides: of each down-sampling.
        kernels: of each resolution; the last is the bottleneck's.
    """

    kind: Literal["nnunet"] = "nnunet"
    strides: tuple[Stride, ...] = Field(min_length=1, max_length=9)
    kernels: tuple[Kernel, ...] = Field(min_length=2, max_length=10)

    @model_validator(mode="after")
    def _one_kernel_more(self) -> "UNetShape":
        if len(self.kernels) != len(self.strides) + 1:
            raise ValueError(
                f"{len(self.strides)} strides need one kernel more, not {self.kernels}"
            )
        return self


class STUNetSize(FrozenModel):
    """A size of STU-Net (Huang et al. 2023), of six resolutions.

    Attributes:
        channels: feature channels at full resolution; they double up to the fifth.
        blocks: residual blocks per resolution.
    """

    kind: Literal["stunet"] = "stunet"
    channels: int = Field(gt=0, le=512)
    blocks: int = Field(gt=0, le=32)


class SwinUNETRSize(FrozenModel):
    """A size of SwinUNETR (Hatamizadeh et al. 2022).

    Attributes:
        channels: its feature size.
        window: side of the windows of attention, in tokens of 2x2x2 voxels and coarser.
    """

    kind: Literal["swinunetr"] = "swinunetr"
    channels: int = Field(gt=0, le=512, multiple_of=12)
    window: int = Field(7, gt=1, le=32)


Architecture = Annotated[
    Annotated[TsfmSize, Tag("tsfm")]
    | Annotated[UNetShape, Tag("nnunet")]
    | Annotated[STUNetSize, Tag("stunet")]
    | Annotated[SwinUNETRSize, Tag("swinunetr")],
    Discriminator(_kind),
]
"""All numbers that a network is built from, but channels and patch."""

_SIX: tuple[Stride, ...] = (*(HALVED,) * 4, (1, 2, 2))
"""nnU-Net's own rule for the paper's patch: 4, 5 and 5 poolings, a bottleneck of 7x5x6 voxels."""

SIZES: dict[SizeName, TsfmSize] = {
    "tiny": TsfmSize(channels=8, blocks=1, width=96, layers=2, heads=3),
    "small": TsfmSize(channels=16, blocks=2, width=192, layers=4, heads=3),
    "base": TsfmSize(channels=32, blocks=2, width=384, layers=6, heads=6),
    "large": TsfmSize(channels=64, blocks=3, width=768, layers=12, heads=12),
    # The paper's: ViT-base in the bottleneck (section 2.2), 1.6 billion parameters.
    "huge": TsfmSize(channels=128, blocks=4, width=768, layers=12, heads=12),
    # The other reading of 1.6 billion: half the channels, one resolution more. And its twin of
    # `small`, to compare the two readings where there is no GPU.
    "small6": TsfmSize(channels=8, blocks=2, width=192, layers=4, heads=3, strides=_SIX),
    "huge6": TsfmSize(channels=64, blocks=4, width=768, layers=12, heads=12, strides=_SIX),
}

NETWORKS: dict[NetworkName, Mapping[str, TsfmSize | UNetSize | STUNetSize | SwinUNETRSize]] = {
    "tsfm": {name: size for name, size in SIZES.items()},
    "tsfm_without_transformer": {
        name: size.model_copy(update={"layers": 0}) for name, size in SIZES.items()
    },
    "nnunet": {"tiny": UNetSize(channels=8), "base": UNetSize(channels=32)},
    "swinunetr": {
        "tiny": SwinUNETRSize(channels=12, window=4),
        "small": SwinUNETRSize(channels=24),
        "base": SwinUNETRSize(channels=48),
    },
    "stunet": {
        "tiny": STUNetSize(channels=8, blocks=1),
        "small": STUNetSize(channels=16, blocks=1),
        "base": STUNetSize(channels=32, blocks=1),
        "large": STUNetSize(channels=64, blocks=2),
        "huge": STUNetSize(channels=96, blocks=3),
    },
}
"""Every network by name and size. `tiny` is for demonstrations; of the others, `base` is nnU-Net's
and SwinUNETR's own, and STU-Net's are small to huge."""
