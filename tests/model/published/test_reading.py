"""Checkpoints are read as values; what would run code is refused, with a way out."""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tsfm_pipeline.model.published.checkpoint import read_published
from tsfm_pipeline.model.published.reading import PublishedError, read_state

RAN = []


class Runs:
    """An object whose unpickling calls a function."""

    def __reduce__(self) -> tuple[object, ...]:
        return RAN.append, ("ran",)


class Trainer:
    """A class of its publisher's own code."""


@pytest.mark.parametrize("key", ["state_dict", "network_weights", "model_state_dict"])
@pytest.mark.parametrize("legacy", [False, True])
def test_what_publishers_store_beside_the_weights_is_read(
    tmp_path: Path, key: str, legacy: bool
) -> None:
    content = {
        "epoch": 4000,
        key: {"module.a.weight": torch.arange(3.0), "text": "no tensor"},
        "plot_stuff": ([np.float64(0.5), np.float32(1)], np.arange(3.0), [np.int64(1)]),
        "best_stuff": (None, np.bool_(True)),
        "init_args": {"device": torch.device("cuda"), "plans": {"a": [1, (2.0, None)]}},
        "args": argparse.Namespace(lr=8e-4),
    }
    path = tmp_path / "published.model"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    state = read_state(path)
    assert list(state) == ["a.weight"]
    assert torch.equal(state["a.weight"], torch.arange(3.0))


def test_numbers_written_with_numpy_1_are_read(tmp_path: Path) -> None:
    path = tmp_path / "published.model"
    content = {"state_dict": {"a": torch.ones(2)}, "best": np.float64(1), "curve": np.arange(2.0)}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    old = path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old != path.read_bytes()
    path.write_bytes(old)
    assert list(read_state(path)) == ["a"]


def test_a_bare_state_is_read(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "bare.pt")
    assert list(read_state(tmp_path / "bare.pt")) == ["a"]


@pytest.mark.parametrize("legacy", [False, True])
def test_what_would_run_code_is_refused_before_it_runs(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "evil.model"
    content = {"state_dict": {"a": torch.ones(2)}, "x": Runs()}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    RAN.clear()
    with pytest.raises(PublishedError, match=r"could run code") as refusal:
        read_state(path)
    assert not RAN
    assert str(path) in str(refusal.value)


def test_the_way_out_works(tmp_path: Path) -> None:
    path = tmp_path / "own_classes.pth"
    torch.save({"network_weights": {"a": torch.ones(2)}, "trainer": Trainer()}, path)
    with pytest.raises(PublishedError, match=r"test_reading\.Trainer") as refusal:
        read_state(path)
    code = str(refusal.value).partition('python -c "')[2].removesuffix('"')
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
    assert list(read_state(tmp_path / "own_classes.pth.weights.pt")) == ["a"]


def test_other_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.model").write_text("no checkpoint")
    torch.save({"epoch": 3}, tmp_path / "empty.model")
    torch.save([1, 2], tmp_path / "list.model")
    whole = tmp_path / "whole.model"
    torch.save({"a": torch.ones(1000)}, whole)
    (tmp_path / "cut.model").write_bytes(whole.read_bytes()[:2000])
    for name, said in {
        "absent.model": "is not there",
        "text.model": "text.model",
        "empty.model": "first keys: epoch",
        "list.model": "holds no named tensors",
        "cut.model": "cut.model",
    }.items():
        with pytest.raises(PublishedError, match=said):
            read_state(tmp_path / name)


def test_an_unknown_family_is_told_what_is_known(tmp_path: Path) -> None:
    path = tmp_path / "resenc.pth"
    names = ("encoder.stem.convs.0.conv.weight", "encoder.stem.convs.0.conv.bias")
    torch.save({"network_weights": {name: torch.ones(32) for name in names}}, path)
    with pytest.raises(PublishedError) as refusal:
        read_published(path)
    assert f"{path} is no checkpoint of a known family" in str(refusal.value)
    assert "encoder.stem.convs.0.conv.weight (32,)" in str(refusal.value)
    assert "STU-Net (with conv_blocks_context.0.0.conv3.weight)" in str(refusal.value)
