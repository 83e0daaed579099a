"""Starting from checkpoints that others have published."""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tsfm_pipeline.model.published import nnunet, stunet
from tsfm_pipeline.network.segmentation import SegmentationNetwork
from tsfm_pipeline.network.sizes import HALVED, SIZES, STUNetSize, UNetShape
from tsfm_pipeline.network.stunet import STUNet
from tsfm_pipeline.network.tsfm import TSFM
from tsfm_pipeline.network.unet import PlainUNet
from tsfm_pipeline.training.task import TrainingError
from tsfm_pipeline.training.transfer import transfer_weights, weights_json

PATCH = (32, 32, 32)
REFERENCE = Path(__file__).parents[1] / "reference" / "published_checkpoints.json"
PUBLISHED: dict[str, dict[str, list[int]]] = json.loads(REFERENCE.read_text())


def _stunet(channels: int = 2, blocks: int = 1, inputs: int = 1) -> STUNet:
    return STUNet(inputs, 3, STUNetSize(channels=channels, blocks=blocks), PATCH)


def _unet(channels: int = 2, levels: int = 5) -> PlainUNet:
    kernels = ((3, 3, 3),) * (levels + 1)
    return PlainUNet(
        1, 3, UNetShape(channels=channels, strides=(HALVED,) * levels, kernels=kernels), PATCH
    )


def _as_published(network: SegmentationNetwork, family: str) -> dict[str, Tensor]:
    """Return a network's tensors under the public code's names."""
    theirs = PUBLISHED[family]
    names = {
        "stunet_small": stunet.our_names,
        "multitalent": nnunet.our_names_v1,
        "totalsegmentator": nnunet.our_names_v2,
    }[family](theirs)
    tensors = network.state_dict()
    return {their: tensors[ours] for their, ours in names.items() if ours in tensors}


@pytest.mark.parametrize(
    ("make", "family", "key"),
    [
        (_stunet, "stunet_small", "state_dict"),
        (_unet, "totalsegmentator", "network_weights"),
    ],
)
def test_all_but_the_heads_is_loaded_and_renamed(
    tmp_path: Path, make: type[SegmentationNetwork], family: str, key: str
) -> None:
    torch.manual_seed(0)
    given = make()
    path = tmp_path / "published.model"
    torch.save({key: _as_published(given, family), "best": np.float64(1)}, path)
    network = make()
    table = transfer_weights(network, path)
    assert [weight.name for weight in table] == list(network.state_dict())
    for weight in table:
        if weight.name.startswith("heads."):
            assert weight.action == "initialised"
        else:
            assert weight.action == "loaded"
            assert weight.from_name in PUBLISHED[family]
            expected = given.state_dict()[weight.name]
            assert torch.equal(network.state_dict()[weight.name], expected)
    assert json.loads(weights_json(table))[0]["from_name"] == table[0].from_name


def test_biases_that_nnunet_v1_is_without_become_zero(tmp_path: Path) -> None:
    given = _unet()
    torch.save({"state_dict": _as_published(given, "multitalent")}, tmp_path / "v1.model")
    network = _unet()
    for up in network.up:
        nn.init.ones_(up.conv.bias)
    table = transfer_weights(network, tmp_path / "v1.model")
    body = [weight for weight in table if not weight.name.startswith("heads.")]
    assert Counter(weight.action for weight in body) == {"loaded": len(body) - 5, "adapted": 5}
    assert not any(up.conv.bias.any() for up in network.up)
    assert torch.equal(network.up[4].conv.weight, given.up[4].conv.weight)


def test_another_number_of_channels_is_adapted(tmp_path: Path) -> None:
    given = _stunet()
    torch.save({"state_dict": _as_published(given, "stunet_small")}, tmp_path / "ct.model")
    network = _stunet(inputs=4)
    table = {weight.name: weight for weight in transfer_weights(network, tmp_path / "ct.model")}
    adapted = {name for name, weight in table.items() if weight.action == "adapted"}
    assert adapted == set(STUNet.first_layers)
    image = torch.randn(1, 1, 8, 8, 8)
    torch.testing.assert_close(
        network.encoder[0](image.expand(1, 4, 8, 8, 8)), given.encoder[0](image)
    )


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "base_ep4k.model"
    torch.save({"state_dict": _as_published(_stunet(), "stunet_small")}, path)
    network = TSFM(1, 3, SIZES["tiny"], PATCH)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(TrainingError) as refusal:
        transfer_weights(network, path)
    said = str(refusal.value)
    assert f"{path} are a checkpoint of STU-Net, which begins with" in said
    assert "conv_blocks_context.0.0.conv1.weight (2, 1, 3, 3, 3)" in said
    assert "encoder.0.0.conv1.weight (8, 1, 3, 3, 3)" in said
    assert "set `network` to stunet" in said
    assert all(torch.equal(network.state_dict()[name], before[name]) for name in before)


@pytest.mark.parametrize(
    ("given", "wanted", "family", "first"),
    [
        # twice as wide
        (_stunet(), _stunet(4), "stunet_small", "conv_blocks_context.0.0.conv1.weight, (2, 1, "),
        # one block more
        (_stunet(), _stunet(blocks=2), "stunet_small", "encoder.0.1.conv1.weight, absent in"),
        # one resolution more
        (_unet(levels=4), _unet(), "totalsegmentator", "encoder.5.0.0.weight, absent in"),
    ],
)
def test_a_checkpoint_of_another_size_is_refused(
    tmp_path: Path,
    given: SegmentationNetwork,
    wanted: SegmentationNetwork,
    family: str,
    first: str,
) -> None:
    state = _as_published(given, family)
    torch.save({"state_dict": state}, tmp_path / "other.model")
    with pytest.raises(TrainingError, match="another size") as refusal:
        transfer_weights(wanted, tmp_path / "other.model")
    said = str(refusal.value)
    assert f"the first that does not fit is {first}" in said
    theirs = next(iter(state))
    assert re.search(rf"begins with {re.escape(theirs)} \(2, 1, 3, 3, 3\)", said)
    assert "set `size`" in said


def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "page.model").write_text("<html>quota exceeded</html>")
    with pytest.raises(TrainingError, match=r"page\.model"):
        transfer_weights(_stunet(), tmp_path / "page.model")


def test_swinunetrs_encoder_alone_fills_the_encoder(tmp_path: Path) -> None:
    pytest.importorskip("monai", reason="the extra `baselines` is not installed")
    from tsfm_pipeline.network.sizes import SwinUNETRSize
    from tsfm_pipeline.network.swinunetr import SwinUNETR

    given, network = (SwinUNETR(1, 2, SwinUNETRSize(channels=12), PATCH) for _ in "ab")
    encoder = {
        f"module.{name.removeprefix('body.swinViT.').replace('.mlp.linear', '.mlp.fc')}": tensor
        for name, tensor in given.state_dict().items()
        if name.startswith("body.swinViT.")
    }
    assert encoder.keys() <= PUBLISHED["model_swinvit"].keys()
    torch.save({"epoch": 1, "state_dict": encoder}, tmp_path / "model_swinvit.pt")
    for weight in transfer_weights(network, tmp_path / "model_swinvit.pt"):
        encoded = weight.name.startswith("body.swinViT.")
        assert weight.action == ("loaded" if encoded else "initialised"), weight.name
