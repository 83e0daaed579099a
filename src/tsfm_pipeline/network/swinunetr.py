"""MONAI's SwinUNETR (Hatamizadeh et al. 2022) as one of the networks.

Shape suffixes: B batch, C channels, D/H/W voxels along z, y, x, K output channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsfm_pipeline.network.blocks import Grid
from tsfm_pipeline.network.extras import require_packages
from tsfm_pipeline.network.segmentation import SegmentationNetwork
from tsfm_pipeline.network.sizes import SwinUNETRSize

DIVISOR = 32
"""Voxels along each axis for which one of the coarsest grid stands."""


class SwinUNETR(SegmentationNetwork):
    """A Swin transformer as encoder, residual blocks as decoder, one output.

    MONAI's layers and initial weights; its output layer is the head. The layers are called here,
    in MONAI's order, so that `checkpointing` reaches all of them: MONAI's own leaves out the
    convolutions, which hold the largest maps. A grid that is no multiple of 32, or leaves a single
    voxel for InstanceNorm, is padded with zeros at its upper ends; the output is cut back.

    Args:
        in_channels: image channels.
        out_channels: logits per voxel.
        size: feature channels.
        patch: not needed: windows are of the same tokens on any grid.

    Raises:
        MissingExtra: MONAI or einops is not installed.
    """

    first_layers = (
        "body.swinViT.patch_embed.proj.weight",
        "body.encoder1.layer.conv1.conv.weight",
        "body.encoder1.layer.conv3.conv.weight",
    )

    def __init__(
        self, in_channels: int, out_channels: int, size: SwinUNETRSize, patch: Grid
    ) -> None:
        super().__init__()
        require_packages("swinunetr")
        # an extra, and seconds to load
        from monai.networks import blocks, nets  # noqa: PLC0415
        from monai.networks.nets.swin_unetr import PatchMerging, SwinTransformerBlock  # noqa: PLC0415

        self.repeated = (
            SwinTransformerBlock,
            PatchMerging,
            blocks.UnetrBasicBlock,
            blocks.UnetrUpBlock,
        )
        device = torch.get_default_device()
        with torch.device("cpu"):  # MONAI reads numbers off tensors, which `meta` does not have
            body = nets.SwinUNETR(
                in_channels,
                out_channels,
                feature_size=size.channels,
                window_size=size.window,
            )
        body.out = nn.Identity()
        self.body = body.to(device)
        self.heads = nn.ModuleList([nn.Conv3d(size.channels, out_channels, 1)])
        self._swin_blocks = [m for m in body.modules() if isinstance(m, SwinTransformerBlock)]

    def forward(self, x_BCDHW: Tensor) -> list[Tensor] | Tensor:
        """Predict logits (B, K, D, H, W); in training mode a list of them alone."""
        depth, height, width = x_BCDHW.shape[2:]
        missing = [-side % DIVISOR for side in (depth, height, width)]
        if max(depth, height, width) <= DIVISOR:
            missing[2] += DIVISOR
        if any(missing):
            z, y, x = missing
            x_BCDHW = F.pad(x_BCDHW, (0, x, 0, y, 0, z))
        logits_BKDHW: Tensor = self.heads[0](self._features(x_BCDHW))
        if any(missing):
            logits_BKDHW = logits_BKDHW[:, :, :depth, :height, :width]
        return [logits_BKDHW] if self.training else logits_BKDHW

    def _features(self, x_BCDHW: Tensor) -> Tensor:
        """Return the finest feature map."""
        body = self.body
        for block in self._swin_blocks:
            block.use_checkpoint = self.checkpointing
        tokens = body.swinViT(x_BCDHW, body.normalize)
        skips = [
            self.run(encoder, features)
            for encoder, features in zip(
                (body.encoder1, body.encoder2, body.encoder3, body.encoder4),
                (x_BCDHW, *tokens[:3]),
                strict=True,
            )
        ]
        x_BCDHW = self.run(body.encoder10, tokens[4])
        decoders = (body.decoder5, body.decoder4, body.decoder3, body.decoder2, body.decoder1)
        for decoder, skip in zip(decoders, (tokens[3], *skips[::-1]), strict=True):
            x_BCDHW = self.run(decoder, x_BCDHW, skip)
        return x_BCDHW
