"""nnU-Net's augmentation list: box sizes, sides, frequencies."""

import math

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform

from tests.training.conftest import TABLE
from tsfm_pipeline.imaging.geometry import Triple
from tsfm_pipeline.imaging.labels import OUTSIDE
from tsfm_pipeline.model.training_settings import AugmentationSettings
from tsfm_pipeline.training.augmentation import (
    Augmentation,
    _WithRims,
    enlarged_patch,
    swap_table,
)
from tsfm_pipeline.training.device_augmentation import DeviceAugmentation

KIDNEYS = ("kidney_right", "kidney_left")


@pytest.mark.parametrize(
    ("patch", "box"),
    [
        # printed by nnU-Net v1.7.1's get_patch_size(patch, 30 deg each way, scale (0.85, 1.25))
        ((48, 48, 48), (77, 77, 77)),
        ((128, 128, 128), (205, 205, 205)),
        ((112, 160, 192), (208, 275, 261)),
        ((40, 56, 40), (73, 80, 64)),
    ],
)
def test_enlarged_patch_is_nnunets(patch: Triple, box: Triple) -> None:
    assert enlarged_patch(patch) == box


@pytest.mark.parametrize(
    ("patch", "across", "box"),
    [
        # printed by the same function as v1 calls it with dummy_2D: the patch within slices,
        # 180 deg each way (which it takes for 90), scale (0.85, 1.25)
        ((28, 256, 256), 0, (28, 301, 301)),
        ((40, 224, 192), 0, (40, 263, 263)),
        ((160, 20, 192), 1, (225, 20, 225)),
        ((96, 128, 16), 2, (150, 150, 16)),
    ],
)
def test_enlarged_patch_of_thick_slices_is_nnunets(patch: Triple, across: int, box: Triple) -> None:
    assert enlarged_patch(patch, across) == box


@pytest.mark.parametrize("across", [0, 1, 2])
def test_thick_slices_are_turned_and_scaled_in_their_plane_alone(across: int) -> None:
    """Each slice has a number, and a spot whose way over its plane tells angle and scale."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    settings = AugmentationSettings(mirror_axes=(), dummy_2d_axis=across)  # type: ignore[arg-type]
    patch = tuple(6 if axis == across else 40 for axis in range(3))
    augmentation = Augmentation(settings, patch, TABLE, ("spleen",))  # type: ignore[arg-type]
    augmentation._transforms = augmentation._transforms[:1]
    assert augmentation.enlarged == tuple(6 if axis == across else 47 for axis in range(3))
    labels = (torch.arange(6)[:, None, None] + 10).byte().expand(6, 47, 47).clone()
    labels[:, 21:26, 32:37] = 3
    labels = labels.movedim(0, across)
    angles, reaches, count = [], [], 400
    for _ in range(count):
        _, varied = augmentation(labels[None].float(), labels, (), False)
        assert tuple(varied.shape) == patch
        for number, slice_HW in enumerate(varied.movedim(across, 0)):
            assert set(slice_HW.unique().tolist()) <= {3, number + 10, OUTSIDE}
        spot = (varied.movedim(across, 0)[0] == 3).nonzero().double().mean(0) - 19.5
        angles.append(math.degrees(math.atan2(spot[0], spot[1])))
        reaches.append(float(spot.norm()) / 11)
    turned = np.abs(angles) > 5
    assert turned.mean() == pytest.approx(0.2 * 175 / 180, abs=0.06)
    assert (np.abs(angles) > 90).sum() == pytest.approx(turned.sum() / 2, abs=25)
    scaled = np.abs(np.array(reaches) - 1) > 0.08
    assert 0.08 < scaled.mean() < 0.22
    assert min(reaches) > 0.6 and max(reaches) < 1.55  # 1 / 1.4 to 1 / 0.7, and half a voxel


@pytest.mark.parametrize("across", [None, 0, 2])
def test_no_low_resolution_across_thick_slices(across: int | None) -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    settings = AugmentationSettings(dummy_2d_axis=across)  # type: ignore[arg-type]
    listed = Augmentation(settings, (8, 8, 8), TABLE, ("spleen",))._transforms
    (coarsen,) = (
        one.transform
        for one in listed
        if isinstance(one, RandomTransform)
        and isinstance(one.transform, SimulateLowResolutionTransform)
    )
    image = (torch.arange(12.0) ** 2)[:, None, None].expand(12, 12, 12).movedim(0, across or 0)
    changed = sum(not torch.equal(coarsen(image=image[None].clone())["image"][0], image)
                  for _ in range(40))  # fmt: skip
    assert (changed == 0) == (across is not None)


def _mirror_only(left_right: str, regions: tuple[str, ...]) -> Augmentation:
    settings = AugmentationSettings(transforms="none", left_right=left_right)  # type: ignore[arg-type]
    return Augmentation(settings, (4, 4, 4), TABLE, regions)


def _half_labelled() -> tuple[torch.Tensor, torch.Tensor]:
    """Right kidney (2) where x is low, left kidney (3) where x is high; image = x index."""
    labels = torch.tensor([2, 2, 3, 3]).byte().expand(4, 4, 4).contiguous()
    image = torch.arange(4.0).expand(1, 4, 4, 4).contiguous()
    return image, labels


def test_swap_exchanges_sides_when_left_right_is_mirrored() -> None:
    torch.manual_seed(0)
    augmentation, seen = _mirror_only("swap", KIDNEYS), set()
    for _ in range(40):
        image, labels = augmentation(*_half_labelled(), KIDNEYS, False)
        # the patient's right stays where x is low: mirrored anatomy with exchanged names
        assert labels[0, 0].tolist() == [2, 2, 3, 3]
        seen.add(tuple(image[0, 0, 0].tolist()))
    assert seen == {(0, 1, 2, 3), (3, 2, 1, 0)}


def test_swap_leaves_the_axis_out_where_a_partner_is_missing() -> None:
    torch.manual_seed(0)
    lungs = ("lung_upper_lobe_left", "lung_upper_lobe_right", "lung_middle_lobe_right")
    for annotated in ((*KIDNEYS, *lungs), ("kidney_right",)):
        for _ in range(30):
            image, labels = _mirror_only("swap", KIDNEYS)(*_half_labelled(), annotated, False)
            assert image[0, 0, 0].tolist() == [0, 1, 2, 3]
            assert labels[0, 0].tolist() == [2, 2, 3, 3]


def test_default_leaves_left_right_out_of_a_network_that_predicts_sides() -> None:
    torch.manual_seed(0)
    for annotated in (KIDNEYS, ("spleen",)):
        for _ in range(30):
            image, _ = _mirror_only("keep", (*KIDNEYS, "spleen"))(
                *_half_labelled(), annotated, False
            )
            assert image[0, 0, 0].tolist() == [0, 1, 2, 3]
    flipped = 0
    for _ in range(400):
        image, labels = _mirror_only("keep", ("spleen",))(*_half_labelled(), ("spleen",), False)
        flipped += image[0, 0, 0, 0] == 3
        assert (labels[0, 0, 0] == 3) == (image[0, 0, 0, 0] == 3)
    assert 160 < flipped < 240


def test_sides_are_read_off_the_names() -> None:
    partners = TABLE.side_partners()
    assert partners["kidney_left"] == "kidney_right"
    assert partners["lung_middle_lobe_right"] == "lung_middle_lobe_left"
    assert "liver" not in partners
    swap = swap_table(TABLE).tolist()
    assert (swap[2], swap[3], swap[13], swap[15]) == (3, 2, 15, 13)
    assert (swap[0], swap[5], swap[16], swap[OUTSIDE]) == (0, 5, 16, OUTSIDE)


def test_full_list_changes_samples_at_nnunets_rates() -> None:
    """A sample stays untouched with the product of the probabilities of doing nothing."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    settings = AugmentationSettings(mirror_axes=())
    augmentation = Augmentation(settings, (24, 24, 24), TABLE, ("spleen",))
    box = augmentation.enlarged
    image = torch.randn(1, *box)
    labels = torch.randint(0, 3, box).byte()
    lower = [(b - 24) // 2 for b in box]
    middle = tuple(slice(low, low + 24) for low in lower)
    same_image = same_labels = 0
    for _ in range(800):
        varied, varied_labels = augmentation(image.clone(), labels, ("spleen",), False)
        assert varied.shape == (1, 24, 24, 24)
        same_image += torch.equal(varied, image[(slice(None), *middle)])
        same_labels += torch.equal(varied_labels, labels[middle])
    # rotation 0.2, scale 0.2; noise .1, blur .2 x .5, brightness and contrast .15,
    # low resolution .25 x .5, gamma inverted .1, gamma .3
    spatial = 0.8 * 0.8
    untouched = spatial * 0.9 * 0.9 * 0.85 * 0.85 * 0.875 * 0.9 * 0.7
    assert same_labels / 800 == pytest.approx(spatial, abs=0.05)
    assert same_image / 800 == pytest.approx(untouched, abs=0.05)


def test_labels_follow_the_image_through_rotation_and_scaling() -> None:
    """An image that equals its label map stays near it, wherever labels were inside."""
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    augmentation = Augmentation(AugmentationSettings(), (24, 24, 24), TABLE, ("spleen",))
    spatial_only = Augmentation.__new__(Augmentation)
    spatial_only.__dict__ = {**augmentation.__dict__, "_transforms": augmentation._transforms[:1]}
    labels = torch.zeros(augmentation.enlarged, dtype=torch.uint8)
    labels[10:25, 14:30, 12:28] = 1
    moved = 0
    for _ in range(40):
        image, varied = spatial_only(labels[None].float(), labels, ("spleen",), False)
        assert varied.unique().tolist() in ([0], [1], [0, 1], [0, 1, OUTSIDE], [0, OUTSIDE])
        inside = varied != OUTSIDE
        assert ((image[0] - varied)[inside].abs() <= 0.95).all()  # trilinear against nearest
        assert ((image[0] > 0.5) == (varied == 1))[inside].float().mean() > 0.97
        moved += not set(image.unique().tolist()) <= {0.0, 1.0}
    assert moved > 5


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_blur_of_a_single_slice_is_that_of_many_alike(axis: int) -> None:
    shape = [1, 20, 20, 20]
    shape[axis + 1] = 1
    plane = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    many = plane.repeat_interleave(9, axis + 1)
    blur = _WithRims(GaussianBlurTransform(1.0, synchronize_axes=True))
    one, of_many = (blur(image.clone(), image)["image"] for image in (plane, many))
    torch.testing.assert_close(one, of_many.narrow(axis + 1, 4, 1))
    assert not torch.allclose(one, plane, atol=0.05)


@pytest.mark.parametrize("patch", [(1, 16, 16), (2, 16, 3)])
@pytest.mark.parametrize("where", ["workers", "device"])
def test_patches_of_a_few_voxels_are_varied(patch: Triple, where: str) -> None:
    augmentation = Augmentation(AugmentationSettings(), patch, TABLE, ("spleen",))
    on_device = DeviceAugmentation(augmentation, patch)
    for seed in range(40):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        image = torch.rand(1, *augmentation.enlarged)
        labels = torch.zeros(augmentation.enlarged, dtype=torch.uint8)
        if where == "workers":
            image, labels = augmentation(image, labels, ("spleen",), masked=False)
        else:
            no, seeds = torch.tensor([False]), torch.tensor([seed])
            (image,), (labels,) = on_device(image[None], labels[None], seeds, no, no)
        assert image.shape == (1, *patch) and labels.shape == patch
        assert image.isfinite().all()
