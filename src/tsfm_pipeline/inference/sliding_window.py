"""Sliding-window prediction as nnU-Net v1 does it, with the tiles batched.

After nnU-Net v1.7.1 `network_architecture/neural_network.py`: evenly spread steps, a Gaussian
weight per tile, probabilities (not logits) averaged. The accumulators lie in main memory, so a
large volume cannot exhaust the GPU after an hour.

Shape letters: B tiles of a batch, C image channels, K regions, Z Y X voxels of the volume,
D H W voxels of a patch.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from tsfm_pipeline.imaging.geometry import Triple
from tsfm_pipeline.inference.settings import PredictionSettings

Network = Callable[[Tensor], Tensor]
"""Maps tiles (B, C, D, H, W) to logits (B, all regions, D, H, W)."""


def steps(shape: Sequence[int], patch: Triple, step: float = 0.5) -> tuple[tuple[int, ...], ...]:
    """Return the first voxels of the tiles along each axis.

    There are ceil((size - patch) / (patch * step)) + 1 tiles along an axis, evenly spread from
    the first to the last possible start and rounded (nnU-Net
    `_compute_steps_for_sliding_window`).

    Args:
        shape: voxels of the padded volume (z, y, x), none smaller than the patch.
        patch: voxels of a tile (z, y, x).
        step: largest distance of neighbours, as a fraction of the patch.
    """
    starts = []
    for size, side in zip(shape, patch, strict=True):
        last = size - side
        count = math.ceil(last / (side * step)) + 1
        stride = last / max(count - 1, 1)
        starts.append(tuple(round(stride * i) for i in range(count)))
    return tuple(starts)


def gaussian(patch: Triple) -> NDArray[np.float32]:
    """Return the weight (D, H, W) of a tile's voxels: 1 in the middle, never 0.

    A unit impulse at patch // 2 filtered with sigma = patch / 8, divided by its maximum (nnU-Net
    `_get_gaussian`). The filter reaches 4 sigma, half a patch, so it leaves no zero to be raised.
    """
    impulse = np.zeros(patch)
    impulse[tuple(side // 2 for side in patch)] = 1.0
    weight = gaussian_filter(impulse, [side / 8 for side in patch], mode="constant", cval=0)
    return np.asarray(weight / weight.max(), dtype=np.float32)


def predict_tiles(
    network: Network,
    image_CZYX: NDArray[np.float32],
    *,
    patch: Triple,
    channels: Sequence[int],
    settings: PredictionSettings,
    device: torch.device,
) -> NDArray[np.float32]:
    """Predict a whole volume tile by tile.

    Args:
        network: see `Network`; already in eval mode and on `device`.
        image_CZYX: the normalised image; it is padded with 0 on both sides to at least a patch.
        patch: voxels of a tile (z, y, x).
        channels: output channels to keep, in the order wanted.
        settings: step, batch of tiles and mirroring.
        device: where the network computes; in half precision on a GPU.

    Returns:
        Probabilities (K, Z, Y, X) on the image's grid, K = number of `channels`.
    """
    shape = image_CZYX.shape[1:]
    missing = [max(side - size, 0) for side, size in zip(patch, shape, strict=True)]
    below = [n // 2 for n in missing]
    padding = [(n // 2, n - n // 2) for n in missing]
    padded_CZYX = torch.from_numpy(np.pad(image_CZYX, [(0, 0), *padding]))
    padded_shape = padded_CZYX.shape[1:]

    corners = list(itertools.product(*steps(padded_shape, patch, settings.step)))
    weight_DHW = torch.from_numpy(gaussian(patch)) if len(corners) > 1 else torch.ones(patch)
    sum_KZYX = torch.zeros((len(channels), *padded_shape))
    weight_ZYX = torch.zeros(padded_shape)
    kept = torch.as_tensor(list(channels), device=device)
    with (
        torch.inference_mode(),
        torch.autocast(device.type, dtype=_half(device), enabled=device.type == "cuda"),
    ):
        for batch in _batches(corners, settings.tile_batch):
            boxes = [tuple(slice(c, c + p) for c, p in zip(at, patch, strict=True)) for at in batch]
            tiles_BCDHW = torch.stack([padded_CZYX[(slice(None), *box)] for box in boxes])
            scores_BKDHW = _mirrored(network, tiles_BCDHW.to(device), kept, settings.mirror_axes)
            for box, scores_KDHW in zip(boxes, scores_BKDHW.cpu(), strict=True):
                sum_KZYX[(slice(None), *box)] += scores_KDHW * weight_DHW
                weight_ZYX[box] += weight_DHW
    sum_KZYX /= weight_ZYX
    inside = tuple(slice(low, low + size) for low, size in zip(below, shape, strict=True))
    return sum_KZYX[(slice(None), *inside)].numpy()


def _half(device: torch.device) -> torch.dtype:
    """Return bfloat16, whose range cannot overflow, where the GPU computes it fast."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        return torch.float16
    return torch.bfloat16


def _batches(corners: list[tuple[int, ...]], size: int) -> Iterator[list[tuple[int, ...]]]:
    for first in range(0, len(corners), size):
        yield corners[first : first + size]


def _mirrored(network: Network, tiles_BCDHW: Tensor, kept: Tensor, axes: Sequence[int]) -> Tensor:
    """Return the mean probability over all combinations of mirrored axes, in float32."""
    total_BKDHW: Tensor | None = None
    flips = [
        [axis + 2 for axis in chosen]
        for count in range(len(axes) + 1)
        for chosen in itertools.combinations(axes, count)
    ]
    for dims in flips:
        logits_BKDHW = network(tiles_BCDHW.flip(dims)).index_select(1, kept)
        scores_BKDHW = logits_BKDHW.float().sigmoid().flip(dims)
        total_BKDHW = scores_BKDHW if total_BKDHW is None else total_BKDHW + scores_BKDHW
    assert total_BKDHW is not None
    return total_BKDHW / len(flips)
