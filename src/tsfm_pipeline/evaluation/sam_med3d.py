"""SAM-Med3D as the segmenter of the prompted protocol.

After uni-medical/SAM-Med3D, utils/infer_utils.py (sam_model_infer). Shape suffixes: B batch, C
channels, X/Y/Z voxels along the patient's axes, E embedding.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsfm_pipeline.evaluation.prompted import Click, Segmenter, Volume
from tsfm_pipeline.model.published.sam_med3d import load_sam_med3d
from tsfm_pipeline.network.sam_med3d import MASK_SIDE, SIDE


def sam_med3d_segmenter(checkpoint: Path, device: torch.device) -> Segmenter:
    """Return SAM-Med3D with the weights of a checkpoint, for `prompted.score_prompted`.

    Raises:
        PublishedError: the checkpoint can't be read, or is another network's.
        MissingExtra: medim is not installed.
    """
    return SamMed3DSegmenter(load_sam_med3d(checkpoint), device)


class SamMed3DSegmenter:
    """Calls the network click by click.

    A call without previous logits encodes the image; those after it are about the same image, and
    are given the network's own small mask of the call before.

    Args:
        network: as of `network.sam_med3d.build_sam_med3d`.
        device: where it runs.
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self.network: Any = network.to(device)  # medim's, of whose parts mypy knows nothing
        self.device = device
        self._embedding_BEXYZ = torch.empty(0)
        self._mask_BCXYZ = torch.empty(0)

    @torch.inference_mode()
    def __call__(self, image: Volume, clicks: Sequence[Click], previous: Volume | None) -> Volume:
        """Return logits (z, y, x) of SIDE^3 voxels; see `prompted.Segmenter`."""
        network = self.network
        if previous is None:
            image_XYZ = torch.from_numpy(_turned(image)).to(self.device)
            self._embedding_BEXYZ = network.image_encoder(image_XYZ[None, None])
            self._mask_BCXYZ = image_XYZ.new_zeros((1, 1, *(MASK_SIDE,) * 3))
        places = torch.tensor([[_place(click) for click in clicks]], device=self.device)
        kinds = torch.tensor([[int(click.positive) for click in clicks]], device=self.device)
        sparse, dense = network.prompt_encoder(
            points=(places, kinds), boxes=None, masks=self._mask_BCXYZ
        )
        self._mask_BCXYZ, _ = network.mask_decoder(
            image_embeddings=self._embedding_BEXYZ,
            image_pe=network.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
        )
        logits_BCXYZ: Tensor = F.interpolate(
            self._mask_BCXYZ, size=(SIDE,) * 3, mode="trilinear", align_corners=False
        )
        logits_XYZ: Volume = logits_BCXYZ[0, 0].cpu().numpy()
        return np.ascontiguousarray(logits_XYZ[::-1, ::-1].transpose(2, 1, 0))


def _turned(volume: Volume) -> Volume:
    """Turn (z, y, x) towards head, back, left into (x, y, z) towards right, front, head.

    The former is this project's canonical orientation, the latter torchio's `ToCanonical`.
    """
    if volume.shape != (SIDE,) * 3:
        raise ValueError(f"SAM-Med3D takes {SIDE}^3 voxels, not {volume.shape}")
    return np.ascontiguousarray(volume.transpose(2, 1, 0)[::-1, ::-1])


def _place(click: Click) -> tuple[float, float, float]:
    """Return the voxel of a click in the turned volume."""
    z, y, x = click.position
    return float(SIDE - 1 - x), float(SIDE - 1 - y), float(z)
