"""What becomes of an experiment that cannot be run, or fails."""

from contextlib import contextmanager
from types import SimpleNamespace
from unittest.mock import patch

import pandas as pd
import pytest
from pydantic import ValidationError

from tsfm_pipeline.experiments import training_run
from tsfm_pipeline.experiments.grid import EXPERIMENTS
from tsfm_pipeline.experiments.outcome import ModelRecord
from tsfm_pipeline.experiments.settings import ExperimentSettings
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.store.case_store import CaseStore

SETTINGS = ExperimentSettings.model_validate(
    {
        "pretrain": {"training": {"size": "tiny", "epochs": 7}},
        "ablation": {"training": {}},
        "transfer": {"training": {"size": "tiny"}, "epochs": {"epoch10": 3, "epoch20": None}},
    }
)
SPLITS = pd.DataFrame(
    {
        "key": ["kits19/a", "kits19/b", "btcv/c"],
        "dataset": ["kits19", "kits19", "btcv"],
        "pool": [False, False, True],
        "role": ["training", "validation", "training"],
        "pool_version": "1a2b3c4d",
    }
)


class Record:
    annotated = ("kidney",)
    raw_digest = "raw"
    preparation_digest = "how"


@contextmanager
def untracked(name, digest, settings):
    yield lambda step, metrics: None


def run(name, tmp_path, initial=None, settings=SETTINGS, plans=None):
    # just enough of a case store to describe a task
    with patch.object(CaseStore, "record", lambda store, key: Record()):
        return training_run.run_training(
            experiment=EXPERIMENTS[name],
            settings=settings,
            table=LabelTable(targets={"kidney": 22}),
            store=CaseStore(tmp_path / "store"),
            splits=SPLITS,
            target_spacing=(1.0, 1.0, 1.0),
            plans=plans or {},
            models_root=tmp_path,
            initial=initial,
            track=untracked,
        )


def test_a_budget_takes_its_own_epochs() -> None:
    assert SETTINGS.training_of(EXPERIMENTS["pretrain.tsfm"]).epochs == 7
    assert SETTINGS.training_of(EXPERIMENTS["transfer.kits19.scratch.epoch10"]).epochs == 3


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("transfer.kits19.scratch.epoch20", "budget epoch20"),
        ("transfer.kits19.scratch.epoch100", "budget epoch100"),
        ("transfer.brats2020.scratch.epoch10", "brats2020 is not among"),
    ],
)
def test_not_run_says_why(name, reason, tmp_path) -> None:
    record = run(name, tmp_path)
    assert (record.status, record.pool_version) == ("not run", "1a2b3c4d")
    assert reason in record.reason


def test_what_starts_from_a_failed_training_is_not_run(tmp_path) -> None:
    failed = ModelRecord(experiment="pretrain.tsfm", status="failed", reason="no memory")
    record = run("transfer.kits19.pretrained.epoch10", tmp_path, failed)
    assert record.status == "not run"
    assert "pretrain.tsfm" in record.reason
    assert "failed" in record.reason


def test_a_failing_training_is_recorded_and_does_not_raise(tmp_path, monkeypatch) -> None:
    def broken(*args):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(training_run, "train", broken)
    record = run("transfer.kits19.scratch.epoch10", tmp_path)
    assert (record.status, record.pool_version) == ("failed", "1a2b3c4d")
    assert "CUDA out of memory" in record.reason


def test_a_training_that_finds_its_model_finished_has_the_current_pools_version(
    tmp_path, monkeypatch
) -> None:
    # the folder is named by the digest, which another pool of the same cases does not change
    monkeypatch.setattr(training_run, "train", lambda *args: SimpleNamespace(epochs=3))
    first = run("transfer.kits19.scratch.epoch10", tmp_path)
    monkeypatch.setattr(f"{__name__}.SPLITS", SPLITS.assign(pool_version="5e6f7a8b"))
    again = run("transfer.kits19.scratch.epoch10", tmp_path)
    assert (first.status, first.pool_version) == ("finished", "1a2b3c4d")
    assert (again.folder, again.pool_version) == (first.folder, "5e6f7a8b")


def test_an_interrupt_is_not_swallowed(tmp_path, monkeypatch) -> None:
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(training_run, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("transfer.kits19.scratch.epoch10", tmp_path)


def test_the_digest_names_what_decides_the_weights(tmp_path, monkeypatch) -> None:
    def broken(*args):
        raise RuntimeError("only the digest is wanted")

    monkeypatch.setattr(training_run, "train", broken)

    def digest(**changes):
        training = SETTINGS.transfer.training.model_copy(update=changes)
        transfer = SETTINGS.transfer.model_copy(update={"training": training})
        settings = SETTINGS.model_copy(update={"transfer": transfer})
        return run("transfer.kits19.scratch.epoch10", tmp_path, settings=settings).digest

    assert digest() == digest(workers=9) == digest(checkpoint_minutes=1.0)
    assert len({digest(), digest(seed=1), digest(learning_rate=0.5)}) == 3


def with_weights(path, role="pretrain") -> ExperimentSettings:
    given = SETTINGS.model_dump(mode="json")
    return ExperimentSettings.model_validate(
        given | {role: given[role] | {"initial_weights": str(path)}}
    )


def test_the_pools_network_starts_from_given_weights_and_no_other_does(
    tmp_path, monkeypatch
) -> None:
    seen = []

    def broken(task, *args):
        seen.append(task.initial_weights)
        raise RuntimeError("only the task is wanted")

    monkeypatch.setattr(training_run, "train", broken)
    released = tmp_path / "released"
    released.mkdir()
    (released / "best.safetensors").write_bytes(b"one")
    (tmp_path / "other.safetensors").write_bytes(b"two")
    monkeypatch.chdir(tmp_path)
    plain = run("pretrain.tsfm", tmp_path)
    folder = run("pretrain.tsfm", tmp_path, settings=with_weights("released"))
    file = run("pretrain.tsfm", tmp_path, settings=with_weights("other.safetensors"))
    run("transfer.kits19.scratch.epoch10", tmp_path, settings=with_weights("released"))
    trained = ModelRecord(experiment="pretrain.tsfm", status="finished", folder="released")
    run("transfer.kits19.pretrained.epoch10", tmp_path, trained, with_weights("other.safetensors"))
    best = released / "best.safetensors"
    assert seen == [None, best, tmp_path / "other.safetensors", None, best]
    assert len({plain.digest, folder.digest, file.digest}) == 3
    (released / "best.safetensors").write_bytes(b"three")
    again = run("pretrain.tsfm", tmp_path, settings=with_weights("released"))
    assert again.digest != folder.digest  # the bytes count, not the name


def test_weights_that_are_not_there_are_named(tmp_path) -> None:
    for path in (tmp_path / "typo", tmp_path):  # a folder without best weights, too
        with pytest.raises(ValidationError, match=r"pretrain\.initial_weights\n") as caught:
            with_weights(path)
        assert f"{path}" in str(caught.value)
        assert "not found; name a .safetensors file or a model folder" in str(caught.value)
    for role in ("ablation", "transfer"):
        with pytest.raises(ValidationError, match=rf"{role}\.initial_weights"):
            with_weights(tmp_path, role)
