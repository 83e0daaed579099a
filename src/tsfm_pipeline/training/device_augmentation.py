"""The augmentation list of `augmentation.py`, for a batch on the device that trains.

Same transforms, order, probabilities and ranges, as tensor operations: loader processes only read.
A sample's draws come from its own seed, so they depend on neither workers nor batch.

Shape suffixes: B batch, C image channels, D/H/W voxels along z, y, x.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tsfm_pipeline.imaging.geometry import Triple
from tsfm_pipeline.imaging.labels import OUTSIDE
from tsfm_pipeline.training.augmentation import ROTATION, Augmentation

BLUR_RADIUS = 4
"""Voxels on each side of the blur's kernel: 4 of the largest standard deviation."""


class DeviceAugmentation:
    """Varies a batch and cuts it to the training patch.

    Args:
        augmentation: the same for single samples; gives sides, mirror axes and settings.
        patch: voxels (z, y, x) of the result.
    """

    def __init__(self, augmentation: Augmentation, patch: Triple) -> None:
        self._augmentation = augmentation
        self._patch = patch
        self._filters = augmentation.settings.transforms == "full"
        self._intensity = augmentation.settings.transforms != "none"
        self._across = augmentation.settings.dummy_2d_axis

    def __call__(
        self,
        image_BCDHW: Tensor,
        labels_BDHW: Tensor,
        seeds_B: Tensor,
        masked_B: Tensor,
        swappable_B: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return varied images (B, C, *patch) and labels (B, *patch).

        Args:
            image_BCDHW: normalised images of the enlarged patch, float32.
            labels_BDHW: stored integers, uint8.
            seeds_B: one seed per sample, int64, on the CPU.
            masked_B: which images were normalised inside their nonzero mask only: what is
                OUTSIDE is set back to 0. On the CPU.
            swappable_B: which samples may be mirrored left-right. On the CPU.
        """
        images, labels = [], []
        for image_CDHW, labels_DHW, seed, masked, swappable in zip(
            image_BCDHW,
            labels_BDHW,
            seeds_B.tolist(),
            masked_B.tolist(),
            swappable_B.tolist(),
            strict=True,
        ):
            varied_CDHW, varied_DHW = self._vary(image_CDHW, labels_DHW, seed, swappable)
            if masked:
                varied_CDHW = varied_CDHW.masked_fill(varied_DHW == OUTSIDE, 0.0)
            images.append(varied_CDHW)
            labels.append(varied_DHW)
        return torch.stack(images), torch.stack(labels)

    def _vary(
        self, image_CDHW: Tensor, labels_DHW: Tensor, seed: int, swappable: bool
    ) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng(seed)
        image_CDHW, labels_DHW = self._place(image_CDHW, labels_DHW, rng)
        if self._intensity:
            image_CDHW = self._change_intensity(image_CDHW, rng)
        return self._augmentation.mirror(
            image_CDHW, labels_DHW, (rng.random(3) < 0.5).tolist(), swappable=swappable
        )

    def _place(
        self, image_CDHW: Tensor, labels_DHW: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Cut the patch from the middle, rotated (p 0.2) and scaled (p 0.2)."""
        shape = labels_DHW.shape
        lower = [(size - side) // 2 for size, side in zip(shape, self._patch, strict=True)]
        rotated, scaled = (rng.random(2) < 0.2) & self._filters
        if not (rotated or scaled):
            box = tuple(
                slice(low, low + side) for low, side in zip(lower, self._patch, strict=True)
            )
            return image_CDHW[(slice(None), *box)], labels_DHW[box]
        matrix = np.eye(3)
        if rotated:
            matrix = _rotation(*self._angles(rng))
        if scaled:
            scales = np.full(3, _two_sided(rng, 0.7, 1.4))
            if self._across is not None:
                scales[self._across] = 1
            matrix = matrix * scales
        grid_1DHW3 = self._grid(matrix, lower, shape, image_CDHW)
        image_1CDHW = F.grid_sample(image_CDHW[None], grid_1DHW3, align_corners=True)
        # outside the volume the sampler gives 0: labels are counted from OUTSIDE downwards
        codes_DHW = (OUTSIDE - labels_DHW.int()).to(image_CDHW.dtype)
        codes_11DHW = F.grid_sample(
            codes_DHW[None, None], grid_1DHW3, mode="nearest", align_corners=True
        )
        return image_1CDHW[0], (OUTSIDE - codes_11DHW[0, 0].round().int()).to(torch.uint8)

    def _angles(self, rng: np.random.Generator) -> np.ndarray:
        """Draw the angles about z, y, x in radians; slices are turned in their plane alone."""
        if self._across is None:
            return rng.uniform(-ROTATION, ROTATION, 3)
        angles = np.zeros(3)
        angles[self._across] = rng.uniform(-math.pi, math.pi)
        return angles

    def _grid(
        self, matrix: np.ndarray, lower: list[int], shape: torch.Size, like: Tensor
    ) -> Tensor:
        """Return where each voxel of the patch comes from, as `grid_sample` counts: x, y, z."""
        offsets = [
            torch.arange(side, device=like.device, dtype=like.dtype) - (side - 1) / 2
            for side in self._patch
        ]
        offset_DHW3 = torch.stack(torch.meshgrid(*offsets, indexing="ij"), -1)
        source_DHW3 = offset_DHW3 @ like.new_tensor(matrix).T
        centre_3 = like.new_tensor(
            [low + (side - 1) / 2 for low, side in zip(lower, self._patch, strict=True)]
        )
        last_3 = like.new_tensor([max(size - 1, 1) for size in shape])
        return ((source_DHW3 + centre_3) / last_3 * 2 - 1).flip(-1)[None]

    def _change_intensity(self, image_CDHW: Tensor, rng: np.random.Generator) -> Tensor:
        """Apply the intensity transforms in nnU-Net's order."""
        # every number is drawn whether it is used or not: one draw never shifts another
        chosen = rng.random(7)
        noise_seed, deviation = int(rng.integers(2**62)), rng.uniform(0, 0.1)
        if chosen[0] < 0.1:
            generator = torch.Generator(image_CDHW.device).manual_seed(noise_seed)
            noise_CDHW = torch.empty_like(image_CDHW).normal_(0, deviation, generator=generator)
            image_CDHW = image_CDHW + noise_CDHW
        steps: list[tuple[float, Callable[[], Callable[[Tensor], Tensor]], float, bool]] = [
            (0.2, lambda: _blur(rng.uniform(0.5, 1.0)), 0.5, self._filters),
            (0.15, lambda: _multiply(rng.uniform(0.75, 1.25)), 1.0, True),
            (0.15, lambda: _contrast(_two_sided(rng, 0.75, 1.25)), 1.0, True),
            (0.25, lambda: _coarsen(rng.uniform(0.5, 1.0), self._across), 0.5, self._filters),
            (0.1, lambda: _gamma(_two_sided(rng, 0.7, 1.5), inverted=True), 1.0, True),
            (0.3, lambda: _gamma(_two_sided(rng, 0.7, 1.5), inverted=False), 1.0, True),
        ]
        for number, (probability, draw, per_channel, wanted) in zip(chosen[1:], steps, strict=True):
            changes = [draw() for _ in image_CDHW]
            used = rng.random(len(changes)) < per_channel
            if not wanted or number >= probability:
                continue
            image_CDHW = torch.stack(
                [
                    change(channel_DHW) if use else channel_DHW
                    for change, use, channel_DHW in zip(changes, used, image_CDHW, strict=True)
                ]
            )
        return image_CDHW


def _two_sided(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw from [low, 1] or [1, high], each with probability 0.5."""
    return float(rng.uniform(low, 1) if rng.random() < 0.5 else rng.uniform(1, high))


def _rotation(about_z: float, about_y: float, about_x: float) -> np.ndarray:
    """Return the rotation of (z, y, x) offsets by three angles in radians."""
    total = np.eye(3)
    for axis, angle in enumerate((about_z, about_y, about_x)):
        first, second = (other for other in range(3) if other != axis)
        one = np.eye(3)
        one[first, first] = one[second, second] = math.cos(angle)
        one[first, second], one[second, first] = -math.sin(angle), math.sin(angle)
        total = total @ one
    return total


def _blur(deviation: float) -> Callable[[Tensor], Tensor]:
    """Return a Gaussian blur, its standard deviation in voxels; edges are reflected."""

    def change(channel_DHW: Tensor) -> Tensor:
        distance = torch.arange(
            -BLUR_RADIUS, BLUR_RADIUS + 1, device=channel_DHW.device, dtype=channel_DHW.dtype
        )
        kernel = torch.exp(-0.5 * (distance / deviation) ** 2)
        blurred = channel_DHW[None, None]
        for axis in range(3):
            radius = min(BLUR_RADIUS, blurred.shape[2 + axis] - 1)
            cut = kernel[BLUR_RADIUS - radius : BLUR_RADIUS + radius + 1]
            cut = cut / cut.sum()
            padding = [0] * 6
            padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = radius
            shape = [1] * 5
            shape[2 + axis] = len(cut)
            blurred = F.conv3d(F.pad(blurred, padding, mode="reflect"), cut.view(shape))
        return blurred[0, 0]

    return change


def _multiply(factor: float) -> Callable[[Tensor], Tensor]:
    return lambda channel_DHW: channel_DHW * factor


def _contrast(factor: float) -> Callable[[Tensor], Tensor]:
    """Return a stretch about the mean, kept within the old range."""

    def change(channel_DHW: Tensor) -> Tensor:
        low, high = channel_DHW.aminmax()
        mean = channel_DHW.mean()
        return ((channel_DHW - mean) * factor + mean).clamp(low, high)

    return change


def _coarsen(zoom: float, across: int | None) -> Callable[[Tensor], Tensor]:
    """Return sampling at a lower resolution (nearest) and back (linear), none across slices."""

    def change(channel_DHW: Tensor) -> Tensor:
        coarse = [
            size if axis == across else max(round(size * zoom), 1)
            for axis, size in enumerate(channel_DHW.shape)
        ]
        small = F.interpolate(channel_DHW[None, None], coarse, mode="nearest-exact")
        return F.interpolate(small, channel_DHW.shape, mode="trilinear")[0, 0]

    return change


def _gamma(exponent: float, *, inverted: bool) -> Callable[[Tensor], Tensor]:
    """Return a power of the range-scaled image that keeps mean and standard deviation."""

    def change(channel_DHW: Tensor) -> Tensor:
        sign = -1 if inverted else 1
        given_DHW = sign * channel_DHW
        mean, deviation = given_DHW.mean(), given_DHW.std()
        low, high = given_DHW.aminmax()
        span = (high - low).clamp(min=1e-7)
        powered_DHW = ((given_DHW - low) / span) ** exponent * span + low
        centred_DHW = powered_DHW - powered_DHW.mean()
        return sign * (centred_DHW * (deviation / powered_DHW.std().clamp(min=1e-8)) + mean)

    return change
