"""STU-Net's `small_ep4k.model` to `huge_ep4k.model` (nnU-Net v1 checkpoints)."""

import re

SIGN = "conv_blocks_context.0.0.conv3.weight"
"""Name of a tensor that nnU-Net's own networks do not have."""

RESOLUTIONS = 6

_CONVOLUTIONS = r"(conv1|norm1|conv2|norm2|conv3)\.(weight|bias)"


def our_name(name: str) -> str | None:
    """Return our name of a tensor; None if `STUNet` has no such tensor.

    The public code counts the decoder from the coarsest resolution, we count from the finest.

    >>> our_name("conv_blocks_localization.4.0.conv3.bias")
    'decoder.0.0.connection.bias'
    """
    if found := re.fullmatch(rf"conv_blocks_context\.(\d)\.(\d)\.{_CONVOLUTIONS}", name):
        return f"encoder.{found[1]}.{found[2]}.{_layer(found[3])}.{found[4]}"
    if found := re.fullmatch(rf"conv_blocks_localization\.(\d)\.(\d)\.{_CONVOLUTIONS}", name):
        level = RESOLUTIONS - 2 - int(found[1])
        return f"decoder.{level}.{found[2]}.{_layer(found[3])}.{found[4]}"
    if found := re.fullmatch(r"(upsample_layers|seg_outputs)\.(\d)(\.conv)?\.(weight|bias)", name):
        level = RESOLUTIONS - 2 - int(found[2])
        return f"up.{level}.conv.{found[4]}" if found[3] else f"heads.{level}.{found[4]}"
    return None


def _layer(theirs: str) -> str:
    return "connection" if theirs == "conv3" else theirs
