"""SwinUNETR's checkpoints: the self-supervised encoder and the networks trained on from it.

`model_swinvit.pt` (MONAI's `SwinUNETR.load_from` reads it) and the BTCV weights of
Project-MONAI/research-contributions, whose names are MONAI's own.
"""

from collections.abc import Iterable

ENCODER_SIGN = "patch_embed.proj.weight"
SIGN = "swinViT.patch_embed.proj.weight"

_ENCODER = ("patch_embed.", "layers1.", "layers2.", "layers3.", "layers4.")


def our_names(names: Iterable[str]) -> dict[str, str]:
    """Return `network.swinunetr.SwinUNETR`'s name of each tensor of MONAI's.

    >>> our_names(["swinViT.patch_embed.proj.bias"])
    {'swinViT.patch_embed.proj.bias': 'body.swinViT.patch_embed.proj.bias'}
    """
    ours = {}
    for name in names:
        if name.startswith("out.conv.conv."):
            ours[name] = f"heads.0.{name.removeprefix('out.conv.conv.')}"
        elif name.startswith(("swinViT.", "encoder", "decoder")):
            ours[name] = f"body.{_linear(name)}"
    return ours


def encoder_names(names: Iterable[str]) -> dict[str, str]:
    """Return `network.swinunetr.SwinUNETR`'s name of each tensor of the encoder alone."""
    return {name: f"body.swinViT.{_linear(name)}" for name in names if name.startswith(_ENCODER)}


def _linear(name: str) -> str:
    """Rename the layers of an MLP, which the authors' own Swin transformer calls fc1 and fc2."""
    return name.replace(".mlp.fc", ".mlp.linear")
