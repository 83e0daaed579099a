import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.stats import norm

from tsfm_pipeline.inference import sliding_window
from tsfm_pipeline.inference.placement import PlacementError
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.inference.sliding_window import gaussian, predict_tiles, shares, steps
from tsfm_pipeline.network.sizes import SIZES
from tsfm_pipeline.network.tsfm import TSFM

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
    for side in (16, 32, 24):
        expected = norm.pdf(np.arange(side), loc=side // 2, scale=side / 8)
        # The filter stops at 4 sigma, here the tile's edge; its kernel is normalised over samples.
        np.testing.assert_allclose(gaussian(side), expected / expected.max(), atol=1e-6)
        assert gaussian(side)[side // 2] == 1


def test_no_voxel_has_the_weight_zero():
    for side in [*range(1, 70), 112, 160, 192]:
        assert gaussian(side).min() > 0


def test_steps_and_gaussian_are_nnunets(reference):
    content, arrays = reference
    for window in content["windows"]:
        found = steps(window["shape"], tuple(window["patch"]), window["step"])
        assert [list(starts) for starts in found] == window["starts"], window
    for name in ("gaussian_0", "gaussian_1"):
        theirs = arrays[name]
        ours = np.einsum("i,j,k->ijk", *(gaussian(side) for side in theirs.shape))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_the_shares_of_all_tiles_are_their_part_of_the_summed_gaussians():
    shape, patch = (21, 31, 17), (8, 12, 8)
    starts = steps(shape, patch)
    weight = np.einsum("i,j,k->ijk", *(gaussian(side) for side in patch))
    total = np.zeros(shape)
    boxes = [
        tuple(slice(a, a + n) for a, n in zip(c, patch, strict=True)) for c in product(*starts)
    ]
    for box in boxes:
        total[box] += weight
    axes = [shares(s, side, size) for s, side, size in zip(starts, patch, shape, strict=True)]
    for box in boxes:
        ours = np.einsum("i,j,k->ijk", *(axes[i][part.start] for i, part in enumerate(box)))
        np.testing.assert_allclose(ours, weight / total[box], rtol=1e-5)


@pytest.mark.parametrize("shape", [(8, 12, 8), (20, 31, 17), (5, 30, 6), (3, 4, 5)])
def test_an_oracle_gives_back_its_scores_on_any_shape(shape):
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(3, *shape)).astype(np.float32))
    found = predict_tiles(
        Oracle(logits),
        indexed(shape),
        patch=PATCH,
        channels=(2, 0),
        settings=InferenceSettings(),
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
        settings=InferenceSettings(),
        device=CPU,
    )
    first, second = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(1))
    weight = gaussian(PATCH[0])
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
        settings = InferenceSettings(tile_batch=size)
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
        settings=InferenceSettings(tile_batch=7),
        device=CPU,
    )
    assert max(oracle.calls) == 7
    assert sum(oracle.calls) == tiles


def test_labels_do_not_depend_on_the_batch_of_tiles():
    torch.manual_seed(0)
    network = TSFM(1, 6, SIZES["tiny"], (24, 32, 24)).eval()
    # Untrained, every voxel has about the probability 0.05; let it be in two minds about each
    # region, and as sure of most voxels as a trained network is.
    network.heads[0].bias.data.zero_()
    network.heads[0].weight.data.mul_(10)
    image = ndimage.gaussian_filter(
        np.random.default_rng(3).normal(size=(1, 30, 60, 40)).astype(np.float32), (0, 2, 2, 2)
    )
    answers = []
    for size in (1, 3, 5):
        scores = predict_tiles(
            network,
            image / image.std(),
            patch=(24, 32, 24),
            channels=range(6),
            settings=InferenceSettings(tile_batch=size),
            device=CPU,
        )
        answers.append(scores)
    assert 0.4 < np.mean(answers[0] > 0.5) < 0.6
    for scores in answers[1:]:
        assert np.mean((scores > 0.5) != (answers[0] > 0.5)) <= 1e-6


def test_tiles_of_air_are_not_run_and_nothing_else_changes():
    body = np.full((60, 40, 40), -3.0, np.float32)
    rng = np.random.default_rng(4)
    body[:22, 8:30, 8:30] = rng.normal(size=(22, 22, 22))
    body[30, 0, 0] = -2.9  # noise of air

    class Threshold(Oracle):
        def __call__(self, tiles_BCDHW):
            self.calls.append(len(tiles_BCDHW))
            return tiles_BCDHW * 50

    def run(image, air=-2.5, **settings):
        network = Threshold(None)
        scores = predict_tiles(
            network,
            image[None],
            patch=(16, 16, 16),
            channels=(0,),
            settings=InferenceSettings(tile_batch=4, **settings),
            device=CPU,
            air=air,
        )
        return scores > 0.5, sum(network.calls)

    (all_tiles, count), (fewer_tiles, fewer) = run(body), run(body, skip_air=True)
    np.testing.assert_array_equal(all_tiles, fewer_tiles)
    assert all_tiles.any()
    assert fewer < count / 2
    # without an air value, as for MR, only what is constant is left out
    (mr_tiles, mr_count) = run(body, air=-math.inf, skip_air=True)
    np.testing.assert_array_equal(mr_tiles, all_tiles)
    assert fewer < mr_count < count
    nothing, calls = run(np.zeros((20, 20, 20), np.float32), skip_air=True)
    assert calls == 0
    assert not nothing.any()


def test_half_precision_sums_where_memory_is_short_give_the_same_labels(monkeypatch):
    rng = np.random.default_rng(5)
    logits = torch.from_numpy(ndimage.gaussian_filter(rng.normal(size=(2, 30, 41, 27)), 2) * 40)
    answers = {}
    for bytes_free in (10**9, 30 * 41 * 27 * 2 * 3):
        monkeypatch.setattr(sliding_window, "available_memory", lambda room=bytes_free: room)
        found = predict_tiles(
            Oracle(logits.float()),
            indexed((30, 41, 27)),
            patch=PATCH,
            channels=(0, 1),
            settings=InferenceSettings(),
            device=CPU,
        )
        answers[found.dtype] = found
    assert set(answers) == {np.dtype(np.float32), np.dtype(np.float16)}
    full, half = answers[np.dtype(np.float32)], answers[np.dtype(np.float16)]
    np.testing.assert_allclose(half, full, atol=2e-3)
    assert np.mean((half > 0.5) != (full > 0.5)) < 1e-3
    monkeypatch.setattr(sliding_window, "available_memory", lambda: 1000)
    oracle = Oracle(logits.float())
    with pytest.raises(PlacementError, match=r"2 region\(s\) on 30 x 41 x 27 voxels need"):
        predict_tiles(
            oracle,
            indexed((30, 41, 27)),
            patch=PATCH,
            channels=(0, 1),
            settings=InferenceSettings(),
            device=CPU,
        )
    assert not oracle.calls  # before the first tile, not after the last


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
        settings=InferenceSettings(mirror_axes=(0, 2)),
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


def test_a_gpu_that_fills_up_between_two_tiles_is_told():
    class Filling(Oracle):
        def __call__(self, tiles_BCDHW):
            if self.calls:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().__call__(tiles_BCDHW)

    with pytest.raises(PlacementError, match=r"between two tiles .*nvidia-smi"):
        predict_tiles(
            Filling(torch.zeros(2, 30, 41, 27)),
            indexed((30, 41, 27)),
            patch=PATCH,
            channels=(0, 1),
            settings=InferenceSettings(),
            device=CPU,
        )


def test_of_no_channel_there_are_no_scores():
    scores = predict_tiles(
        Oracle(torch.zeros(2, 8, 12, 8)),
        indexed((8, 12, 8)),
        patch=PATCH,
        channels=[],
        settings=InferenceSettings(),
        device=CPU,
    )
    assert scores.shape == (0, 8, 12, 8)
