"""Sliding-window prediction as nnU-Net v1 does it, with the tiles batched.

After nnU-Net v1.7.1 `network_architecture/neural_network.py`: evenly spread steps, a Gaussian
weight per tile, probabilities (not logits) averaged. Tiles form a grid and the Gaussian is a
product of one factor per axis, so the sum of all weights at a voxel is a product, too: each tile
is weighted by its final share at once, and nothing is divided at the end. What is summed stays
within 0..1, where half precision does not overflow.

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
from tqdm import tqdm

from tsfm_pipeline.imaging.geometry import Triple
from tsfm_pipeline.imaging.labels import LEFT_RIGHT
from tsfm_pipeline.inference.placement import PlacementError, place_scores
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.memory import available_memory

Network = Callable[[Tensor], Tensor]
"""Maps tiles (B, C, D, H, W) to logits (B, all regions, D, H, W)."""
TileBox = tuple[slice, ...]
"""The voxels (z, y, x) of a tile in the padded volume."""


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


def gaussian(side: int) -> NDArray[np.float64]:
    """Return the weight of a tile's voxels along one axis: 1 in the middle, never 0.

    A unit impulse at side // 2 filtered with sigma = side / 8, divided by its maximum. The product
    over the axes is nnU-Net's `_get_gaussian`. The filter reaches 4 sigma, half a patch, so it
    leaves no zero to be raised.
    """
    impulse = np.zeros(side)
    impulse[side // 2] = 1.0
    weight = gaussian_filter(impulse, side / 8, mode="constant", cval=0)
    return np.asarray(weight / weight.max())


def shares(starts: Sequence[int], side: int, size: int) -> dict[int, NDArray[np.float32]]:
    """Return, along one axis, the share of each tile in each of its voxels.

    Args:
        starts: first voxels of the tiles.
        side: voxels of a tile.
        size: voxels of the padded volume.

    Returns:
        Start -> weights (side,); those of all tiles sum to 1 in every voxel.
    """
    weight = gaussian(side)
    total = np.zeros(size)
    for start in starts:
        total[start : start + side] += weight
    return {start: (weight / total[start : start + side]).astype(np.float32) for start in starts}


def predict_tiles(
    network: Network,
    image_CZYX: NDArray[np.float32],
    *,
    patch: Triple,
    channels: Sequence[int],
    other_sides: Sequence[int] | None = None,
    settings: InferenceSettings,
    device: torch.device,
    air: float = -math.inf,
) -> NDArray[np.floating]:
    """Predict a whole volume tile by tile.

    The memory for the result is found and taken before the first tile.

    Args:
        network: see `Network`; already in eval mode and on `device`.
        image_CZYX: the normalised image; it is padded with 0 on both sides to at least a patch.
        patch: voxels of a tile (z, y, x).
        channels: output channels to keep, in the order wanted.
        other_sides: those that hold the same anatomy in a tile mirrored left-right (the right
            kidney's channel for the left one's); None where nothing has a side.
        settings: step, batch of tiles, mirroring and whether to skip air.
        device: where the network computes; in half precision on a GPU.
        air: normalised intensity that anatomy exceeds; see `is_air`.

    Returns:
        Probabilities (K, Z, Y, X) on the image's grid, K = number of `channels`; in float32, or in
        float16 where main memory has no room for that.

    Raises:
        PlacementError: the result, or a batch of tiles, fits into no memory, or does not any more.
    """
    shape = image_CZYX.shape[1:]
    missing = [max(side - size, 0) for side, size in zip(patch, shape, strict=True)]
    below = [n // 2 for n in missing]
    padding = [(n // 2, n - n // 2) for n in missing]
    padded_CZYX = torch.from_numpy(np.pad(image_CZYX, [(0, 0), *padding]))
    padded_shape = padded_CZYX.shape[1:]

    starts = steps(padded_shape, patch, settings.step)
    share_z, share_y, share_x = (
        {at: torch.from_numpy(w).to(device) for at, w in shares(along, side, size).items()}
        for along, side, size in zip(starts, patch, padded_shape, strict=True)
    )
    boxes = [
        tuple(slice(c, c + side) for c, side in zip(corner, patch, strict=True))
        for corner in itertools.product(*starts)
    ]
    # of no channel, too, torch would take the numbers of none for floats
    kept = torch.tensor(list(channels), dtype=torch.int64, device=device)
    opposite = kept if other_sides is None else kept.new_tensor(list(other_sides))
    with (
        torch.inference_mode(),
        torch.autocast(device.type, dtype=_half(device), enabled=device.type == "cuda"),
    ):
        sums = (len(channels), *padded_shape)
        batch_shape = (settings.tile_batch, len(padded_CZYX), *patch)
        left = _left_by(network, batch_shape, kept)
        place = place_scores(sums, device, available_memory(), left)
        sum_KZYX = torch.zeros(sums, dtype=place.dtype, device=place.device)
        try:
            for batch in _batches(boxes, padded_CZYX, settings, air):
                tiles_BCDHW = torch.stack([padded_CZYX[(slice(None), *box)] for box in batch])
                scores_BKDHW = _mirrored(
                    network, tiles_BCDHW.to(device), kept, opposite, settings.mirror_axes
                )
                for box, scores_KDHW in zip(batch, scores_BKDHW, strict=True):
                    z, y, x = (part.start for part in box)
                    share_DHW = share_z[z][:, None, None] * share_y[y][:, None] * share_x[x]
                    sum_KZYX[(slice(None), *box)] += scores_KDHW.mul_(share_DHW).to(place.device)
        except torch.OutOfMemoryError as error:  # there was room before the first tile
            raise PlacementError(
                f"the GPU's memory ran out between two tiles ({error}); see with nvidia-smi what"
                " else uses it, and run again"
            ) from error
    inside = tuple(slice(low, low + size) for low, size in zip(below, shape, strict=True))
    return sum_KZYX[(slice(None), *inside)].cpu().numpy()


def is_air(tile_CDHW: Tensor, air: float) -> bool:
    """Tell whether a tile of a normalised image holds no anatomy.

    That is where each channel is one value throughout (padding of a reconstruction, MR outside
    its mask), or nothing exceeds `air` (for CT `intensity.AIR_HU`, and all that the clipping of
    intensities makes equal to it). It must hold for the whole tile, which is a patch in size.
    """
    lowest, highest = torch.aminmax(tile_CDHW.flatten(1), dim=1)
    return bool((lowest == highest).all() or (highest <= air).all())


def _batches(
    boxes: Sequence[TileBox], padded_CZYX: Tensor, settings: InferenceSettings, air: float
) -> Iterator[tuple[TileBox, ...]]:
    """Yield the boxes of tiles that go through the network together."""
    bar = tqdm(boxes, desc="Tiles", unit="tile", delay=5, leave=False, disable=None)
    wanted = (
        box
        for box in bar
        if not (settings.skip_air and is_air(padded_CZYX[(slice(None), *box)], air))
    )
    while batch := tuple(itertools.islice(wanted, settings.tile_batch)):
        yield batch


def _left_by(network: Network, shape: tuple[int, ...], kept: Tensor) -> int:
    """Return the bytes of the GPU that are free with the network at work; 0 on the CPU.

    One batch of zeros goes through it: torch keeps the memory that this took.
    """
    if kept.device.type != "cuda":
        return 0
    try:
        _mirrored(network, torch.zeros(shape, device=kept.device), kept, kept, axes=())
    except torch.OutOfMemoryError as error:
        fewer = "set inference.tile_batch to 1, or " if shape[0] > 1 else ""
        raise PlacementError(
            f"{shape[0]} tile(s) of {shape[2:]} voxels do not fit into the GPU's memory: {fewer}"
            "take a GPU with more, or the CPU (tsfm-predict --device cpu, predict.device: cpu)"
        ) from error
    return torch.cuda.mem_get_info(kept.device)[0]


def _half(device: torch.device) -> torch.dtype:
    """Return bfloat16, whose range cannot overflow, where the GPU computes it fast."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        return torch.float16
    return torch.bfloat16


def _mirrored(
    network: Network, tiles_BCDHW: Tensor, kept: Tensor, opposite: Tensor, axes: Sequence[int]
) -> Tensor:
    """Return the mean probability over all combinations of mirrored axes, in float32."""
    total_BKDHW: Tensor | None = None
    flips = [
        [axis + 2 for axis in chosen]
        for count in range(len(axes) + 1)
        for chosen in itertools.combinations(axes, count)
    ]
    for dims in flips:
        channels = opposite if LEFT_RIGHT + 2 in dims else kept
        logits_BKDHW = network(tiles_BCDHW.flip(dims)).index_select(1, channels)
        scores_BKDHW = logits_BKDHW.float().sigmoid().flip(dims)
        total_BKDHW = scores_BKDHW if total_BKDHW is None else total_BKDHW + scores_BKDHW
    assert total_BKDHW is not None
    return total_BKDHW / len(flips)
