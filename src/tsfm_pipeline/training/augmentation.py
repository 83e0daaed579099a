"""nnU-Net v1's 'moreDA' augmentation through batchgeneratorsv2, one sample at a time.

Probabilities and ranges are those of nnU-Net v1.7.1 (`setup_DA_params`, `get_moreDA_augmentation`).
Stated choices: rotation and scaling interpolate images linearly (order 1; v1: 3) and labels by
nearest neighbour (order 0, as MultiTalent; nnU-Net: 1); low resolution is simulated with
nearest-neighbour down- and linear up-sampling (v1: order 0 down, 3 up). With thick slices
(`dummy_2d_axis`) v1 rotates within them by any angle, and neither scales nor coarsens across them.

All draws come from the global torch and numpy generators; the caller seeds them per sample.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from torch import Tensor
from torch.nn import functional as F

from tsfm_pipeline.imaging.geometry import Triple
from tsfm_pipeline.imaging.labels import LEFT_RIGHT, OUTSIDE, LabelTable
from tsfm_pipeline.model.training_settings import AugmentationSettings

ROTATION = math.radians(30)
BLUR_REACH = 3
"""Voxels that batchgeneratorsv2's kernel reaches to each side, at most; it needs one more."""
LOADED_SCALE = 0.85
"""v1 sizes the enlarged patch with this scale, although it then draws 0.7 to 1.4."""


class Augmentation:
    """Varies one sample and cuts it to the training patch.

    Args:
        settings: which transforms, which mirror axes.
        patch: voxels (z, y, x) of the result.
        table: names the targets; their sides are read off `left` and `right` in the names.
        regions: what the network predicts; it is never shown mirrored anatomy if any of it has a
            side, unless sides are swapped.

    Attributes:
        settings: as given.
        enlarged: voxels (z, y, x) of the sample to hand in, so that rotated corners hold image.
    """

    def __init__(
        self,
        settings: AugmentationSettings,
        patch: Triple,
        table: LabelTable,
        regions: Sequence[str],
    ) -> None:
        self.settings = settings
        full, across = settings.transforms == "full", settings.dummy_2d_axis
        self.enlarged = enlarged_patch(patch, across) if full else patch
        self._transforms: list[BasicTransform | _WithinSlices] = []
        if full:
            self._transforms.append(_spatial(patch, across))
        if settings.transforms != "none":
            self._transforms += _intensity(filters=full, across=across)
        self._partners = table.side_partners()
        self._swap = swap_table(table)
        predicted = {name for region in regions for name in table.region_targets(region)}
        self._mirror_axes: list[int] = [
            axis
            for axis in settings.mirror_axes
            if axis != LEFT_RIGHT
            or settings.left_right == "swap"
            or not predicted & self._partners.keys()
        ]

    def __call__(
        self, image_CDHW: Tensor, labels_DHW: Tensor, annotated: tuple[str, ...], masked: bool
    ) -> tuple[Tensor, Tensor]:
        """Return a varied image (C, *patch) and labels (*patch).

        Args:
            image_CDHW: normalised image of the enlarged patch, float32; may be written to.
            labels_DHW: stored integers, uint8.
            annotated: targets that the case annotates; they decide on left-right mirroring.
            masked: the image was normalised inside its nonzero mask only: what is OUTSIDE is
                set back to 0.
        """
        sample = {"image": image_CDHW, "segmentation": labels_DHW[None]}
        for transform in self._transforms:
            sample = transform(**sample)
        image_CDHW, labels_DHW = sample["image"], sample["segmentation"][0]
        chosen = (torch.rand(3) < 0.5).tolist()
        image_CDHW, labels_DHW = self.mirror(
            image_CDHW, labels_DHW, chosen, swappable=self.swappable(annotated)
        )
        if masked:
            image_CDHW = image_CDHW.masked_fill(labels_DHW == OUTSIDE, 0.0)
        return image_CDHW, labels_DHW

    def swappable(self, annotated: tuple[str, ...]) -> bool:
        """Tell whether a case may be mirrored left-right: no side it annotates lacks its pair."""
        return all(
            self._partners[name] in annotated for name in annotated if name in self._partners
        )

    def mirror(
        self, image_CDHW: Tensor, labels_DHW: Tensor, chosen: list[bool], *, swappable: bool
    ) -> tuple[Tensor, Tensor]:
        """Flip the chosen ones of the mirror axes; left and right targets change names with x."""
        axes = [axis for axis in self._mirror_axes if chosen[axis]]
        if LEFT_RIGHT in axes and not swappable:
            axes.remove(LEFT_RIGHT)
        if LEFT_RIGHT in axes and self.settings.left_right == "swap":
            labels_DHW = self._swap.to(labels_DHW.device)[labels_DHW.int()]
        return image_CDHW.flip([axis + 1 for axis in axes]), labels_DHW.flip(axes)


def enlarged_patch(patch: Triple, across: int | None = None) -> Triple:
    """Return the box that v1 loads for a patch: its corner rotated by 30 degrees, over 0.85.

    After `default_data_augmentation.py:get_patch_size`, with its one-sided rotations. Within slices
    it rotates by 90 degrees and loads no slice more.

    Args:
        patch: voxels (z, y, x).
        across: axis across thick slices; None has none.
    """
    if across is not None:
        side = int(max(side for axis, side in enumerate(patch) if axis != across) / LOADED_SCALE)
        within = [patch[across] if axis == across else side for axis in range(3)]
        return (within[0], within[1], within[2])
    corner = np.array(patch, float)
    cosine, sine = math.cos(ROTATION), math.sin(ROTATION)
    largest = corner.copy()
    for first, second, sign in ((1, 2, 1), (0, 2, -1), (0, 1, 1)):
        rotated = corner.copy()
        rotated[first] = cosine * corner[first] + sign * sine * corner[second]
        rotated[second] = cosine * corner[second] - sign * sine * corner[first]
        largest = np.maximum(largest, np.abs(rotated))
    size = (largest / LOADED_SCALE).astype(int)
    return (int(size[0]), int(size[1]), int(size[2]))


def swap_table(table: LabelTable) -> Tensor:
    """Return a lookup (256,) uint8 that exchanges the integers of left and right targets."""
    lookup = torch.arange(256, dtype=torch.uint8)
    for name, partner in table.side_partners().items():
        if partner in table.targets:
            lookup[table.id_of(name)] = table.id_of(partner)
    return lookup


class _WithinSlices:
    """A transform of planes that does the same to every slice across an axis: they are channels."""

    def __init__(self, transform: BasicTransform, across: int) -> None:
        self._transform = transform
        self._across = across

    def __call__(self, image: Tensor, segmentation: Tensor) -> dict[str, Tensor]:
        """Transform an image and its labels, both (C, D, H, W)."""
        planes = self._transform(image=self._planes(image), segmentation=self._planes(segmentation))
        return {
            "image": self._volume(planes["image"], len(image)),
            "segmentation": self._volume(planes["segmentation"], len(segmentation)),
        }

    def _planes(self, volume_CDHW: Tensor) -> Tensor:
        return volume_CDHW.movedim(self._across + 1, 1).flatten(0, 1)

    def _volume(self, planes: Tensor, channels: int) -> Tensor:
        slices = planes.reshape(channels, -1, *planes.shape[1:])
        return slices.movedim(1, self._across + 1)


class _WithRims:
    """A blur that takes axes shorter than its kernel, too: their last voxels are repeated."""

    def __init__(self, blur: BasicTransform) -> None:
        self._blur = blur

    def __call__(self, image: Tensor, segmentation: Tensor) -> dict[str, Tensor]:
        """Blur an image (C, D, H, W); the labels stay."""
        shape = image.shape[1:]
        rims = [max(BLUR_REACH + 1 - size, 0) for size in shape]
        if any(rims):
            padding = [rim for rim in reversed(rims) for _ in range(2)]
            image = F.pad(image[None], padding, mode="replicate")[0]
        blurred: Tensor = self._blur(image=image)["image"]
        inside = tuple(slice(rim, rim + size) for rim, size in zip(rims, shape, strict=True))
        return {"image": blurred[:, *inside], "segmentation": segmentation}


def _spatial(patch: Triple, across: int | None) -> BasicTransform | _WithinSlices:
    if across is not None:
        plane = [side for axis, side in enumerate(patch) if axis != across]
        return _WithinSlices(_rotated_and_scaled(plane, math.pi), across)
    return _rotated_and_scaled(patch, ROTATION)


def _rotated_and_scaled(shape: Sequence[int], rotation: float) -> BasicTransform:
    """Cut a volume or a plane of some shape from the middle, rotated and scaled."""
    return SpatialTransform(
        shape,
        patch_center_dist_from_border=0,
        random_crop=False,
        p_rotation=0.2,
        rotation=(-rotation, rotation),
        p_scaling=0.2,
        scaling=BGContrast((0.7, 1.4)),
        p_synchronize_scaling_across_axes=1,
        mode_seg="nearest",
        border_mode_seg="constant",
        padding_value_seg=OUTSIDE,
    )


def _intensity(*, filters: bool, across: int | None) -> list[BasicTransform]:
    """nnU-Net's intensity transforms in its order; `filters` includes blur and low resolution."""
    noise = GaussianNoiseTransform((0, 0.1), synchronize_channels=True)
    # benchmark=True would choose the algorithm by timing it: not reproducible
    blur = GaussianBlurTransform((0.5, 1.0), synchronize_axes=True, p_per_channel=0.5)
    brightness = MultiplicativeBrightnessTransform((0.75, 1.25), synchronize_channels=False)
    contrast = ContrastTransform(
        BGContrast((0.75, 1.25)), preserve_range=True, synchronize_channels=False
    )
    low_resolution = SimulateLowResolutionTransform(
        (0.5, 1.0),
        synchronize_channels=False,
        synchronize_axes=True,
        ignore_axes=None if across is None else (across,),
        p_per_channel=0.5,
    )
    gamma_inverted, gamma = (
        GammaTransform(
            BGContrast((0.7, 1.5)),
            p_invert_image=inverted,
            synchronize_channels=False,
            p_per_channel=1,
            p_retain_stats=1,
        )
        for inverted in (1, 0)
    )
    listed = [
        (noise, 0.1, True),
        (_WithRims(blur), 0.2, filters),
        (brightness, 0.15, True),
        (contrast, 0.15, True),
        (low_resolution, 0.25, filters),
        (gamma_inverted, 0.1, True),
        (gamma, 0.3, True),
    ]
    return [RandomTransform(transform, p) for transform, p, wanted in listed if wanted]
