import numpy as np
import pytest

from tsfm_pipeline.evaluation.metrics import PROMPTED, SCORES_SCHEMA
from tsfm_pipeline.evaluation.prompted import (
    SIDE,
    PromptError,
    predict_prompted,
    score_prompted,
)
from tsfm_pipeline.imaging.labels import LabelTable

SPACING = (3.0, 0.8, 1.5)
SHAPE = (50, 130, 90)  # 150 x 104 x 135 mm: 100 x 70 x 90 voxels of 1.5 mm


def ball(shape=SHAPE, spacing=SPACING, centre_mm=(40, 50, 70), radius_mm=20):
    grids = np.ogrid[tuple(slice(0, size) for size in shape)]
    centres = [(grid + 0.5) * mm for grid, mm in zip(grids, spacing, strict=True)]
    return sum((c - m) ** 2 for c, m in zip(centres, centre_mm, strict=True)) <= radius_mm**2


def image_of(mask, seed=0):
    noise = np.random.default_rng(seed).normal(0, 5, mask.shape)
    return (np.where(mask, 200, 100) + noise).astype(np.float32)


def by_intensity(image, clicks, previous):
    """Perfect where the target is the brighter half of what was normalised."""
    return image - (image.max() + image[image > image.min()].min()) / 2


class BallAroundClicks:
    """Paints 10 voxels around positive clicks, and remembers what it was given."""

    def __init__(self):
        self.calls = []

    def __call__(self, image, clicks, previous):
        self.calls.append((image, clicks, previous))
        grid = np.indices(image.shape)
        logits = np.full(image.shape, -1.0, np.float32)
        for click in clicks:
            position = np.reshape(click.position, (3, 1, 1, 1))
            near = ((grid - position) ** 2).sum(axis=0) <= 10**2
            logits[near] = 1.0 if click.positive else -1.0
        return logits


def test_a_perfect_network_gets_the_target_back():
    mask = ball()
    found = predict_prompted(image_of(mask), mask, SPACING, by_intensity)
    overlap = 2 * (found.mask & mask).sum() / (found.mask.sum() + mask.sum())
    assert overlap > 0.95  # what 1.5 mm can hold of 0.8 mm
    assert found.outside_crop == 0
    assert len(found.clicks) == 1


def test_at_1_5_mm_the_round_trip_is_exact():
    mask = ball((100, 70, 90), (1.5, 1.5, 1.5))
    found = predict_prompted(image_of(mask), mask, (1.5, 1.5, 1.5), by_intensity)
    np.testing.assert_array_equal(found.mask, mask)


def test_the_crop_is_centred_on_the_reference_and_normalised_over_positive_voxels():
    mask = ball((100, 70, 90), (1.5, 1.5, 1.5))
    image = image_of(mask)
    image[:30] = -1000
    network = BallAroundClicks()
    predict_prompted(image, mask, (1.5, 1.5, 1.5), network)
    ((crop, _, previous),) = network.calls
    assert previous is None
    where = np.argwhere(mask)
    start = (where.min(axis=0) + where.max(axis=0) + 1) // 2 - SIDE // 2
    lower, upper = np.maximum(-start, 0), np.minimum(np.array(mask.shape) - start, SIDE)
    inside = tuple(slice(low, high) for low, high in zip(lower, upper, strict=True))
    kept = image[tuple(slice(max(s, 0), s + SIDE) for s in start)]
    positive = kept[kept > 0]
    expected = (kept - positive.mean()) / positive.std(ddof=1)
    np.testing.assert_allclose(crop[inside], expected, atol=2e-4)
    outside = np.ones(crop.shape, bool)
    outside[inside] = False
    np.testing.assert_allclose(crop[outside], -positive.mean() / positive.std(ddof=1), rtol=1e-4)


def test_the_deviation_is_the_samples_as_torchs():
    image, mask = np.full((9, 9, 9), -1.0), np.zeros((9, 9, 9), bool)
    image[4, 4, 3:5] = 1, 3
    mask[4, 4, 4] = True
    network = BallAroundClicks()
    predict_prompted(image, mask, (1.5, 1.5, 1.5), network)
    crop = network.calls[0][0]
    assert crop.max() == pytest.approx((3 - 2) / np.sqrt(2))


def test_clicks_fall_into_the_errors_and_the_last_mask_is_fed_back():
    mask = ball()
    network = BallAroundClicks()
    found = predict_prompted(image_of(mask), mask, SPACING, network, clicks=4)
    assert [len(clicks) for _, clicks, _ in network.calls] == [1, 2, 3, 4]
    assert found.clicks == network.calls[-1][1]
    first = network.calls[0]
    assert first[1][0].positive  # nothing is predicted yet, so every error is a miss
    for before, (_, clicks, previous) in zip(network.calls, network.calls[1:], strict=False):
        np.testing.assert_array_equal(previous, network(*before))
        inside_previous = previous[clicks[-1].position] > 0
        assert clicks[-1].positive != inside_previous
    dices = [
        np.mean(predict_prompted(image_of(mask), mask, SPACING, BallAroundClicks(), n).mask[mask])
        for n in (1, 8)
    ]
    assert dices[0] < 0.6 < dices[1]


def test_the_same_clicks_every_time_and_none_when_all_is_right():
    mask = ball()
    twice = [predict_prompted(image_of(mask), mask, SPACING, BallAroundClicks(), 3) for _ in "ab"]
    assert twice[0].clicks == twice[1].clicks
    exact = ball((100, 70, 90), (1.5, 1.5, 1.5))
    right = predict_prompted(image_of(exact), exact, (1.5, 1.5, 1.5), by_intensity, clicks=5)
    assert len(right.clicks) == 1


def test_what_the_crop_cuts_off_is_reported_and_never_predicted():
    mask = np.ones((20, 20, 160), bool)  # 240 mm long; the crop holds 192
    mask[:2] = False
    image = image_of(mask)
    found = predict_prompted(image, mask, (1.5, 1.5, 1.5), lambda crop, *_: np.ones_like(crop))
    assert found.outside_crop == pytest.approx(32 / 160)
    assert not found.mask[:, :, :16].any()
    assert not found.mask[:, :, 144:].any()
    assert found.mask[2:, :, 16:144].all()


def test_an_absent_target_is_never_prompted():
    def refuse(*_):
        raise AssertionError("called")

    found = predict_prompted(np.ones(SHAPE), np.zeros(SHAPE, bool), SPACING, refuse)
    assert not found.mask.any()
    assert np.isnan(found.outside_crop)


def test_an_image_without_positive_values_is_refused():
    mask = ball()
    with pytest.raises(PromptError, match="shift the intensities"):
        predict_prompted(np.full(SHAPE, -5.0), mask, SPACING, by_intensity)


def test_every_row_says_that_it_was_prompted(settings):
    table = LabelTable(targets={"liver": 5, "liver_tumor": 25, "spleen": 1})
    labels = np.where(ball(), 5, 0).astype(np.uint8)
    labels[ball(radius_mm=8)] = 25
    regions = ["liver", "liver_tumor", "spleen"]
    rows = score_prompted(
        image_of(labels > 0), labels, regions, table, SPACING, BallAroundClicks(), settings
    )
    assert {row["protocol"] for row in rows} == {PROMPTED}
    assert all(set(row) <= set(SCORES_SCHEMA.names) for row in rows)
    liver, tumour, spleen = rows
    assert 0 < liver["dice"] < 1
    assert tumour["reference_lesions"] == tumour["detected_lesions"] == 1
    assert liver["reference_outside_crop"] == 0
    assert spleen["both_empty"]
    apart = LabelTable(
        reading="per_dataset", targets={"liver": 5}, per_dataset={"msd_liver": {"liver": 105}}
    )
    (row,) = score_prompted(
        image_of(labels > 0),
        np.where(labels > 0, 105, 0).astype(np.uint8),
        ["msd_liver/liver"],
        apart,
        SPACING,
        BallAroundClicks(),
        settings,
    )
    assert row["target"] == "liver"  # as in the rows of `score_case`
