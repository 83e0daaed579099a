"""SAM-Med3D (Wang et al. 2023): a vision transformer that is told by clicks what to outline.

It takes prompts besides the image, so it is no `SegmentationNetwork`, and nothing here trains it;
`evaluation.sam_med3d` asks it.
"""

from torch import nn

from tsfm_pipeline.network.extras import require_packages

SIDE = 128
"""Voxels of its image along each axis."""

MASK_SIDE = 32
"""Voxels of the masks that it gives and is given."""


def build_sam_med3d() -> nn.Module:
    """Build `vit_b_ori` with fresh weights: medim's module, whose names the checkpoints have.

    Returns:
        A module with `image_encoder`, `prompt_encoder` and `mask_decoder`; 100.51 M parameters.

    Raises:
        MissingExtra: medim is not installed.
    """
    require_packages("sam_med3d")
    from medim.models.sam_med3d import build_sam3D_vit_b_ori  # noqa: PLC0415  # an extra

    network: nn.Module = build_sam3D_vit_b_ori()
    return network
