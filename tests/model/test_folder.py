"""The folder of a model: what its files are called, and that nobody else says so."""

import ast
import json
from pathlib import Path

import pytest

from tsfm_pipeline.files import file_digest
from tsfm_pipeline.imaging.intensity import CtStatistics
from tsfm_pipeline.model.folder import ModelError, ModelFolder
from tsfm_pipeline.model.summary import TrainingSummary
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.network.sizes import SIZES
from tsfm_pipeline.training.task import TrainingTask

CARD = {
    "name": "pretrain.tsfm",
    "network": {"channels": 8, "blocks": 1, "width": 96, "layers": 2, "heads": 3},
    "in_channels": 1,
    "regions": ["liver"],
    "table": {"targets": {"liver": 5}},
    "patch": [16, 16, 16],
    "ct_statistics": {"lower": -200, "upper": 300, "mean": 40, "sd": 80},
    "target_spacing": [3.0, 2.0, 2.0],
    "settings": {"size": "tiny", "epochs": 3},
    "training": ["msd_liver/one"],
    "validation": [],
    "initial_weights": None,
    "pool_digest": "d1",
}
"""As model folders of every age hold it: without `modalities` and `pool_version`."""

FILES = (
    *("model.json", "summary.json", "task.json", "weights.json", "metrics.jsonl"),
    *("state.pt", "state.previous.pt", "state.damaged.pt"),
    *("best.safetensors", "final.safetensors", "postprocessing_best.json"),
)


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    (tmp_path / "model.json").write_text(json.dumps(CARD))
    (tmp_path / "best.safetensors").write_bytes(b"best")
    (tmp_path / "final.safetensors").write_bytes(b"final")
    return ModelFolder(tmp_path)


def test_every_file_is_where_it_always_was(tmp_path: Path) -> None:
    folder = ModelFolder(tmp_path)
    paths = {
        folder.card_path,
        folder.summary_path,
        folder.task,
        folder.weights_table,
        folder.metrics,
        folder.state,
        folder.previous_state,
        folder.damaged_state,
        *(folder.weights(kind) for kind in ("best", "final")),
        folder.rule("best"),
    }
    assert paths == {tmp_path / name for name in FILES}
    assert folder.fast.path == tmp_path / "fast"


def test_the_card_of_an_older_folder_is_read_once(folder: ModelFolder) -> None:
    card = folder.card
    assert card.network == SIZES["tiny"]
    assert card.ct_statistics == CtStatistics(lower=-200, upper=300, mean=40, sd=80)
    assert card.settings == TrainingSettings(size="tiny", epochs=3)
    assert (card.modalities, card.pool_version) == ((), "")
    folder.card_path.unlink()
    assert folder.card is card


def test_a_written_card_is_the_one_that_is_read(folder: ModelFolder) -> None:
    changed = folder.card.model_copy(update={"pool_version": "1a2b"})
    folder.write_card(changed)
    assert folder.card == changed == ModelFolder(folder.path).card
    assert set(json.loads(folder.card_path.read_text())) == {
        *CARD,
        "modalities",
        "pool_version",
        "synthetic",
        "test",
    }


@pytest.mark.parametrize("content", [None, "", "{}"])
def test_a_folder_without_a_readable_card_says_what_to_name(
    folder: ModelFolder, content: str | None
) -> None:
    folder.card_path.unlink()
    if content is not None:
        folder.card_path.write_text(content)
    with pytest.raises(ModelError, match=r"no usable model\.json .*06_models/WORKSPACE"):
        _ = folder.card


def test_the_best_weights_are_used_where_there_are_any(folder: ModelFolder) -> None:
    assert folder.used_weights() == "best"
    folder.weights("best").unlink()
    assert folder.used_weights() == "final"
    folder.weights("final").unlink()
    with pytest.raises(ModelError, match=r"neither best\.safetensors nor final\.safetensors"):
        folder.used_weights()


def test_digests_are_of_card_weights_and_rule(folder: ModelFolder) -> None:
    card, best = file_digest(folder.card_path), file_digest(folder.weights("best"))
    assert folder.digests("best") == (card, best, None)
    folder.rule("best").write_text("{}")
    assert folder.digests("best") == (card, best, file_digest(folder.rule("best")))
    assert folder.digests("final")[2] is None


def test_a_summary_is_there_once_it_is_written(folder: ModelFolder) -> None:
    assert folder.summary is None
    summary = TrainingSummary(
        name="pretrain.tsfm",
        epochs=3,
        parameters=1,
        seconds=2.0,
        dice=None,
        best_dice=None,
        best_epoch=None,
        skipped_steps=0,
    )
    folder.write_summary(summary)
    assert folder.summary == summary


def test_a_task_written_by_an_older_version_is_read() -> None:
    written = {
        **{name: CARD[name] for name in ("name", "training", "validation", "table", "regions")},
        **{"store": "/store", "initial_weights": "/w.safetensors", "target_spacing": None},
        **{"pool_version": "1a2b", "settings": CARD["settings"], "threads": 2},
    }
    task = TrainingTask.model_validate_json(json.dumps(written))
    assert (task.cases.root, task.threads) == (Path("/store"), 2)


def test_nobody_else_spells_the_name_of_a_file() -> None:
    names = {*FILES, ".safetensors", "postprocessing_"}
    source = Path(__file__).parents[2] / "src" / "tsfm_pipeline"
    assert (source / "model" / "folder.py").is_file()
    spelt = {
        f"{path.relative_to(source)}:{node.lineno}: {node.value}"
        for path in source.rglob("*.py")
        if path != source / "model" / "folder.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in names
    }
    assert not spelt


def test_damaged_lines_of_the_curve_are_passed_over(tmp_path: Path) -> None:
    folder = ModelFolder(tmp_path)
    folder.metrics.write_bytes(b'{"epoch": 0}\nnull\n[1]\n{"ep\xff\n{"epoch": 1}\n{"epo')
    assert folder.epochs() == [{"epoch": 0}, {"epoch": 1}]
