import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from tsfm_pipeline.inference.settings import PredictionSettings
from tsfm_pipeline.inference.sliding_window import gaussian, predict_tiles, steps

CPU = torch.device("cpu")
PATCH = (8, 12, 8)


class Oracle:
    """Finds the tile in the volume by its coordinate channel and returns the known scores."""

    def __init__(self, logits_KZYX):
        self.logits = logits_KZYX
        self.calls = []

    def __call__(self, tiles_BCDHW):
        self.calls.append(len(tiles_BCDHW))
        index = tiles_BCDHW[:, 0].long()
        flat = self.logits.reshape(len(self.logits), -1)
        return flat[:, index].movedim(0, 1)


def indexed(shape):
    return np.arange(math.prod(shape), dtype=np.float32).reshape(1, *shape)


# nnU-Net's own starts: MONAI's fixed stride would give [0, 32, 46] for 110 voxels and patch 64.
@pytest.mark.parametrize(
    ("size", "side", "step", "expected"),
    [
        (110, 64, 0.5, (0, 23, 46)),
        (64, 64, 0.5, (0,)),
        (65, 64, 0.5, (0, 1)),
        (96, 64, 0.5, (0, 32)),
        (30, 10, 0.5, (0, 5, 10, 15, 20)),
        (40, 12, 0.25, (0, 3, 6, 8, 11, 14, 17, 20, 22, 25, 28)),
        (40, 12, 1.0, (0, 9, 19, 28)),
    ],
)
def test_tile_starts_are_nnunets(size, side, step, expected):
    assert steps((size,) * 3, (side,) * 3, step) == (expected,) * 3


def test_tiles_cover_every_voxel_and_no_step_is_too_long():
    for size in range(12, 60):
        (starts, _, _) = steps((size, 12, 12), (12, 12, 12))
        assert starts[0] == 0
        assert starts[-1] == size - 12
        assert np.all(np.diff(starts) <= 7)  # half a patch, rounded
        assert np.all(np.diff(starts) > 0)


def test_gaussian_is_a_normal_density_around_the_middle_voxel():
    patch = (16, 32, 24)
    weight = gaussian(patch)
    axes = [norm.pdf(np.arange(n), loc=n // 2, scale=n / 8) for n in patch]
    expected = np.einsum("i,j,k->ijk", *axes)
    # The filter stops at 4 sigma, here the patch's edge; its kernel is normalised over samples.
    np.testing.assert_allclose(weight, expected / expected.max(), atol=1e-6)
    assert weight[8, 16, 12] == 1
    assert weight.min() > 0
    assert weight.dtype == np.float32


def test_no_voxel_has_the_weight_zero():
    for side in [*range(1, 70), 112, 160, 192]:
        assert gaussian((side, 5, 16)).min() > 0


@pytest.mark.parametrize("shape", [(8, 12, 8), (20, 31, 17), (5, 30, 6), (3, 4, 5)])
def test_an_oracle_gives_back_its_scores_on_any_shape(shape):
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(3, *shape)).astype(np.float32))
    found = predict_tiles(
        Oracle(logits),
        indexed(shape),
        patch=PATCH,
        channels=(2, 0),
        settings=PredictionSettings(),
        device=CPU,
    )
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, torch.sigmoid(logits[[2, 0]]).numpy(), atol=1e-6)


def test_tiles_are_weighted_by_the_gaussian_and_probabilities_are_averaged():
    # Two tiles along z; the network answers with another logit for each.
    answers = iter([torch.full((1, 1, *PATCH), 2.0), torch.full((1, 1, *PATCH), -1.0)])
    found = predict_tiles(
        lambda _: next(answers),
        np.zeros((1, 12, *PATCH[1:]), np.float32),
        patch=PATCH,
        channels=(0,),
        settings=PredictionSettings(),
        device=CPU,
    )
    first, second = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(1))
    weight = gaussian(PATCH)[:, 0, 0].astype(float)
    a, b = weight[5], weight[1]  # voxel 5 is 5th of tile 0 and 1st after the start of tile 1
    assert found[0, 5, 0, 0] == pytest.approx((first * a + second * b) / (a + b), rel=1e-5)
    assert found[0, 0, 0, 0] == pytest.approx(first, rel=1e-6)
    assert found[0, 11, 0, 0] == pytest.approx(second, rel=1e-6)


def test_the_batch_of_tiles_changes_the_calls_but_not_the_answer():
    torch.manual_seed(0)
    convolution = torch.nn.Conv3d(1, 4, 3, padding=1)
    image = np.random.default_rng(1).normal(size=(1, 20, 24, 20)).astype(np.float32)
    answers = []
    for size in (1, 4, 7):
        settings = PredictionSettings(tile_batch=size)
        answers.append(
            predict_tiles(
                convolution,
                image,
                patch=PATCH,
                channels=range(4),
                settings=settings,
                device=CPU,
            )
        )
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-6)
    np.testing.assert_allclose(answers[0], answers[2], atol=1e-6)

    oracle = Oracle(torch.zeros(1, 20, 24, 20))
    tiles = math.prod(len(starts) for starts in steps((20, 24, 20), PATCH))
    predict_tiles(
        oracle,
        indexed((20, 24, 20)),
        patch=PATCH,
        channels=(0,),
        settings=PredictionSettings(tile_batch=7),
        device=CPU,
    )
    assert max(oracle.calls) == 7
    assert sum(oracle.calls) == tiles


def test_mirroring_averages_all_combinations_of_the_axes():
    # A network that only looks one voxel up and one voxel to the right.
    def shifted(tile):
        return torch.roll(tile, (1, -1), (2, 4))

    image = np.random.default_rng(2).normal(size=(1, *PATCH)).astype(np.float32)
    found = predict_tiles(
        shifted,
        image,
        patch=PATCH,
        channels=(0,),
        settings=PredictionSettings(mirror_axes=(0, 2)),
        device=CPU,
    )

    def sigmoid(values):
        return 1 / (1 + np.exp(-values))

    expected = np.mean(
        [sigmoid(np.roll(image, (dz, dx), (1, 3))) for dz in (1, -1) for dx in (-1, 1)], axis=0
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_start_half_way_between_two_voxels_falls_where_nnunets_arithmetic_puts_it():
    # 11 of 22 steps over 433 voxels is 216.5; 433 / 22 * 11 is a hair more in floating point.
    assert steps((473,) * 3, (40,) * 3)[0][11] == 217
