"""nnU-Net's plain U-Nets: MultiTalent's checkpoints (v1) and TotalSegmentator's (v2)."""

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

V1_SIGN = "conv_blocks_context.0.blocks.0.conv.weight"
V2_SIGN = "encoder.stages.0.0.convs.0.conv.weight"

_V1_ENCODER = r"conv_blocks_context\.(\d+)\.blocks\.(\d)\.(conv|instnorm)\.(\w+)"
_V1_SEQUENCE = r"conv_blocks_(context|localization)\.(\d+)\.(\d)\.blocks\.0\.(conv|instnorm)\.(\w+)"
_V1_OTHER = r"(tu|seg_outputs)\.(\d+)\.(\w+)"

_V2_STAGE = r"(encoder|decoder)\.stages\.(\d+)(?:\.0)?\.convs\.(\d)\.(conv|norm)\.(\w+)"
_V2_OTHER = r"decoder\.(transpconvs|seg_layers)\.(\d+)\.(\w+)"


def our_names_v1(names: Iterable[str]) -> dict[str, str]:
    """Return `network.unet.PlainUNet`'s name of each tensor of v1's `Generic_UNet`.

    The last encoder stage and those of the decoder are sequences of single convolutions. Decoder
    stages are counted from the coarsest.

    >>> our_names_v1(["conv_blocks_context.0.blocks.1.instnorm.bias"])
    {'conv_blocks_context.0.blocks.1.instnorm.bias': 'encoder.0.0.4.bias'}
    """
    names = list(names)
    finest = _last(r"tu\.(\d+)\.weight", names)
    ours = {}
    for name in names:
        if found := re.fullmatch(_V1_ENCODER, name):
            stage, block, layer, kind = found.groups()
            ours[name] = f"encoder.{stage}.0.{_place(block, layer)}.{kind}"
        elif found := re.fullmatch(_V1_SEQUENCE, name):
            side, stage, block, layer, kind = found.groups()
            level = stage if side == "context" else finest - int(stage)
            room = "encoder" if side == "context" else "decoder"
            ours[name] = f"{room}.{level}.0.{_place(block, layer)}.{kind}"
        elif found := re.fullmatch(_V1_OTHER, name):
            layer, stage, kind = found.groups()
            level = finest - int(stage)
            up = layer == "tu"
            ours[name] = f"up.{level}.conv.{kind}" if up else f"heads.{level}.{kind}"
    return ours


def our_names_v2(names: Iterable[str]) -> dict[str, str]:
    """Return `network.unet.PlainUNet`'s name of each tensor of v2's `PlainConvUNet`.

    Its files hold every tensor of the encoder four times, under `all_modules` and under
    `decoder.encoder`, too; one is taken.

    >>> our_names_v2(["encoder.stages.2.0.convs.1.norm.bias"])
    {'encoder.stages.2.0.convs.1.norm.bias': 'encoder.2.0.4.bias'}
    """
    names = list(names)
    finest = _last(r"decoder\.transpconvs\.(\d+)\.weight", names)
    ours = {}
    for name in names:
        if found := re.fullmatch(_V2_STAGE, name):
            room, stage, block, layer, kind = found.groups()
            level = stage if room == "encoder" else finest - int(stage)
            ours[name] = f"{room}.{level}.0.{_place(block, layer)}.{kind}"
        elif found := re.fullmatch(_V2_OTHER, name):
            layer, stage, kind = found.groups()
            level = finest - int(stage)
            up = layer == "transpconvs"
            ours[name] = f"up.{level}.conv.{kind}" if up else f"heads.{level}.{kind}"
    return ours


def zero_biases(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the biases of the transposed convolutions, which v1's are without.

    Args:
        weights: by our names; transposed convolutions are (in, out, D, H, W).
    """
    found = {name.removesuffix(".weight"): w for name, w in weights.items() if name[:3] == "up."}
    return {f"{name}.bias": torch.zeros(weight.shape[1]) for name, weight in found.items()}


def _place(block: str, layer: str) -> int:
    """Return where a layer stands in `ConvolutionPair`: convolution, norm, activation, twice."""
    return 3 * int(block) + (layer != "conv")


def _last(pattern: str, names: Iterable[str]) -> int:
    """Return the highest number that a pattern finds; 0 for none."""
    return max(
        (int(found[1]) for name in names if (found := re.fullmatch(pattern, name))), default=0
    )
