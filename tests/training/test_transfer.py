"""Starting from another network's weights: what is copied, adapted, fresh."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from tsfm_pipeline.imaging.geometry import Triple
from tsfm_pipeline.network.sizes import SIZES, SizeName
from tsfm_pipeline.network.tsfm import TSFM
from tsfm_pipeline.training.checkpoint import save_weights
from tsfm_pipeline.training.task import TrainingError
from tsfm_pipeline.training.transfer import adapt_channels, transfer_weights, weights_json


def _network(
    channels: int = 1, outputs: int = 3, patch: Triple = (32, 16, 32), size: SizeName = "tiny"
) -> TSFM:
    return TSFM(channels, outputs, SIZES[size], patch)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[TSFM, Path]:
    torch.manual_seed(0)
    network = _network()
    path = tmp_path_factory.mktemp("source") / "best.safetensors"
    save_weights(path, network.state_dict())
    return network, path


def test_everything_but_the_heads_is_loaded(source: tuple[TSFM, Path]) -> None:
    given, path = source
    torch.manual_seed(1)
    network = _network()  # heads of equal shape start fresh too
    fresh = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    table = transfer_weights(network, path)
    assert [weight.name for weight in table] == list(fresh)
    for weight in table:
        now = network.state_dict()[weight.name]
        if weight.name.startswith("heads."):
            assert weight.action == "initialised"
            assert torch.equal(now, fresh[weight.name])
        else:
            assert weight.action == "loaded"
            assert torch.equal(now, given.state_dict()[weight.name])


def test_another_grid_and_other_channels_are_adapted(source: tuple[TSFM, Path]) -> None:
    given, path = source
    network = _network(channels=4, outputs=5, patch=(48, 32, 32))
    table = {weight.name: weight for weight in transfer_weights(network, path)}
    actions = Counter(weight.action for weight in table.values())
    assert actions == {"loaded": len(table) - 3 - 6, "adapted": 3, "initialised": 6}
    position = table["bottleneck.position"]
    assert (position.action, position.from_shape, position.to_shape) == (
        "adapted",
        (1, 96, 2, 1, 2),
        (1, 96, 3, 2, 2),
    )
    expected = F.interpolate(given.bottleneck.position, size=(3, 2, 2), mode="trilinear")
    torch.testing.assert_close(network.bottleneck.position, expected)
    first = table["encoder.0.0.conv1.weight"]
    assert (first.from_shape, first.to_shape) == ((8, 1, 3, 3, 3), (8, 4, 3, 3, 3))
    # an image repeated over four channels gives what one channel gave
    image = torch.randn(1, 1, 8, 8, 8)
    torch.testing.assert_close(
        network.encoder[0](image.expand(1, 4, 8, 8, 8)), given.encoder[0](image)
    )


def test_channels_are_repeated_in_turn_and_divided() -> None:
    weight = torch.arange(6.0).view(1, 2, 3, 1, 1)
    adapted = adapt_channels(weight, 4)
    torch.testing.assert_close(adapted[:, 0], weight[:, 0] / 2)
    torch.testing.assert_close(adapted[:, 3], weight[:, 1] / 2)


@pytest.mark.parametrize(("old", "channels"), [(4, 1), (4, 2), (5, 2)])
def test_fewer_channels_answer_as_all_did_to_repeated_ones(old: int, channels: int) -> None:
    weight, image = torch.randn(3, old, 3, 3, 3), torch.randn(1, channels, 5, 5, 5)
    repeated = image[:, [channel % channels for channel in range(old)]]
    torch.testing.assert_close(
        F.conv3d(image, adapt_channels(weight, channels)), F.conv3d(repeated, weight)
    )


def test_network_of_another_size_is_refused(source: tuple[TSFM, Path]) -> None:
    with pytest.raises(TrainingError, match="another size"):
        transfer_weights(_network(size="small"), source[1])


def test_the_log_names_what_was_not_copied_and_not_used(
    source: tuple[TSFM, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    more = source[0].state_dict() | {"decoder.9.weight": torch.zeros(1)}
    save_weights(tmp_path / "more.safetensors", more)
    with caplog.at_level("INFO"):
        transfer_weights(_network(patch=(48, 32, 32)), tmp_path / "more.safetensors")
    assert "1 adapted (bottleneck.position)" in caplog.text
    assert "6 initialised (heads.0.weight, heads.0.bias," in caplog.text
    assert "1 unused (decoder.9.weight)" in caplog.text


def test_a_body_that_starts_fresh_in_part_is_warned_of(
    source: tuple[TSFM, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = source[0].state_dict()
    first = "encoder.1.0.conv1.weight"
    other[first] = other[first][:, :4]
    del other["bottleneck.norm.weight"]
    save_weights(tmp_path / "other.safetensors", other)
    network = _network()
    transfer_weights(network, source[1])
    assert "start fresh" not in caplog.text
    transfer_weights(network, tmp_path / "other.safetensors")
    body = sum(not name.startswith("heads.") for name in other) + 1
    assert (
        f"2 of {body} tensors below the heads start fresh, {first} first"
        " ((16, 4, 3, 3, 3) in the file, (16, 8, 3, 3, 3) here)"
    ) in caplog.text


def test_unreadable_weights_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no weights")
    for path in (broken, tmp_path / "absent.safetensors"):
        with pytest.raises(TrainingError, match=path.name):
            transfer_weights(_network(), path)


def test_table_is_json_a_tensor_a_line(source: tuple[TSFM, Path]) -> None:
    table = transfer_weights(_network(outputs=2), source[1])
    text = weights_json(table)
    assert len(json.loads(text)) == len(table) == len(text.splitlines()) - 2
    head = next(row for row in json.loads(text) if row["name"] == "heads.0.weight")
    assert head == {
        "name": "heads.0.weight",
        "action": "initialised",
        "from_name": None,
        "from_shape": [3, 8, 1, 1, 1],
        "to_shape": [2, 8, 1, 1, 1],
    }
