"""The blocks against hand-written functional versions."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tsfm_pipeline.network.blocks import (
    DownSample,
    ResidualBlock,
    TransformerBottleneck,
    TransformerLayer,
    UpSample,
    resize_position,
)
from tsfm_pipeline.network.sizes import TsfmSize


def _norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    mean = x.mean((2, 3, 4), keepdim=True)
    variance = ((x - mean) ** 2).mean((2, 3, 4), keepdim=True)
    scale, shift = (v.view(1, -1, 1, 1, 1) for v in (weight, bias))
    return (x - mean) / torch.sqrt(variance + 1e-5) * scale + shift


def _leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.01 * x)


def _residual(x: Tensor, p: dict[str, Tensor], stride: int) -> Tensor:
    y = F.conv3d(x, p["conv1.weight"], p["conv1.bias"], stride=stride, padding=1)
    y = _leaky(_norm(y, p["norm1.weight"], p["norm1.bias"]))
    y = F.conv3d(y, p["conv2.weight"], p["conv2.bias"], padding=1)
    y = _leaky(_norm(y, p["norm2.weight"], p["norm2.bias"]))
    if "connection.weight" in p:
        x = F.conv3d(x, p["connection.weight"], p["connection.bias"], stride=stride)
    return y + x


def test_up_sampling_keeps_the_half_precision_of_its_convolution() -> None:
    block, x = UpSample(4), torch.randn(1, 4, 2, 3, 2)
    with torch.autocast("cpu", torch.bfloat16):
        half = block(x, (4, 6, 4))
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), block(x, (4, 6, 4)), rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("block", "stride"), [(ResidualBlock(4, 4), 1), (ResidualBlock(6, 4), 1), (DownSample(4), 2)]
)
def test_residual_block_and_its_gradients(block: ResidualBlock, stride: int) -> None:
    torch.manual_seed(0)
    block = block.double()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    copies = {n: p.detach().clone().requires_grad_() for n, p in block.named_parameters()}
    x = torch.randn(2, block.conv1.in_channels, 5, 6, 4, dtype=torch.double)
    weight = torch.randn_like(block(x))
    (block(x) * weight).sum().backward()
    expected = _residual(x, copies, stride)
    (expected * weight).sum().backward()
    torch.testing.assert_close(block(x), expected)
    for name, parameter in block.named_parameters():
        torch.testing.assert_close(parameter.grad, copies[name].grad, msg=name)


def test_up_sampling_equals_interpolation_before_convolution() -> None:
    torch.manual_seed(0)
    up, x = UpSample(6), torch.randn(2, 6, 3, 2, 4)
    expected = up.conv(F.interpolate(x, scale_factor=2, mode="nearest"))
    torch.testing.assert_close(up(x, (6, 4, 8)), expected)
    torch.testing.assert_close(up(x, (5, 4, 7)), expected[:, :, :5, :, :7])


def test_transformer_layer_against_explicit_attention() -> None:
    torch.manual_seed(0)
    layer, x = TransformerLayer(12, 3), torch.randn(2, 5, 12)
    with torch.no_grad():
        normed = F.layer_norm(x, (12,), layer.norm1.weight, layer.norm1.bias, 1e-6)
        query, key, value = layer.query_key_value(normed).split(12, dim=-1)
        heads = []
        for head in range(3):
            part = slice(4 * head, 4 * head + 4)
            scores = query[..., part] @ key[..., part].transpose(1, 2) / math.sqrt(4)
            heads.append(scores.softmax(-1) @ value[..., part])
        y = x + layer.project(torch.cat(heads, -1))
        hidden = F.layer_norm(y, (12,), layer.norm2.weight, layer.norm2.bias, 1e-6)
        expected = y + layer.contract(F.gelu(layer.expand(hidden)))
        torch.testing.assert_close(layer(x), expected)


def test_position_embedding_is_interpolated_trilinearly() -> None:
    # a ramp stays a ramp between the outer voxel centres
    ramp = torch.arange(4.0).view(1, 1, 4, 1, 1).expand(1, 2, 4, 2, 3)
    finer = resize_position(ramp, (8, 4, 3))
    assert finer.shape == (1, 2, 8, 4, 3)
    expected = torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])
    torch.testing.assert_close(finer[0, 0, :, 0, 0], expected)
    assert resize_position(ramp, (4, 2, 3)) is ramp


def test_position_embedding_decides_between_equal_tokens() -> None:
    size = TsfmSize(channels=2, blocks=1, width=6, layers=1, heads=2)
    bottleneck, x = TransformerBottleneck(4, size, (2, 1, 1)), torch.ones(1, 4, 2, 1, 1)
    same = bottleneck(x)
    torch.testing.assert_close(same[:, :, 0], same[:, :, 1])
    torch.nn.init.normal_(bottleneck.position)
    other = bottleneck(x)
    assert not torch.allclose(other[:, :, 0], other[:, :, 1])
