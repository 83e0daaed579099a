"""The assembled network: shapes for any grid, exact sizes, initial weights."""

import math

import pytest
import torch

from tsfm_pipeline.network.footprint import footprint
from tsfm_pipeline.network.sizes import PAPER_PATCH, SIZES, SizeName, TsfmSize
from tsfm_pipeline.network.tsfm import TSFM, bottleneck_grid

TINY = SIZES["tiny"]


def _count_by_hand(size: SizeName, outputs: int, tokens: int) -> int:
    """Parameters written out from the paper's text, without torch."""
    row = SIZES[size]

    def block(first: int, second: int, connection: bool) -> int:
        convolutions = 27 * first * second + second + 27 * second * second + second
        norms = 4 * second
        return convolutions + norms + (first * second + second if connection else 0)

    channels = [row.channels * 2**level for level in range(6 if size.endswith("6") else 5)]
    total = 0
    for level, width in enumerate(channels):
        total += block(channels[level - 1] if level else 1, width, True)
        total += (row.blocks - 1) * block(width, width, False)
    for width in channels[:-1]:
        total += 2 * width * width + width
        total += block(2 * width, width, True) + (row.blocks - 1) * block(width, width, False)
    e = row.width
    attention, mlp, norms = 4 * e * e + 4 * e, 8 * e * e + 5 * e, 4 * e
    total += channels[-1] * e + e + tokens * e + row.layers * (attention + mlp + norms) + 2 * e
    total += e * channels[-1] + channels[-1]
    return total + channels[0] * outputs + outputs


@pytest.mark.parametrize(
    ("size", "parameters"),
    [
        ("tiny", 1_688_790),
        ("small", 13_364_814),
        ("base", 56_642_430),
        ("large", 362_587_614),
        ("huge", 1_566_908_574),
        ("small6", 13_261_270),
        ("huge6", 1_568_439_518),
    ],
)
def test_exact_parameter_counts(size: SizeName, parameters: int) -> None:
    cost = footprint(SIZES[size], 1, 30, PAPER_PATCH)
    assert (
        cost.parameters
        == parameters
        == _count_by_hand(size, 30, 7 * 5 * 6 if size.endswith("6") else 7 * 10 * 12)
    )
    first = SIZES[size].channels
    heads = 3 if size.endswith("6") else 2
    assert cost.supervision_parameters == sum(30 * (2**i * first + 1) for i in range(1, heads + 1))


def test_flops_of_huge_at_the_papers_patch() -> None:
    assert footprint(SIZES["huge"], 1, 30, PAPER_PATCH).forward_flops == pytest.approx(
        94.8e12, rel=1e-3
    )


def test_six_resolutions_cost_a_quarter() -> None:
    assert footprint(SIZES["huge6"], 1, 30, PAPER_PATCH).forward_flops == pytest.approx(
        24.5e12, rel=1e-2
    )


def test_flops_are_two_per_multiply_add() -> None:
    # the stem's first convolution alone: 27 multiply-adds per output value
    without, with_more = (
        footprint(SIZES["tiny"], c, 1, (16, 16, 32)).forward_flops for c in (1, 2)
    )
    voxels = 16 * 16 * 32
    assert with_more - without == 2 * (27 + 1) * 8 * voxels


@pytest.mark.parametrize("shape", [(32, 16, 48), (17, 33, 20), (5, 3, 4), (1, 40, 31)])
def test_any_grid_gives_outputs_of_its_own_size(shape: tuple[int, int, int]) -> None:
    network = TSFM(2, 3, TINY, (32, 32, 32))
    image = torch.randn(2, 2, *shape)
    outputs = network.train()(image)
    assert isinstance(outputs, list)
    for level, output in enumerate(outputs):
        assert output.shape == (2, 3, *(math.ceil(side / 2**level) for side in shape))
        assert output.isfinite().all()
    assert len(outputs) == 3
    with torch.no_grad():
        finest = network.eval()(image)
    assert isinstance(finest, torch.Tensor)
    torch.testing.assert_close(finest, outputs[0].detach())


def test_bottleneck_has_at_least_two_voxels() -> None:
    assert bottleneck_grid(PAPER_PATCH, SIZES["tiny"]) == (7, 10, 12)
    assert bottleneck_grid((40, 56, 40), SIZES["tiny"]) == (3, 4, 3)
    assert bottleneck_grid((16, 8, 16), SIZES["tiny"]) == (1, 1, 2)
    assert bottleneck_grid(PAPER_PATCH, SIZES["huge6"]) == (7, 5, 6)  # nnU-Net's 4, 5, 5 poolings


@pytest.mark.parametrize("shape", [(32, 64, 64), (17, 33, 70), (16, 32, 32), (1, 40, 31)])
def test_strides_may_differ_between_axes(shape: tuple[int, int, int]) -> None:
    size = TsfmSize(
        channels=4, blocks=1, width=12, layers=1, heads=1, strides=SIZES["small6"].strides
    )
    network = TSFM(1, 3, size, (32, 64, 64))
    outputs = network.train()(torch.randn(1, 1, *shape))
    assert isinstance(outputs, list)
    assert [output.shape[2:] for output in outputs] == [
        tuple(math.ceil(side / 2**level) for side in shape) for level in range(4)
    ]
    depth = network.encoder[-1](torch.randn(1, 64, 8, 8, 8)).shape[2:]
    assert depth == (8, 4, 4)


def test_supervised_grids_have_to_be_halved_along_all_axes() -> None:
    with pytest.raises(ValueError, match="all but the last two"):
        TsfmSize(channels=4, blocks=1, width=12, layers=1, heads=1, strides=((1, 2, 2),) * 5)


def test_sizes_written_before_there_were_strides_have_four_halvings() -> None:
    old = {"channels": 8, "blocks": 1, "width": 96, "layers": 2, "heads": 3}
    assert TsfmSize.model_validate(old) == SIZES["tiny"]


def test_decoder_is_aligned_with_encoder() -> None:
    """Shifting the input by one bottleneck voxel shifts the output by 16 voxels.

    Norms and transformer, which look at the whole grid, are taken out.
    """
    torch.manual_seed(0)
    network = TSFM(1, 1, TINY, (320, 16, 16)).double().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.InstanceNorm3d):
            module.forward = lambda x: x  # type: ignore[method-assign]
    torch.nn.init.zeros_(network.bottleneck.restore.weight)
    image = torch.zeros(1, 1, 320, 16, 16, dtype=torch.double)
    image[:, :, 150:160] = torch.randn(10, 16, 16, dtype=torch.double)
    with torch.no_grad():
        moved = network(image.roll(16, dims=2))
        expected = network(image).roll(16, dims=2)
    assert expected[:, :, 166:176].std() > 0.1
    torch.testing.assert_close(moved, expected)


def test_he_initialisation_of_convolutions() -> None:
    torch.manual_seed(0)
    network = TSFM(1, 3, SIZES["small"], (32, 32, 32))
    for module in network.modules():
        if isinstance(module, torch.nn.Conv3d) and module.weight.numel() > 10_000:
            fan_in = module.weight[0].numel()
            activated = module.kernel_size == (3, 3, 3)
            expected = math.sqrt((2 / (1 + 0.01**2) if activated else 1) / fan_in)
            assert module.weight.std().item() == pytest.approx(expected, rel=0.05)
            assert not module.bias.any()


def test_every_channel_starts_as_rare() -> None:
    torch.manual_seed(0)
    network = TSFM(1, 30, TINY, (32, 32, 32)).eval()
    with torch.no_grad():
        probability_BKDHW = network(torch.randn(1, 1, 32, 32, 32)).sigmoid()
    assert 0.02 < probability_BKDHW.mean().item() < 0.2


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    network = TSFM(1, 2, TINY, (32, 16, 16)).train()
    loss = sum(output.square().sum() for output in network(torch.randn(1, 1, 32, 16, 16)))
    loss.backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    # A convolution's bias before an InstanceNorm is cancelled; rounding leaves it a gradient.
    assert not [name for name in still if not name.endswith("bias")]


@pytest.mark.parametrize("wrong", [(0, 1, 16), (1, 0, 16), (1, 1, 0)])
def test_sizes_that_are_not_positive_are_refused(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="positive"):
        TSFM(wrong[0], wrong[1], TINY, (16, 16, wrong[2]))
