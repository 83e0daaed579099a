"""STU-Net's `small_ep4k.model` to `huge_ep4k.model` (uni-medical/STU-Net)."""

import re
from collections.abc import Iterable

SIGN = "conv_blocks_context.0.0.conv3.weight"

_BLOCK = r"conv_blocks_(context|localization)\.(\d)\.(\d)\.(conv1|norm1|conv2|norm2|conv3)\.(\w+)"
_OTHER = r"(upsample_layers|seg_outputs)\.(\d)(\.conv)?\.(\w+)"

FINEST = 4
"""Number of the public code's last decoder stage: it counts them from the coarsest, we from the
finest."""


def our_names(names: Iterable[str]) -> dict[str, str]:
    """Return `network.stunet.STUNet`'s name of each tensor that it has.

    >>> our_names(["conv_blocks_localization.4.0.conv3.bias", "unknown"])
    {'conv_blocks_localization.4.0.conv3.bias': 'decoder.0.0.connection.bias'}
    """
    ours = {}
    for name in names:
        if found := re.fullmatch(_BLOCK, name):
            side, stage, block, layer, kind = found.groups()
            layer = "connection" if layer == "conv3" else layer
            if side == "context":
                ours[name] = f"encoder.{stage}.{block}.{layer}.{kind}"
            else:
                ours[name] = f"decoder.{FINEST - int(stage)}.{block}.{layer}.{kind}"
        elif found := re.fullmatch(_OTHER, name):
            layer, stage, conv, kind = found.groups()
            prefix = "up" if layer == "upsample_layers" else "heads"
            ours[name] = f"{prefix}.{FINEST - int(stage)}{conv or ''}.{kind}"
    return ours
