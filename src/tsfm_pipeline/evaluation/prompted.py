"""SAM-Med3D's published evaluation: crop and clicks come from the ground truth.

After uni-medical/SAM-Med3D, utils/infer_utils.py (validate_paired_img_gt). The scores say how well
a network outlines what somebody points at. They are not comparable with those of a network that has
to find the target itself, so every row carries the protocol `metrics.PROMPTED`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tsfm_pipeline.evaluation.metrics import PROMPTED, Row, score_masks
from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.imaging.geometry import TripleFloat
from tsfm_pipeline.imaging.labels import LabelTable

SPACING_MM = 1.5
SIDE = 128
SEED = 233

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]


class PromptError(ValueError):
    """A case that the protocol cannot be applied to."""


@dataclass(frozen=True)
class Click:
    """One simulated click.

    Attributes:
        position: voxel (z, y, x) of the crop.
        positive: whether it marks missed target (else: what was wrongly included).
    """

    position: tuple[int, int, int]
    positive: bool


Segmenter = Callable[[Volume, Sequence[Click], Volume | None], Volume]
"""(image crop, all clicks so far, logits of the previous call or None) -> logits; all volumes are
SIDE^3 float32 in (z, y, x). A network that is fed smaller masks resizes them itself."""


@dataclass(frozen=True)
class PromptedPrediction:
    """What the protocol made of one target.

    Attributes:
        mask: the prediction on the original grid (z, y, x).
        clicks: those that were given; fewer than asked for once nothing is wrong.
        outside_crop: fraction of the reference, at 1.5 mm, that the crop cuts off and that can
            never be predicted; NaN when nothing of it is left at 1.5 mm.
    """

    mask: Mask
    clicks: tuple[Click, ...]
    outside_crop: float


def predict_prompted(
    image_ZYX: NDArray[np.floating],
    reference_ZYX: Mask,
    spacing: TripleFloat,
    segmenter: Segmenter,
    clicks: int = 1,
) -> PromptedPrediction:
    """Segment one target as SAM-Med3D is evaluated.

    The image is resampled to 1.5 mm (linear; the reference nearest), cropped or zero-padded to
    128^3 around the middle of the reference's bounding box, and z-scored over its voxels > 0.
    Each click is a random voxel of the current error region; the previous logits are fed back. The
    last logits, sigmoid > 0.5, come back to the original grid by nearest neighbour.

    Args:
        image_ZYX: one channel.
        reference_ZYX: the target's true mask. Empty: nothing to point at, an empty prediction.
        spacing: mm (z, y, x).
        segmenter: the network.
        clicks: rounds; SAM-Med3D's published 1. The drawn voxels depend on the masks alone.

    Raises:
        PromptError: the crop has no two different values above 0.
    """
    to_fine = [
        _nearest(int(np.ceil(size * mm / SPACING_MM)), SPACING_MM / mm, size)
        for size, mm in zip(reference_ZYX.shape, spacing, strict=True)
    ]
    fine_reference = reference_ZYX[np.ix_(*to_fine)]
    found = ndimage.find_objects(fine_reference.astype(np.uint8))
    if not found:
        return PromptedPrediction(np.zeros_like(reference_ZYX), (), float("nan"))
    start = [(part.start + part.stop) // 2 - SIDE // 2 for part in found[0]]
    crop_reference = _crop(fine_reference, start)
    image = _normalised(_sample(image_ZYX, start, fine_reference.shape, spacing))

    generator = np.random.default_rng(SEED)
    given: list[Click] = []
    logits: Volume | None = None
    predicted = np.zeros_like(crop_reference)
    for _ in range(clicks):
        wrong = np.argwhere(crop_reference != predicted)
        if not len(wrong):
            break
        z, y, x = (int(i) for i in wrong[generator.integers(len(wrong))])
        given.append(Click((z, y, x), positive=bool(crop_reference[z, y, x])))
        logits = segmenter(image, tuple(given), logits)
        predicted = logits > 0  # sigmoid > 0.5

    fine = np.zeros_like(fine_reference)
    _crop_into(fine, predicted, start)
    from_fine = [
        _nearest(size, mm / SPACING_MM, fine_size)
        for size, mm, fine_size in zip(reference_ZYX.shape, spacing, fine.shape, strict=True)
    ]
    outside = 1 - np.count_nonzero(crop_reference) / np.count_nonzero(fine_reference)
    return PromptedPrediction(fine[np.ix_(*from_fine)], tuple(given), float(outside))


def score_prompted(
    image_ZYX: NDArray[np.floating],
    reference_ZYX: NDArray[np.uint8],
    regions: Sequence[str],
    table: LabelTable,
    spacing: TripleFloat,
    segmenter: Segmenter,
    settings: EvaluationSettings,
    clicks: int = 1,
) -> list[Row]:
    """Predict and score every region of a case with prompts from its reference.

    Args:
        image_ZYX: one channel.
        reference_ZYX: fused label integers on the same grid.
        regions: the regions that the case annotates.
        table: says which integers a region joins.
        spacing: mm (z, y, x).
        segmenter: the network.
        settings: tolerance, and which regions are tumours.
        clicks: per region.

    Returns:
        Rows as of `metrics.score_case`, and `protocol` and `reference_outside_crop`. A region
        that the case does not contain is never prompted, hence never a false positive.
    """
    rows: list[Row] = []
    for region in regions:
        reference = np.isin(reference_ZYX, table.region_ids(region))
        prediction = predict_prompted(image_ZYX, reference, spacing, segmenter, clicks)
        name = table.plain_name(region)
        rows.append(
            {
                "target": name,
                "protocol": PROMPTED,
                **score_masks(reference, prediction.mask, spacing, settings, name),
                "reference_outside_crop": prediction.outside_crop,
            }
        )
    return rows


def _nearest(size: int, step: float, old_size: int) -> NDArray[np.intp]:
    """Return the old voxel in which each new voxel's centre lies; new voxels are `step` old ones.

    Both grids begin at the same edge.
    """
    centres = (np.arange(size) + 0.5) * step
    return np.asarray(np.clip(np.floor(centres), 0, old_size - 1), np.intp)


def _sample(
    image_ZYX: NDArray[np.floating],
    start: Sequence[int],
    fine_shape: Sequence[int],
    spacing: TripleFloat,
) -> Volume:
    """Sample the crop at 1.5 mm linearly from the image; 0 outside the image."""
    steps = SPACING_MM / np.asarray(spacing)
    sampled = ndimage.affine_transform(
        np.asarray(image_ZYX, np.float32),
        steps,
        offset=(np.asarray(start) + 0.5) * steps - 0.5,
        output_shape=(SIDE,) * 3,
        order=1,
        mode="nearest",
    )
    inside = np.zeros((SIDE,) * 3, bool)
    _, window = _overlap(fine_shape, start)
    inside[window] = True
    return np.where(inside, sampled, np.float32(0))


def _normalised(image: Volume) -> Volume:
    values = image[image > 0]
    if values.size < 2 or values.min() == values.max():
        raise PromptError(
            f"the crop around the target has {values.size} voxels above 0, all alike, so"
            " SAM-Med3D's normalisation is undefined; shift the intensities above 0 first"
        )
    # The sample standard deviation, as torch's.
    return np.asarray((image - values.mean()) / values.std(ddof=1), np.float32)


def _crop(volume: Mask, start: Sequence[int]) -> Mask:
    crop = np.zeros((SIDE,) * 3, bool)
    place, window = _overlap(volume.shape, start)
    crop[window] = volume[place]
    return crop


def _crop_into(volume: Mask, crop: Mask, start: Sequence[int]) -> None:
    place, window = _overlap(volume.shape, start)
    volume[place] = crop[window]


def _overlap(
    shape: Sequence[int], start: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return where a window that starts at `start` lies in a volume, and the same in the window."""
    lower = [max(0, begin) for begin in start]
    upper = [min(size, begin + SIDE) for size, begin in zip(shape, start, strict=True)]
    place = tuple(slice(low, high) for low, high in zip(lower, upper, strict=True))
    window = tuple(
        slice(low - begin, high - begin)
        for low, high, begin in zip(lower, upper, start, strict=True)
    )
    return place, window
