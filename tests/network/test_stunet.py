"""STU-Net: the published counts, any grid, and a block written out."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from tsfm_pipeline.network.sizes import NETWORKS, STUNetSize
from tsfm_pipeline.network.stunet import PostActivationBlock, STUNet, strides_for

OUTPUTS = 105
"""TotalSegmentator's 104 classes and background."""


def size(name: str) -> STUNetSize:
    """Return a size of STU-Net."""
    found = NETWORKS["stunet"][name]
    assert isinstance(found, STUNetSize)
    return found


def _count_by_hand(row: STUNetSize, outputs: int) -> int:
    """Parameters of the published network, all five heads, written out without torch."""

    def block(first: int, second: int, projected: bool) -> int:
        both = 27 * first * second + second + 27 * second * second + second + 4 * second
        return both + (first * second + second if projected else 0)

    def stage(first: int, second: int) -> int:
        return block(first, second, True) + (row.blocks - 1) * block(second, second, False)

    widths = [row.channels * factor for factor in (1, 2, 4, 8, 16, 16)]
    total = sum(stage(first, second) for first, second in zip([1, *widths], widths, strict=False))
    for fine, coarse in itertools.pairwise(widths):
        total += coarse * fine + fine + stage(2 * fine, fine) + fine * outputs + outputs
    return total


@pytest.mark.parametrize(
    ("name", "published"),
    [  # sums over the public code's parameters (medim 0.1.2): 14.6, 58.26, 440.30, 1457.33 M
        ("small", 14_596_941),
        ("base", 58_262_669),
        ("large", 440_302_605),
        ("huge", 1_457_326_221),
    ],
)
def test_published_parameter_counts(name: str, published: int) -> None:
    row = size(name)
    with torch.device("meta"):
        network = STUNet(1, OUTPUTS, row, (128, 128, 128))
    weightless_head = 16 * row.channels * OUTPUTS + OUTPUTS
    ours = sum(parameter.numel() for parameter in network.parameters())
    assert ours + weightless_head == published == _count_by_hand(row, OUTPUTS)


@pytest.mark.parametrize(
    ("stride", "project"),
    [((1, 1, 1), False), ((1, 1, 1), True), ((2, 2, 2), True), ((1, 2, 2), True)],
)
def test_block_written_out(stride: tuple[int, int, int], project: bool) -> None:
    torch.manual_seed(0)
    block = PostActivationBlock(4, 4, stride, project=project).double()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    p = dict(block.named_parameters())
    x = torch.randn(2, 4, 5, 6, 4, dtype=torch.double)

    def norm(y: torch.Tensor, name: str) -> torch.Tensor:
        mean = y.mean((2, 3, 4), keepdim=True)
        deviation = (y.var((2, 3, 4), unbiased=False, keepdim=True) + 1e-5).sqrt()
        scale, shift = (p[f"{name}.{part}"].view(-1, 1, 1, 1) for part in ("weight", "bias"))
        return (y - mean) / deviation * scale + shift

    def leaky(y: torch.Tensor) -> torch.Tensor:
        return torch.where(y > 0, y, 0.01 * y)

    y = leaky(norm(F.conv3d(x, p["conv1.weight"], p["conv1.bias"], stride, 1), "norm1"))
    y = norm(F.conv3d(y, p["conv2.weight"], p["conv2.bias"], padding=1), "norm2")
    shortcut = x
    if project:
        shortcut = F.conv3d(x, p["connection.weight"], p["connection.bias"], stride)
    torch.testing.assert_close(block(x), leaky(y + shortcut))


@pytest.mark.parametrize(
    "shape", [(32, 64, 48), (17, 33, 20), (5, 3, 4), (1, 40, 31), (32, 32, 32)]
)
def test_any_grid_gives_outputs_of_its_own_size(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    network = STUNet(2, 3, STUNetSize(channels=2, blocks=2), (128, 128, 128))
    image = torch.randn(2, 2, *shape)
    outputs = network.train()(image)
    assert isinstance(outputs, list)
    assert [output.shape for output in outputs] == [
        (2, 3, *(math.ceil(side / 2**level) for side in shape)) for level in range(4)
    ]
    with torch.no_grad():
        finest = network.eval()(image)
    torch.testing.assert_close(finest, outputs[0].detach())


def test_strides_follow_nnunets_rule_and_are_filled_up_with_ones() -> None:
    assert strides_for((128, 128, 128)) == ((2, 2, 2),) * 5
    assert strides_for((112, 160, 192)) == (*((2, 2, 2),) * 4, (1, 2, 2))
    assert strides_for((256, 256, 256)) == ((2, 2, 2),) * 5  # nnU-Net's sixth is cut
    assert strides_for((14, 40, 7)) == ((2, 2, 1), (1, 2, 1), (1, 2, 1), (1, 1, 1), (1, 1, 1))


@pytest.mark.parametrize("shape", [(14, 40, 7), (4, 3, 3), (2, 8, 1)])
def test_a_flat_patch_is_halved_along_its_long_axes(shape: tuple[int, int, int]) -> None:
    network = STUNet(1, 2, STUNetSize(channels=2, blocks=1), (14, 40, 7))
    outputs = network.train()(torch.randn(1, 1, *shape))
    steps = [(1, 1, 1), (2, 2, 1), (2, 4, 1), (2, 8, 1)]
    assert [output.shape[2:] for output in outputs] == [
        tuple(math.ceil(side / by) for side, by in zip(shape, step, strict=True)) for step in steps
    ]


def test_every_parameter_learns_and_checkpointing_changes_nothing() -> None:
    torch.manual_seed(0)
    network = STUNet(1, 2, STUNetSize(channels=2, blocks=2), (64, 64, 64)).train()
    image = torch.randn(1, 1, 64, 32, 32)

    def gradients() -> dict[str, torch.Tensor]:
        network.zero_grad()
        sum(output.square().sum() for output in network(image)).backward()
        return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}

    first = gradients()
    assert first.keys() == dict(network.named_parameters()).keys()
    # A convolution's bias before an InstanceNorm is cancelled; rounding leaves it a gradient.
    assert all(grad.any() for name, grad in first.items() if not name.endswith("bias"))
    network.checkpointing = True
    for name, gradient in gradients().items():
        torch.testing.assert_close(gradient, first[name])
