"""A finished model is what training wrote, or is refused."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from tests.model.test_folder import CARD
from tsfm_pipeline.files import digest, file_digest
from tsfm_pipeline.inference.model import load_model
from tsfm_pipeline.model.card import ModelCard
from tsfm_pipeline.model.folder import ModelError, ModelFolder
from tsfm_pipeline.model.summary import TrainingSummary
from tsfm_pipeline.training.task import TrainingError
from tsfm_pipeline.training.transfer import transfer_weights

SUMMARY = TrainingSummary(
    name="pretrain.tsfm",
    epochs=3,
    parameters=1,
    seconds=1.5,
    dice=None,
    best_dice=None,
    best_epoch=None,
    skipped_steps=0,
)
READERS = {
    "best.safetensors": lambda folder: load_model(folder, "best", "cpu"),
    "model.json": lambda folder: folder.card,
    "summary.json": lambda folder: folder.summary,
}


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    folder = ModelFolder(tmp_path / "model")
    folder.path.mkdir()
    card = ModelCard.model_validate({**CARD, "patch": [16, 16, 32]})
    folder.write_card(card)
    for kind in ("best", "final"):
        save_file(card.build_network().state_dict(), folder.weights(kind))
    folder.write_summary(SUMMARY)
    return folder


def flip_bit(path: Path, bit: int) -> None:
    """Change one bit and hide it as well as a disk does: same size, same times."""
    content, stat = bytearray(path.read_bytes()), path.stat()
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    digest._digested.clear()  # as in a process of its own


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_is_refused(folder: ModelFolder, name: str) -> None:
    path = folder.path / name
    READERS[name](ModelFolder(folder.path))
    for bit in np.random.default_rng(0).integers(0, 8 * path.stat().st_size, 8).tolist():
        flip_bit(path, bit)
        with pytest.raises(ModelError, match=rf"{name} is damaged: .* train again"):
            READERS[name](ModelFolder(folder.path))
        flip_bit(path, bit)
    READERS[name](ModelFolder(folder.path))


def test_no_training_starts_from_damaged_weights(folder: ModelFolder) -> None:
    network = folder.card.build_network()
    flip_bit(folder.weights("best"), 8 * folder.weights("best").stat().st_size - 1)
    with pytest.raises(TrainingError, match=r"best\.safetensors is damaged"):
        transfer_weights(network, folder.weights("best"))


def test_what_training_changes_again_has_no_seal_until_it_ends(folder: ModelFolder) -> None:
    folder.write_card(folder.card.model_copy(update={"name": "longer"}))
    folder.unseal(folder.weights("best"))
    save_file(folder.card.build_network().state_dict(), folder.weights("best"))
    assert set(json.loads(folder.seals.read_text())) == {"final.safetensors", "summary.json"}
    assert load_model(ModelFolder(folder.path), "best", "cpu").card.name == "longer"
    folder.write_summary(SUMMARY)
    assert json.loads(folder.seals.read_text()) == {
        path.name: file_digest(path) for path in folder.path.iterdir() if path != folder.seals
    }


def test_damaged_seals_are_told(folder: ModelFolder) -> None:
    folder.seals.write_text('{"best.safetensors": ')
    with pytest.raises(ModelError, match=r"digests\.json is damaged"):
        load_model(ModelFolder(folder.path), "best", "cpu")


def test_folders_of_before_there_were_seals_are_read(folder: ModelFolder) -> None:
    folder.seals.unlink()
    for read in READERS.values():
        read(ModelFolder(folder.path))


def test_the_final_weights_never_stand_in_for_best_ones_that_are_gone(folder: ModelFolder) -> None:
    folder.weights("best").unlink()
    with pytest.raises(ModelError, match=r"best\.safetensors is gone"):
        ModelFolder(folder.path).used_weights()
