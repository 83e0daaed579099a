import numpy as np
import pytest
from scipy import ndimage

from tsfm_pipeline.imaging.intensity import (
    IntensityError,
    bounding_box,
    ct_statistics,
    nonzero_mask,
    normalise_ct,
    normalise_mr,
)


def test_statistics_are_those_of_all_samples_together():
    rng = np.random.default_rng(0)
    samples = [rng.normal(50, 20, (n, 1)).astype(np.float32) for n in (1000, 10, 3000)]
    together = np.sort(np.concatenate(samples).ravel().astype(float))
    statistics = ct_statistics(samples)
    assert statistics.mean == pytest.approx(together.sum() / 4010)
    assert statistics.sd**2 == pytest.approx(((together - statistics.mean) ** 2).sum() / 4010)
    # linear percentile by hand: rank 0.005 * 4009 = 20.045
    assert statistics.lower == pytest.approx(together[20] * 0.955 + together[21] * 0.045)
    assert statistics.upper == pytest.approx(together[-21] * 0.955 + together[-22] * 0.045)


@pytest.mark.parametrize("samples", [[], [np.empty((0, 1))], [np.full((5, 1), 3.0)]])
def test_statistics_of_nothing_are_refused(samples):
    with pytest.raises(IntensityError, match="labelled voxels"):
        ct_statistics(samples)


def test_ct_is_clipped_shifted_and_scaled():
    statistics = ct_statistics([np.linspace(-100, 100, 2001)])
    values = np.array([-1000.0, 0.0, 50.0, 1000.0], np.float32)
    expected = (np.array([-99.0, 0.0, 50.0, 99.0]) - statistics.mean) / statistics.sd
    normalised = normalise_ct(values, statistics)
    np.testing.assert_allclose(normalised, expected, rtol=1e-5, atol=1e-6)
    assert normalised.dtype == np.float32
    assert values[0] == -1000.0  # the input is left as it was
    assert normalise_ct(values, statistics, out=values) is values
    np.testing.assert_array_equal(values, normalised)


def test_mr_is_scored_per_channel_also_where_values_are_huge():
    rng = np.random.default_rng(1)
    image = rng.uniform(0, 1, (2, 6, 7, 8))
    image[1] = image[1] * 10 + 3e6
    normalised = normalise_mr(image, None)
    for before, after in zip(image, normalised, strict=True):
        expected = (before - before.mean()) / before.std()
        np.testing.assert_allclose(after, expected, atol=1e-4)


def test_mr_mask_decides_what_counts_and_the_rest_is_zero():
    image = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    mask = image[0] >= 12
    inside = np.arange(12, 24.0)
    normalised = normalise_mr(image, mask)[0]
    np.testing.assert_allclose(normalised[mask], (inside - 17.5) / inside.std(), rtol=1e-5)
    assert not normalised[~mask].any()


@pytest.mark.parametrize("seed", range(5))
def test_mask_is_the_union_with_holes_filled(seed):
    rng = np.random.default_rng(seed)
    image = (rng.random((2, 9, 10, 11)) < 0.45).astype(np.float32)
    expected = ndimage.binary_fill_holes((image[0] != 0) | (image[1] != 0))
    np.testing.assert_array_equal(nonzero_mask(image), expected)


def test_a_hole_is_closed_only_without_a_way_out_over_faces():
    image = np.zeros((1, 7, 7, 7), np.float32)
    image[0, 1:6, 1:6, 1:6] = -1.0
    image[0, 3, 3, 3] = 0.0
    assert nonzero_mask(image)[3, 3, 3]
    image[0, 3, 3, 4:] = 0.0
    assert not nonzero_mask(image)[3, 3, 3]


def test_box_holds_the_mask_tightly():
    mask = np.zeros((5, 6, 7), bool)
    mask[1, 2, 3] = mask[3, 5, 4] = True
    assert bounding_box(mask) == ((1, 2, 3), (3, 4, 2))
    with pytest.raises(IntensityError, match="empty"):
        bounding_box(np.zeros((2, 2, 2), bool))
