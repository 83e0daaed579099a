"""SwinUNETR against MONAI's own, and what is said where MONAI is missing."""

from importlib.util import find_spec

import pytest
import torch

from tsfm_pipeline.network import extras
from tsfm_pipeline.network.extras import PACKAGES, MissingExtra, require_packages
from tsfm_pipeline.network.sizes import NETWORKS, SwinUNETRSize
from tsfm_pipeline.network.swinunetr import SwinUNETR

TINY = SwinUNETRSize(channels=12)

needs_monai = pytest.mark.skipif(
    not all(map(find_spec, PACKAGES["swinunetr"])), reason="needs monai and einops, .[baselines]"
)


@needs_monai
@pytest.mark.parametrize(
    ("size", "published", "exact"),
    # BTCV's README gives 62.1, 15.7 and 4.0 M for 14 outputs
    [("base", 62.1e6, 62_187_296), ("small", 15.7e6, 15_703_304), ("tiny", 3.9e6, 3_911_360)],
)
def test_exact_counts(size: str, published: float, exact: int) -> None:
    architecture = NETWORKS["swinunetr"][size]
    assert isinstance(architecture, SwinUNETRSize)
    with torch.device("meta"):
        network = SwinUNETR(1, 14, architecture, (96, 96, 96))
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == exact
    assert count == pytest.approx(published, abs=0.1e6)


@needs_monai
def test_output_is_that_of_monai() -> None:
    from monai.networks import nets

    torch.manual_seed(0)
    theirs = nets.SwinUNETR(2, 3, feature_size=12)
    ours = SwinUNETR(2, 3, TINY, (32, 64, 32))
    weights = theirs.state_dict()
    head = {name: weights.pop(f"out.conv.conv.{name}") for name in ("weight", "bias")}
    ours.body.load_state_dict(weights)
    ours.heads[0].load_state_dict(head)
    image = torch.randn(1, 2, 32, 64, 32)
    with torch.no_grad():
        expected = theirs.eval()(image)
        torch.testing.assert_close(ours.eval()(image), expected)
        (trained,) = ours.train()(image)
    torch.testing.assert_close(trained, expected)


@needs_monai
@pytest.mark.parametrize("grid", [(33, 20, 64), (32, 32, 32), (5, 3, 4)])
def test_any_grid_gives_an_output_of_its_own_size(grid: tuple[int, int, int]) -> None:
    network = SwinUNETR(1, 2, TINY, (32, 64, 32)).eval()
    image = torch.randn(1, 1, *grid)
    sides = [-(-side // 32) * 32 for side in grid]
    sides[2] += 32 * (sides == [32, 32, 32])
    padded = torch.zeros(1, 1, *sides)
    padded[:, :, : grid[0], : grid[1], : grid[2]] = image
    with torch.no_grad():
        logits = network(image)
        whole = network(padded)
    assert logits.shape == (1, 2, *grid)
    torch.testing.assert_close(logits, whole[:, :, : grid[0], : grid[1], : grid[2]])


@needs_monai
def test_checkpointing_changes_memory_not_gradients() -> None:
    torch.manual_seed(0)
    network = SwinUNETR(1, 2, TINY, (32, 32, 64)).train()
    image = torch.randn(1, 1, 32, 32, 64)
    gradients, kept = [], []
    for checkpointing in (False, True):
        network.checkpointing = checkpointing
        network.zero_grad()
        saved: dict[int, int] = {}

        def pack(tensor: torch.Tensor, saved: dict[int, int] = saved) -> torch.Tensor:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            (logits,) = network(image)
        logits.square().sum().backward()
        kept.append(sum(saved.values()))
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)
    assert kept[1] < kept[0] / 4


@needs_monai
def test_blocks_that_are_shared_out_hold_nearly_all_parameters() -> None:
    with torch.device("meta"):
        network = SwinUNETR(1, 14, TINY, (96, 96, 96))
    blocks = [m for m in network.modules() if isinstance(m, network.repeated)]
    inside = {id(p) for block in blocks for p in block.parameters()}
    count = sum(p.numel() for p in network.parameters() if id(p) in inside)
    assert count > 0.95 * sum(p.numel() for p in network.parameters())
    weights = network.state_dict()
    assert {weights[name].shape[1] for name in network.first_layers} == {1}


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "monai" else object())
    with pytest.raises(MissingExtra, match=r'swinunetr needs monai; pip install "tsfm-pipeline\['):
        SwinUNETR(1, 2, TINY, (96, 96, 96))
    require_packages("tsfm")
