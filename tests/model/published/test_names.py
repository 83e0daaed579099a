"""Every tensor of the public code, at full size, gets a place in our network of the same size.

`tests/reference/published_checkpoints.py` wrote the names and shapes from that code.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from tsfm_pipeline.model.published import nnunet, stunet, swinunetr
from tsfm_pipeline.network.segmentation import SegmentationNetwork
from tsfm_pipeline.network.sizes import HALVED, NETWORKS, STUNetSize, UNetShape
from tsfm_pipeline.network.stunet import STUNet
from tsfm_pipeline.network.unet import PlainUNet

REFERENCE = Path(__file__).parents[2] / "reference" / "published_checkpoints.json"
PUBLISHED: dict[str, dict[str, list[int]]] = json.loads(REFERENCE.read_text())
CUBE = (3, 3, 3)


def _shapes(network: SegmentationNetwork) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in network.state_dict().items()}


def _with_names(family: str, names: dict[str, str]) -> dict[str, list[int]]:
    return {names[their]: shape for their, shape in PUBLISHED[family].items() if their in names}


def _heads(names: Iterable[str]) -> set[str]:
    return {name for name in names if name.startswith("heads.")}


@pytest.mark.parametrize("name", ["small", "huge"])
def test_stunet(name: str) -> None:
    size = NETWORKS["stunet"][name]
    assert isinstance(size, STUNetSize)
    with torch.device("meta"):
        ours = _shapes(STUNet(1, 105, size, (128, 128, 128)))
    theirs = PUBLISHED[f"stunet_{name}"]
    names = stunet.our_names(theirs)
    assert names.keys() == theirs.keys()
    converted = _with_names(f"stunet_{name}", names)
    assert converted.keys() - ours.keys() == {"heads.4.weight", "heads.4.bias"}  # of weight 0
    assert {key: converted[key] for key in ours} == ours


def test_multitalent() -> None:
    strides = (*(HALVED,) * 4, (1, 2, 2))
    shape = UNetShape(channels=30, strides=strides, kernels=(CUBE,) * 6)
    with torch.device("meta"):
        ours = _shapes(PlainUNet(1, 47, shape, (96, 192, 192)))
    names = nnunet.our_names_v1(PUBLISHED["multitalent"])
    assert names.keys() == PUBLISHED["multitalent"].keys()
    converted = _with_names("multitalent", names)
    biases = {name for name in ours if name.startswith("up.") and name.endswith("bias")}
    assert ours.keys() - converted.keys() - _heads(ours) == biases
    assert all(converted[key] == ours[key] for key in ours.keys() & converted.keys())
    weights = {name: torch.ones(shape) for name, shape in converted.items() if name[:3] == "up."}
    zeros = nnunet.zero_biases(weights)
    assert {name: list(zero.shape) for name, zero in zeros.items()} == {
        name: ours[name] for name in biases
    }
    assert not any(zero.any() for zero in zeros.values())


def test_totalsegmentator() -> None:
    shape = UNetShape(channels=32, strides=(HALVED,) * 5, kernels=(CUBE,) * 6)
    with torch.device("meta"):
        ours = _shapes(PlainUNet(1, 25, shape, (128, 128, 128)))
    theirs = PUBLISHED["totalsegmentator"]
    names = nnunet.our_names_v2(theirs)
    left_out = theirs.keys() - names.keys()
    assert all("all_modules" in name or name.startswith("decoder.encoder.") for name in left_out)
    converted = _with_names("totalsegmentator", names)
    assert len(converted) == len(names)  # no two become one
    assert {key: converted[key] for key in ours} == ours
    assert converted.keys() - ours.keys() == {"heads.4.weight", "heads.4.bias"}


def test_swinunetr_is_monais_own() -> None:
    theirs = PUBLISHED["swinunetr_btcv"]
    names = swinunetr.our_names(theirs)
    assert names.keys() == theirs.keys()
    for name, ours in names.items():
        if name.startswith("out."):
            assert ours == f"heads.0.{name.rpartition('.')[2]}"
        else:
            assert ours == f"body.{name}"
    older = swinunetr.our_names(name.replace(".mlp.linear", ".mlp.fc") for name in theirs)
    assert list(older.values()) == list(names.values())


def test_the_self_supervised_encoder_is_the_networks() -> None:
    plain = [name.removeprefix("module.") for name in PUBLISHED["model_swinvit"]]
    names = swinunetr.encoder_names([*plain, "rotation_head.weight", "norm.weight"])
    assert list(names) == plain
    whole = swinunetr.our_names(PUBLISHED["swinunetr_btcv"]).values()
    assert list(names.values()) == [name for name in whole if name.startswith("body.swinViT.")]


def test_swinunetr_fills_ours() -> None:
    pytest.importorskip("monai", reason="the extra `baselines` is not installed")
    from tsfm_pipeline.network.sizes import SwinUNETRSize
    from tsfm_pipeline.network.swinunetr import SwinUNETR

    network = SwinUNETR(1, 14, SwinUNETRSize(channels=48), (96, 96, 96))
    names = swinunetr.our_names(PUBLISHED["swinunetr_btcv"])
    assert _with_names("swinunetr_btcv", names) == _shapes(network)
