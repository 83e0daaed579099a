"""nnU-Net's U-Net against nnU-Net's own code, whose answers are kept in plain_unet.json."""

import json
import math

import pytest
import torch

from tests.reference.plain_unet import (
    CHANNELS,
    FILE,
    IN_CHANNELS,
    MOST_CHANNELS,
    OUT_CHANNELS,
    PLANS,
    answers,
    reference,
)
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.network.build import build_network
from tsfm_pipeline.network.segmentation import SegmentationNetwork
from tsfm_pipeline.network.sizes import HALVED, PAPER_PATCH, UNetShape
from tsfm_pipeline.network.unet import PlainUNet
from tsfm_pipeline.planning.architecture import architecture_for

ANSWERS = json.loads(FILE.read_text())
SMALL = UNetShape(
    channels=4, strides=(HALVED, HALVED, (1, 2, 2)), kernels=((1, 3, 3), *((3, 3, 3),) * 3)
)


def planned(name: str, channels: int) -> PlainUNet:
    _, patch, strides, kernels, _ = PLANS[name]
    shape = UNetShape(channels=channels, strides=strides, kernels=kernels)
    return PlainUNet(IN_CHANNELS, OUT_CHANNELS, shape, patch)


@pytest.mark.parametrize("name", PLANS)
def test_same_layers_counts_and_outputs_as_nnunet(name: str) -> None:
    found = answers(lambda channels: planned(name, channels), PLANS[name][-1])
    expected = ANSWERS[name]
    assert found["layers"] == expected["layers"]
    coarsest = min(CHANNELS * 2 ** (len(PLANS[name][2]) - 1), MOST_CHANNELS)
    head_of_weight_0 = OUT_CHANNELS * (coarsest + 1)
    assert found["parameters"] == expected["parameters"] - head_of_weight_0
    outputs = expected["outputs"][:-1]
    assert len(found["outputs"]) == len(outputs)
    for ours, theirs in zip(found["outputs"], outputs, strict=True):
        assert torch.tensor(theirs).std() > 0.1
        torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", PLANS)
def test_the_kept_answers_are_nnunets(name: str) -> None:
    pytest.importorskip("dynamic_network_architectures", reason="nnU-Net's network: see reference/")
    _, _, strides, kernels, grid = PLANS[name]
    found = answers(lambda channels: reference(channels, strides, kernels), grid)
    assert found["layers"] == ANSWERS[name]["layers"]
    assert found["parameters"] == ANSWERS[name]["parameters"]
    for now, kept in zip(found["outputs"], ANSWERS[name]["outputs"], strict=True):
        torch.testing.assert_close(torch.tensor(now), torch.tensor(kept), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", PLANS)
def test_settings_lead_to_the_plans_network(name: str) -> None:
    spacing, patch, strides, kernels, _ = PLANS[name]
    settings = TrainingSettings(network="nnunet", size="base", patch=patch)
    shape = architecture_for(settings, spacing)
    assert shape == UNetShape(channels=CHANNELS, strides=strides, kernels=kernels)
    with torch.device("meta"):
        network = build_network(shape, IN_CHANNELS, OUT_CHANNELS, patch)
    assert isinstance(network, PlainUNet)


def test_exact_count_at_the_papers_patch() -> None:
    """Written out by hand: one channel, 30 outputs, 32 to 320 features."""
    widths = [32, 64, 128, 256, 320, 320]
    total, before = 0, 1
    for width in widths:
        total += 27 * before * width + 27 * width * width + 2 * width + 4 * width
        before = width
    for below, width, voxels in zip(widths[1:], widths, (8, 8, 8, 8, 4), strict=False):
        total += voxels * below * width + width
        total += 27 * 2 * width * width + 27 * width * width + 2 * width + 4 * width
    total += sum(30 * (width + 1) for width in widths[:4])
    settings = TrainingSettings(network="nnunet", size="base", patch=PAPER_PATCH)
    with torch.device("meta"):
        network = build_network(architecture_for(settings, None), 1, 30, PAPER_PATCH)
    assert sum(p.numel() for p in network.parameters()) == total == 30_798_904


@pytest.mark.parametrize("grid", [(16, 32, 24), (17, 33, 20), (5, 3, 4), (1, 40, 31), (4, 8, 3)])
def test_any_grid_gives_outputs_of_its_own_size(grid: tuple[int, int, int]) -> None:
    network = PlainUNet(2, 3, SMALL, (16, 32, 32))
    image = torch.randn(2, 2, *grid)
    outputs = network.train()(image)
    assert [output.shape for output in outputs] == [
        (2, 3, *(math.ceil(side / 2**level) for side in grid)) for level in range(2)
    ]
    with torch.no_grad():
        finest = network.eval()(image)
    torch.testing.assert_close(finest, outputs[0].detach())


def test_checkpointing_changes_memory_not_gradients() -> None:
    network = PlainUNet(1, 2, SMALL, (16, 32, 32)).train()
    image = torch.randn(1, 1, 16, 32, 32)
    gradients = []
    for checkpointing in (False, True):
        network.checkpointing = checkpointing
        network.zero_grad()
        sum(output.square().sum() for output in network(image)).backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    for kept, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(kept, recomputed)
    assert all(gradient.isfinite().all() for gradient in gradients[0])


def test_he_initialisation() -> None:
    torch.manual_seed(0)
    network = PlainUNet(1, 3, SMALL.model_copy(update={"channels": 32}), (16, 32, 32))
    for module in network.modules():
        if isinstance(module, torch.nn.Conv3d | torch.nn.ConvTranspose3d):
            expected = math.sqrt(2 / (1 + 0.01**2) / module.weight[0].numel())
            if module.weight.numel() > 10_000:
                assert module.weight.std().item() == pytest.approx(expected, rel=0.05)
            assert not module.bias.any()


def test_first_layers_and_heads_are_named() -> None:
    network: SegmentationNetwork = PlainUNet(2, 3, SMALL, (16, 32, 32))
    weights = network.state_dict()
    assert [weights[name].shape[1] for name in network.first_layers] == [2]
    assert [head.out_channels for head in network.heads] == [3, 3]
