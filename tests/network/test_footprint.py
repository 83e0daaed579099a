"""What networks cost, against counts by hand."""

import math

import pytest
import torch

from tsfm_pipeline.network.footprint import footprint
from tsfm_pipeline.network.sizes import NETWORKS, SIZES, UNetShape
from tsfm_pipeline.network.unet import PlainUNet

SHAPE = UNetShape(
    channels=8, strides=((1, 2, 2), (2, 2, 2)), kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3))
)
PATCH = (16, 32, 64)


def test_flops_are_two_per_multiply_add() -> None:
    voxels = [16 * 32 * 64, 16 * 16 * 32, 8 * 8 * 16]
    down = [9 * (1 * 8 + 8 * 8), 27 * (8 * 16 + 16 * 16), 27 * (16 * 32 + 32 * 32)]
    up = [9 * (16 * 8 + 8 * 8) + 8 * 5, 27 * (32 * 16 + 16 * 16)]
    transposed = [16 * 8, 32 * 16]  # each fine voxel comes from one coarse
    by_hand = sum(v * n for v, n in zip(voxels, down, strict=True))
    by_hand += sum(v * (n + t) for v, n, t in zip(voxels[:2], up, transposed, strict=True))
    assert footprint(SHAPE, 1, 5, PATCH).forward_flops == 2 * by_hand


def test_kept_maps_by_hand() -> None:
    """Of a convolution its output and the activation's; the image; each concatenation."""
    voxels = [16 * 32 * 64, 16 * 16 * 32, 8 * 8 * 16]
    by_hand = voxels[0] + sum(4 * width * v for width, v in zip((8, 16, 32), voxels, strict=True))
    by_hand += sum((2 + 4) * width * v for width, v in zip((8, 16), voxels[:2], strict=True))
    assert footprint(SHAPE, 1, 5, PATCH).kept_values == pytest.approx(by_hand, rel=1e-3)


def test_kept_values_are_what_a_real_forward_pass_keeps() -> None:
    network = PlainUNet(1, 5, SHAPE, PATCH).train()
    weights = {parameter.data_ptr() for parameter in network.parameters()}
    kept = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(torch.randn(1, 1, *PATCH))
    real = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    cost = footprint(SHAPE, 1, 5, PATCH)
    assert cost.kept_values * 4 == pytest.approx(real, rel=0.01)


def test_heads_of_coarser_grids_are_counted_apart() -> None:
    cost = footprint(SIZES["tiny"], 1, 30, (16, 32, 32))
    assert cost.supervised == 3
    assert cost.supervision_parameters == 30 * (16 + 1) + 30 * (32 + 1)
    shape = SHAPE.model_copy(update={"strides": ((2, 2, 2),) * 3, "kernels": ((3, 3, 3),) * 4})
    more = footprint(shape, 1, 5, PATCH)
    assert more.supervision_parameters == 5 * (16 + 1)
    assert math.isclose(
        more.parameters + more.supervision_parameters,
        sum(p.numel() for p in PlainUNet(1, 5, shape, PATCH).parameters()),
    )


def test_checkpointing_keeps_the_inputs_of_blocks_and_one_blocks_insides() -> None:
    """Inputs of each pair of convolutions, of up-sampling and the head; one finest pair's maps."""
    voxels = [16 * 32 * 64, 16 * 16 * 32, 8 * 8 * 16]
    down = voxels[0] + 8 * voxels[0] + 16 * voxels[1]
    up = (32 * voxels[1] + 16 * voxels[0]) + (32 * voxels[2] + 16 * voxels[1])
    by_hand = down + up + 8 * voxels[0]
    again = 4 * 8 * voxels[0]
    cost = footprint(SHAPE, 1, 5, PATCH, checkpointing=True)
    assert cost.kept_values == pytest.approx(by_hand + again, rel=1e-3)


@pytest.mark.parametrize(
    "architecture",
    [
        SIZES["tiny"],
        SHAPE,
        NETWORKS["stunet"]["tiny"],
        pytest.param(NETWORKS["swinunetr"]["tiny"], marks=pytest.mark.slow),
    ],
    ids=lambda architecture: architecture.kind,
)
def test_other_outputs_cost_what_their_network_costs(architecture) -> None:
    patch = (32, 32, 64)
    assert footprint(architecture, 1, 1, patch).with_outputs(7) == footprint(
        architecture, 1, 7, patch
    )
