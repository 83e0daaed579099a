"""One scan is known again; another one of the same anatomy is not taken for it."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from tsfm_pipeline.imaging.volume import read_image
from tsfm_pipeline.imaging.voxel_fingerprint import (
    THUMBNAIL,
    thumbnail_correlation,
    voxel_fingerprint,
)

THRESHOLD = 0.7
"""`pool.duplicate_correlation` of conf/paper."""


def scan(seed: int, shape=(40, 60, 64)) -> np.ndarray:
    """A body in air with structure of its own, whole HU."""
    rng = np.random.default_rng(seed)
    z, y, x = (np.linspace(-1, 1, size) for size in shape)
    body = (y[:, None] ** 2 + x**2 < 0.8) & (np.abs(z[:, None, None]) < 2)
    organs = ndimage.gaussian_filter(rng.normal(0, 1, shape), 2.0)
    organs *= 150 / organs.std()
    return np.where(body, 40 + organs + rng.normal(0, 15, shape), -1000).round().astype(np.float32)


def digest(image: np.ndarray) -> str:
    return voxel_fingerprint(image[None].astype(np.float32)).digest


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    thumbnails = [voxel_fingerprint(i[None].astype(np.float32)).thumbnail for i in (one, other)]
    return float(thumbnail_correlation(thumbnails[0][None], thumbnails[1][None])[0, 0])


def zoom(image: np.ndarray, factors) -> np.ndarray:
    return ndimage.zoom(image, factors, order=1, mode="nearest", grid_mode=True)


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_the_digest_knows_values_not_their_places(axes) -> None:
    image = scan(0)
    for flips in itertools.product((1, -1), repeat=3):
        turned = image.transpose(axes)[tuple(slice(None, None, step) for step in flips)]
        assert digest(turned) == digest(image)


def test_the_digest_knows_order_not_units() -> None:
    image = scan(0)
    same = [image + 1024, image * 0.1 - 3.7, image.astype(np.float64) / 3, image * 40]
    assert {digest(other) for other in same} == {digest(image)}
    assert digest(np.pad(image, ((3, 0), (0, 9), (4, 4)), constant_values=-1000)) == digest(image)


def test_the_digest_changes_with_one_voxel() -> None:
    image = scan(0)
    changed = image.copy()
    changed[20, 30, 32] += 1
    clipped = np.minimum(image, 300)
    assert len({digest(image), digest(changed), digest(clipped), digest(scan(1))}) == 4


def test_images_of_all_different_values_are_told_apart() -> None:
    one, other = (np.random.default_rng(seed).normal(0, 1, (60, 60, 60)) for seed in (0, 1))
    assert digest(one) == digest(one[::-1].transpose(2, 0, 1))
    assert digest(one) != digest(other)
    assert digest(np.round(one, 2)) != digest(np.round(other, 2))


def test_a_thumbnail_is_the_average_of_cells_between_the_ends_of_the_body() -> None:
    rng = np.random.default_rng(0)
    # 50 planes of body along each axis: the box starts 1 plane (2 %) in and spans 48, 2 a cell.
    body = rng.uniform(80, 100, (50, 50, 50)).astype(np.float32)
    image = np.pad(body, ((3, 9), (0, 0), (20, 1)))
    found = voxel_fingerprint(image[None]).thumbnail
    low, high = np.percentile(image[::2, ::2, ::2][image[::2, ::2, ::2] > 0], (0.5, 99.5))
    inner = np.clip(body, low, high)[1:-1, 1:-1, 1:-1]
    cells = inner.reshape(THUMBNAIL, 2, THUMBNAIL, 2, THUMBNAIL, 2).mean(axis=(1, 3, 5))
    expected = (cells - cells.mean()) / cells.std()
    # A quarter of the range above the low end is no body; the box then moves by little.
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9


def test_a_thumbnail_survives_spacing_encoding_padding_and_small_crops() -> None:
    image = scan(0, (60, 90, 96))
    low, high = np.percentile(image, (1, 99))
    bytes_ = np.rint(np.clip((image - low) / (high - low), 0, 1) * 255)
    noisy = image + np.random.default_rng(9).normal(0, 20, image.shape)
    rim = np.pad(image, 7, constant_values=-3024)
    same = {
        "finer": zoom(image, (1.7, 0.8, 0.8)),
        "coarser": zoom(image, (0.6, 0.5, 0.5)),
        "8 bits": bytes_,
        "noisy": noisy,
        "padded": rim,
        "cropped": image[2:],
    }
    assert {name: correlation(image, other) > THRESHOLD for name, other in same.items()} == {
        name: True for name in same
    }
    assert correlation(image, scan(1, image.shape)) < THRESHOLD - 0.3


def test_an_image_without_contrast_matches_nothing() -> None:
    flat = np.full((30, 30, 30), 7.0)
    assert correlation(flat, flat) == 0.0
    assert correlation(flat, scan(0)) == 0.0


def test_real_scans_of_one_anatomy_are_told_apart(realdata) -> None:
    """200 hippocampi, cropped alike: the hardest strangers there are."""
    paths = sorted((realdata / "Task04_Hippocampus" / "imagesTr").glob("*.nii.gz"))
    images = [read_image([path]).array for path in paths]
    prints = [voxel_fingerprint(image) for image in images]
    assert len({found.digest for found in prints}) == len(paths)
    thumbnails = np.stack([found.thumbnail for found in prints])
    pairs = thumbnail_correlation(thumbnails, thumbnails)
    np.fill_diagonal(pairs, -1)
    assert pairs.max() < THRESHOLD - 0.05


def test_a_real_scan_is_known_again(realdata) -> None:
    for path in sorted((realdata / "STS_CT").glob("*/CT_image.nii.gz"))[:3]:
        image = read_image([path]).array[0]
        for other in (zoom(image, (1.6, 0.7, 0.7)), np.clip(image, -950, 1000), image[2:-1]):
            assert correlation(image, other) > THRESHOLD
