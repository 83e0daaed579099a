"""Augmentation on the device against the one in the loader processes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from scipy.ndimage import gaussian_filter
from scipy.stats import ks_2samp, kstest, uniform

from tests.training.conftest import TABLE
from tsfm_pipeline.imaging.labels import OUTSIDE
from tsfm_pipeline.model.training_settings import AugmentationSettings
from tsfm_pipeline.training import device_augmentation
from tsfm_pipeline.training.augmentation import Augmentation
from tsfm_pipeline.training.device_augmentation import DeviceAugmentation

PATCH = (12, 14, 16)
REGIONS = ("liver",)
STEP = 0.02


def _both(**changes: object) -> tuple[Augmentation, DeviceAugmentation]:
    settings = AugmentationSettings.model_validate(changes)
    augmentation = Augmentation(settings, PATCH, TABLE, REGIONS)
    return augmentation, DeviceAugmentation(augmentation, PATCH)


def _scan(size: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """A smooth blob with texture, and its label."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in size), indexing="ij")
    blob = np.exp(-3 * ((z - 0.1) ** 2 + (y + 0.2) ** 2 + 2 * x**2))
    texture = 0.3 * np.sin(9 * z + 4 * y) * np.cos(7 * x)
    image = torch.tensor(blob + texture, dtype=torch.float32)[None]
    return image, torch.tensor(np.where(blob > 0.5, 5, 0), dtype=torch.uint8)


def _apply(
    augmentation: DeviceAugmentation, image: torch.Tensor, labels: torch.Tensor, seeds: range
) -> tuple[torch.Tensor, torch.Tensor]:
    count = len(seeds)
    return augmentation(
        image.expand(count, *image.shape),
        labels.expand(count, *labels.shape),
        torch.tensor(list(seeds)),
        torch.zeros(count).bool(),
        torch.ones(count).bool(),
    )


def _summary(image: torch.Tensor, labels: torch.Tensor) -> list[float]:
    """What each transform moves: mean (brightness), sd, skew (gamma), roughness, label size.

    In steps, because the two centre a rotation half a voxel apart.
    """
    values = image.double()
    skew = ((values - values.mean()) ** 3).mean() / values.std() ** 3
    roughness = torch.diff(values, dim=-1).abs().mean()
    size = (labels == 5).double().mean()
    return [
        round(float(v) / STEP) * STEP for v in (values.mean(), values.std(), skew, roughness, size)
    ]


@pytest.mark.parametrize(
    ("transforms", "across"), [("full", None), ("light", None), ("full", 0), ("full", 2)]
)
def test_same_distributions_as_in_the_loaders(transforms: str, across: int | None) -> None:
    single, batch = _both(transforms=transforms, mirror_axes=(), dummy_2d_axis=across)
    image, labels = _scan(single.enlarged)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (batchgeneratorsv2 draws from it)
    count = 600
    there = [_summary(*single(image.clone(), labels.clone(), (), False)) for _ in range(count)]
    images, masks = _apply(batch, image, labels, range(count))
    here = [_summary(one, mask) for one, mask in zip(images, masks, strict=True)]
    for number, name in enumerate(("mean", "sd", "skew", "roughness", "label")):
        one, other = (np.array([row[number] for row in rows]) for rows in (there, here))
        assert ks_2samp(one, other).pvalue > 0.01, name
        # the share of samples left as they were shows the probabilities
        shares = [(rows == np.median(one)).mean() for rows in (one, other)]
        assert shares[0] == pytest.approx(shares[1], abs=0.1), name


def test_a_sample_does_not_depend_on_its_batch() -> None:
    single, batch = _both()
    image, labels = _scan(single.enlarged)
    together, masks = _apply(batch, image, labels, range(20))
    for seed in (0, 7, 19):
        alone, mask = _apply(batch, image, labels, range(seed, seed + 1))
        assert torch.equal(alone[0], together[seed])
        assert torch.equal(mask[0], masks[seed])


def test_untouched_samples_are_the_middle_of_the_box() -> None:
    single, batch = _both(transforms="none", mirror_axes=())
    image, labels = _scan((20, 19, 22))
    varied, mask = _apply(batch, image, labels, range(1))
    assert torch.equal(varied[0], image[:, 4:16, 2:16, 3:19])
    assert torch.equal(mask[0], labels[4:16, 2:16, 3:19])
    assert single.enlarged == PATCH


def test_rotation_turns_image_and_labels_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """By 90 degrees about z, against numpy's own rotation."""
    quarter = device_augmentation._rotation(np.pi / 2, 0, 0)
    _, batch = _both()
    batch._patch = (13, 13, 13)
    image, labels = _scan((13, 13, 13))
    labels[:2] = OUTSIDE
    monkeypatch.setattr(device_augmentation, "_rotation", lambda *angles: quarter)
    rng = SimpleNamespace(
        random=lambda n: np.array([0.0, 1.0]),  # rotated, not scaled
        uniform=lambda low, high, n: np.zeros(n),
    )
    turned, mask = batch._place(image, labels, rng)
    turns = [k for k in (1, -1) if _apart(turned[0], image[0], k) < 1e-4]
    assert len(turns) == 1
    assert np.array_equal(mask.numpy(), np.rot90(labels.numpy(), turns[0], axes=(1, 2)))
    assert (mask == 5).any() and (mask == OUTSIDE).any()
    assert not torch.equal(mask, labels)  # a blob in the middle would look turned as it is


def _apart(turned: torch.Tensor, given: torch.Tensor, quarters: int) -> float:
    return float(np.abs(turned.numpy() - np.rot90(given.numpy(), quarters, axes=(1, 2))).max())


@pytest.mark.parametrize("across", [0, 1, 2])
def test_thick_slices_are_turned_scaled_and_coarsened_in_their_plane_alone(across: int) -> None:
    """A volume that is the same all over each slice stays as it is, but where planes end."""
    _, batch = _both(mirror_axes=(), dummy_2d_axis=across)
    numbers = torch.arange(1, PATCH[across] + 1)
    shape = [PATCH[across] if axis == across else 1 for axis in range(3)]
    labels = numbers.byte().view(shape).expand(PATCH).contiguous()
    turned = 0
    for seed in range(200):
        image, found = batch._place(labels[None].float(), labels, np.random.default_rng(seed))
        inside = found != OUTSIDE
        assert torch.equal(found[inside], labels[inside])
        # interpolated linearly: towards the edge of a plane with the nothing beyond it
        assert (image[0][inside] <= labels[inside] + 1e-4).all()
        assert (image[0][inside] >= labels[inside] / 4 - 1e-4).all()
        turned += not inside.all()
    assert turned > 20
    varying = labels.float() ** 2
    coarse = device_augmentation._coarsen(0.5, across)(varying)
    assert coarse.numpy() == pytest.approx(varying.numpy(), abs=1e-3)
    assert not torch.allclose(device_augmentation._coarsen(0.5, None)(varying), varying, atol=1)


def test_thick_slices_turn_by_any_angle(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        device_augmentation,
        "_rotation",
        lambda *angles: seen.append(angles) or np.eye(3),  # type: ignore[func-returns-value]
    )
    _, batch = _both(dummy_2d_axis=1)
    image, labels = _scan(PATCH)
    for seed in range(600):
        batch._place(image, labels, np.random.default_rng(seed))
    drawn = np.degrees(seen)
    assert not drawn[:, [0, 2]].any()
    assert len(drawn) == pytest.approx(120, abs=30)
    assert kstest(drawn[:, 1], uniform(-180, 360).cdf).pvalue > 0.01


def test_outside_the_box_is_background_image_and_outside_label(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, batch = _both(mirror_axes=())
    image, labels = torch.ones(1, *PATCH), torch.full(PATCH, 5).byte()  # nothing to spare
    varied, masks = _apply(batch, image, labels, range(60))
    beyond = masks == OUTSIDE
    assert beyond.any() and set(masks.unique().tolist()) == {5, OUTSIDE}
    assert varied[:, 0][beyond].abs().mean() < 0.6  # interpolated edge, noise


def test_single_transforms_against_other_packages() -> None:
    image = torch.rand(16, 17, 18, generator=torch.Generator().manual_seed(0))
    blurred = device_augmentation._blur(0.8)(image).numpy()
    assert blurred == pytest.approx(gaussian_filter(image.numpy(), 0.8, mode="mirror"), abs=2e-4)
    for inverted in (True, False):
        theirs = GammaTransform(1.3, int(inverted), False, 1, 1)
        parameters = theirs.get_parameters(image=image[None])
        expected = theirs._apply_to_image(image[None].clone(), **parameters)[0]
        ours = device_augmentation._gamma(1.3, inverted=inverted)(image)
        assert ours.numpy() == pytest.approx(expected.numpy(), abs=1e-4)


@pytest.mark.parametrize("slices", [1, 2, 3])
def test_a_blur_of_few_slices_keeps_their_intensity(slices: int) -> None:
    plane = torch.rand(20, 20, generator=torch.Generator().manual_seed(0))
    blurred = device_augmentation._blur(0.8)(plane.expand(slices, 20, 20))
    expected = gaussian_filter(plane.numpy(), 0.8, mode="mirror")
    for slice_ in blurred.numpy():
        np.testing.assert_allclose(slice_, expected, atol=1e-4)
