"""What becomes of an experiment that cannot be run, or fails."""

import errno
import os
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pandas as pd
import pytest
from pydantic import ValidationError

from tsfm_pipeline.experiments import training_run
from tsfm_pipeline.experiments.grid import EXPERIMENTS, GRID
from tsfm_pipeline.experiments.outcome import ModelRecord
from tsfm_pipeline.experiments.settings import ExperimentSettings
from tsfm_pipeline.files import content_digest
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.machine import MachineError
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.model.training_settings import AugmentationSettings, TrainingSettings
from tsfm_pipeline.network import extras
from tsfm_pipeline.store.case_store import CaseStore, StoreError
from tsfm_pipeline.training.describe import ADDED_LATER, deciding_settings

METHODS = {entry.method: {} for entry in GRID} | {"sam_med3d": {"pretraining": "checkpoint"}}
SETTINGS = ExperimentSettings.model_validate(
    {
        "left_out": ["ablation.*"],
        "pretrain": {"training": {"size": "tiny", "epochs": 7}},
        "baseline": {"training": {}},
        "ablation": {"training": {}},
        "study": {"training": {}},
        "transfer": {
            "training": {"size": "tiny"},
            "epochs": {"epoch10": 3, "epoch20": None},
            "cases": {"few1": 1, "few2": None},
        },
        "methods": METHODS | {"stunet": {"pretraining": "checkpoint"}},
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


TABLE = LabelTable(targets={"kidney": 22})


def run(
    name,
    tmp_path,
    initial=None,
    settings=SETTINGS,
    plans=None,
    splits=None,
    table=TABLE,
    phantoms=(),
):
    # just enough of a case store to describe a task
    with patch.object(CaseStore, "record", lambda store, key: Record()):
        return training_run.run_training(
            experiment=EXPERIMENTS[name],
            settings=settings,
            table=table,
            sources={},
            case_index=pd.DataFrame(),
            store=CaseStore(tmp_path / "store"),
            splits=SPLITS if splits is None else splits,
            target_spacing=(1.0, 1.0, 1.0),
            plans=plans or {},
            models_root=tmp_path,
            initial=initial,
            track=untracked,
            phantoms=phantoms,
        )


def test_a_budget_takes_its_own_epochs() -> None:
    assert SETTINGS.training_of(EXPERIMENTS["pretrain.tsfm"]).epochs == 7
    assert SETTINGS.training_of(EXPERIMENTS["transfer.kits19.scratch.epoch10"]).epochs == 3
    longer = changed(methods=METHODS | {"stunet": {"training": {"epochs": 9}}})
    assert longer.training_of(EXPERIMENTS["pretrain.stunet"]).epochs == 9
    assert longer.training_of(EXPERIMENTS["transfer.kits19.stunet.epoch10"]).epochs == 3


def test_a_methods_seed_stands_for_the_roles_and_repetitions_count_from_it() -> None:
    seeded = changed(methods=METHODS | {"tsfm": {"training": {"seed": 7}}})
    seeds = {
        name: seeded.training_of(EXPERIMENTS[name]).seed
        for name in ("pretrain.tsfm", "study.seed2.kits19.scratch", "pretrain.stunet")
    }
    assert list(seeds.values()) == [7, 9, 0]
    with pytest.raises(ValidationError, match=r"methods\.tsfm\.training\.seed"):
        changed(methods=METHODS | {"tsfm": {"training": {"seed": None}}})


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("baseline.nnunet.btcv", "nnunetv2"),
        ("transfer.kits19.nnunet.epoch1000", "nnunetv2"),
        ("baseline.nnunet.amos22", "native"),  # organs that are not annotated are masked
        ("pretrain.nnunet", "native"),
        ("baseline.swinunetr.btcv", "native"),
    ],
)
def test_the_real_nnunet_trains_where_every_class_is_annotated(name, engine) -> None:
    real = changed(nnunet={"engine": "nnunetv2"})
    assert real.engine_of(EXPERIMENTS[name]) == engine
    assert SETTINGS.engine_of(EXPERIMENTS[name]) == "native"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("transfer.kits19.scratch.epoch20", "budget epoch20"),
        ("transfer.kits19.scratch.epoch100", "budget epoch100"),
        ("transfer.brats2020.scratch.epoch10", "brats2020 is not among"),
        ("ablation.amos22", "experiments.left_out"),
        ("study.few2.kits19.scratch", "few2 is left out"),
        ("study.few4.kits19.scratch", "few4 is left out"),
    ],
)
def test_not_run_says_why(name, reason, tmp_path) -> None:
    record = run(name, tmp_path)
    assert (record.status, record.pool_version) == ("not run", "1a2b3c4d")
    assert reason in record.reason


def test_a_pool_without_leaking_cases_is_not_trained_twice(tmp_path, monkeypatch) -> None:
    tasks = []

    def train(task, folder, report):
        tasks.append(task)
        return SimpleNamespace(epochs=7)

    monkeypatch.setattr(training_run, "train", train)
    settings, name = changed(left_out=[]), "ablation.leakage_free"
    splits = split("rrv").assign(pool=True, leaking=[True, False, False])
    assert run(name, tmp_path, settings=settings, splits=splits).status == "finished"
    assert [task.training for task in tasks] == [("kits19/1",)]
    record = run(name, tmp_path, settings=settings, splits=splits.assign(leaking=False))
    assert (record.status, record.reason) == ("not run", training_run.NOTHING_LEAKS)
    assert len(tasks) == 1


def test_published_weights_that_are_not_there_are_asked_for(tmp_path) -> None:
    for name in ("pretrain.stunet", "transfer.kits19.stunet.epoch10"):
        record = run(name, tmp_path)
        assert record.status == "needs checkpoint"
        assert "experiments.methods.stunet.checkpoint" in record.reason


def test_a_transfer_starts_from_published_weights(tmp_path, monkeypatch) -> None:
    seen = []

    def train(task, folder, report):
        seen.append(task.initial_weights)
        return SimpleNamespace(epochs=3)

    monkeypatch.setattr(training_run, "train", train)
    weights = tmp_path / "stunet.model"
    weights.write_bytes(b"weights")
    stunet = {"pretraining": "checkpoint", "checkpoint": str(weights)}
    settings = changed(methods=METHODS | {"stunet": stunet})
    before = run("pretrain.stunet", tmp_path, settings=settings)
    assert (before.status, str(weights) in before.reason) == ("not run", True)
    record = run("transfer.kits19.stunet.epoch10", tmp_path, before, settings)
    assert (record.status, seen) == ("finished", [weights])


def test_a_network_whose_package_is_missing_says_what_to_install(tmp_path, monkeypatch) -> None:
    swin = {"training": {"network": "swinunetr", "size": "tiny"}}
    settings = changed(methods=METHODS | {"stunet": swin})
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    record = run("transfer.kits19.stunet.epoch10", tmp_path, settings=settings)
    assert record.status == "not run"
    assert "tsfm-pipeline[baselines]" in record.reason


@pytest.mark.parametrize(
    ("phantoms", "synthetic"),
    [({"kits19", "btcv"}, True), ({"kits19"}, True), ({"btcv"}, False), ((), False)],
)
def test_a_model_is_synthetic_where_all_its_own_datasets_are(
    phantoms, synthetic, tmp_path, monkeypatch
) -> None:
    seen = []

    def train(task, folder, report):
        seen.append(task.synthetic)
        return SimpleNamespace(epochs=3)

    monkeypatch.setattr(training_run, "train", train)
    run("transfer.kits19.scratch.epoch10", tmp_path, phantoms=phantoms)
    assert seen == [synthetic]


def test_few_cases_are_among_more() -> None:
    keys = [f"kits19/{number}" for number in range(9)]
    chosen = [training_run.few_cases(keys, number, 0) for number in (1, 2, 4)]
    assert [len(some) for some in chosen] == [1, 2, 4]
    assert set(chosen[0]) < set(chosen[1]) < set(chosen[2]) < set(keys)
    assert training_run.few_cases(keys, 4, 0) != training_run.few_cases(keys, 4, 1)
    assert training_run.few_cases(keys[::-1], 4, 0) == chosen[2]


def test_a_method_changes_what_its_role_says() -> None:
    tiny = {"training": {"size": "tiny", "augmentation": {"transforms": "none"}}}
    swin = {"network": "swinunetr", "learning_rate": 0.5, "augmentation": {"mirror_axes": [0]}}
    settings = changed(baseline=tiny, methods=METHODS | {"swinunetr": {"training": swin}})
    training = settings.training_of(EXPERIMENTS["baseline.swinunetr.msd_liver"])
    assert (training.network, training.size, training.learning_rate) == ("swinunetr", "tiny", 0.5)
    assert (training.augmentation.transforms, training.augmentation.mirror_axes) == ("none", (0,))
    other = settings.training_of(EXPERIMENTS["baseline.nnunet.msd_liver"])
    assert (other.network, other.learning_rate) == ("tsfm", 1e-3)


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"tsfm": {}, "sam_med3d": {}}, "is of method 'nnunet_regions', which is not among"),
        (METHODS | {"nnunet": {"training": {"network": "unet"}}}, r"methods\.nnunet\.training"),
        (METHODS | {"nnunet": {"training": {"network": "nnunet"}}}, "has no size 'huge'"),
        (METHODS | {"stunet": {"checkpoint": "nowhere.model"}}, r"nowhere\.model not found"),
        (METHODS | {"stunet": {"checkpoint": __file__}}, "set pretraining to checkpoint"),
    ],
)
def test_a_wrong_method_is_refused_before_any_training(methods, message) -> None:
    with pytest.raises(ValidationError, match=message):
        changed(methods=methods)


def changed(**parts) -> ExperimentSettings:
    return ExperimentSettings.model_validate(SETTINGS.model_dump(mode="json") | parts)


def test_what_starts_from_a_failed_training_is_not_run(tmp_path) -> None:
    failed = ModelRecord(experiment="pretrain.tsfm", status="failed", reason="no memory")
    record = run("transfer.kits19.pretrained.epoch10", tmp_path, failed)
    assert record.status == "not run"
    assert "pretrain.tsfm" in record.reason
    assert "failed" in record.reason


@pytest.mark.parametrize(("content", "told"), [(None, "is gone"), (b"other", "is damaged")])
def test_what_starts_from_damaged_weights_leaves_no_folder(tmp_path, content, told) -> None:
    origin = ModelFolder(tmp_path / "pretrain.tsfm/abc")
    origin.path.mkdir(parents=True)
    origin.weights("best").write_bytes(b"best")
    origin.seal(origin.weights("best"))
    origin.weights("best").unlink()
    if content is not None:
        origin.weights("best").write_bytes(content)
    finished = ModelRecord(
        experiment="pretrain.tsfm", status="finished", folder="pretrain.tsfm/abc", digest="abc"
    )
    record = run("transfer.kits19.pretrained.epoch10", tmp_path, finished)
    assert record.status == "failed"
    assert f"best.safetensors {told}" in record.reason
    assert [path.name for path in tmp_path.iterdir()] == ["pretrain.tsfm"]


@pytest.mark.parametrize(("error", "traceback"), [(StoreError, False), (RuntimeError, True)])
def test_a_damaged_case_is_told_without_a_traceback(
    error, traceback, tmp_path, monkeypatch, caplog
) -> None:
    def broken(*args):
        raise error("liver_0/image.b2nd is damaged")

    monkeypatch.setattr(training_run, "train", broken)
    assert run("transfer.kits19.scratch.epoch10", tmp_path).status == "failed"
    (told,) = [record for record in caplog.records if "is damaged" in record.getMessage()]
    assert bool(told.exc_info) == traceback


def test_a_folder_that_cannot_be_made_is_the_machines_fault(tmp_path, monkeypatch) -> None:
    (tmp_path / "models").mkdir()

    def denied(path, *args, **named):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "mkdir", denied)
    said = "scratch.epoch10/.*: Permission denied; give yourself the permission to write there"
    with pytest.raises(MachineError, match=said):
        run("transfer.kits19.scratch.epoch10", tmp_path / "models")


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


def split(roles: str) -> pd.DataFrame:
    """Make a split of kits19/0, kits19/1, ... from the first letters of their roles."""
    names = {"r": "training", "v": "validation", "t": "test"}
    return pd.DataFrame(
        {
            "key": [f"kits19/{number}" for number in range(len(roles))],
            "dataset": "kits19",
            "pool": False,
            "role": [names[letter] for letter in roles],
            "pool_version": "1a2b3c4d",
        }
    )


def test_validation_cases_choose_and_test_cases_are_scored(tmp_path, monkeypatch) -> None:
    tasks = []

    def train(task, folder, report):
        tasks.append(task)
        return SimpleNamespace(epochs=3)

    monkeypatch.setattr(training_run, "train", train)

    def trained(roles: str) -> ModelRecord:
        return run("transfer.kits19.scratch.epoch10", tmp_path, splits=split(roles))

    nested, plain, few = (trained(roles) for roles in ("rrvtt", "rrrvv", "rtt"))
    assert [task.training for task in tasks] == [
        ("kits19/0", "kits19/1"),
        ("kits19/0", "kits19/1", "kits19/2"),
        ("kits19/0",),
    ]
    assert [task.validation for task in tasks] == [("kits19/2",), ("kits19/3", "kits19/4"), ()]
    assert [task.test for task in tasks] == [
        ("kits19/3", "kits19/4"),
        (),  # as in nnU-Net, and with the digest of before
        ("kits19/1", "kits19/2"),
    ]
    assert nested.cases == plain.cases == ("kits19/3", "kits19/4")
    assert few.cases == ("kits19/1", "kits19/2")
    assert [task.scored for task in tasks] == [nested.cases, plain.cases, few.cases]
    assert len({nested.digest, plain.digest, few.digest}) == 3
    assert trained("rrvttt").digest == nested.digest  # what is scored does not decide weights


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
    assert len({digest(), digest(optimizer="adamw"), digest(masked_loss=False)}) == 3


def test_a_composition_is_in_the_digest_where_cases_annotate_its_parts(
    tmp_path, monkeypatch
) -> None:
    seen = []

    def broken(task, *args):
        seen.append(task.regions)
        raise RuntimeError("only the digest is wanted")

    monkeypatch.setattr(training_run, "train", broken)
    targets = {"kidney": 22, "kidney_left": 3, "kidney_right": 2}
    compositions = {"kidney": ("kidney_left", "kidney_right")}
    plain = LabelTable(targets=targets)
    composed = LabelTable(targets=targets, compositions=compositions)
    digests = {}
    for annotated in (("kidney",), ("kidney_left", "kidney_right"), tuple(targets)):
        monkeypatch.setattr(Record, "annotated", annotated)
        digests[annotated] = [
            run("transfer.kits19.scratch.epoch10", tmp_path, table=table).digest
            for table in (plain, composed)
        ]
        assert set(seen[-1]) == set(annotated)  # parts are no reason for a channel
    same = [len(set(pair)) == 1 for pair in digests.values()]
    assert same == [True, True, False]


def test_statistics_to_be_kept_make_no_other_training_where_nothing_is_started_from(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(training_run, "train", lambda *_: SimpleNamespace(epochs=3))
    released = tmp_path / "released"
    released.mkdir()
    (released / "best.safetensors").write_bytes(b"weights")
    pool = ModelRecord(experiment="pretrain.tsfm", status="finished", folder="released")

    def digests(start: str, initial: ModelRecord | None) -> list[str]:
        transfer = SETTINGS.transfer.model_dump()
        settings = [
            changed(transfer=transfer | {"training": {"size": "tiny", "ct_statistics": wish}})
            for wish in ("own", "initial")
        ]
        name = f"transfer.kits19.{start}.epoch10"
        return [run(name, tmp_path, initial, one).digest for one in settings]

    own, wish = digests("scratch", None)
    assert own == wish
    own, wish = digests("pretrained", pool)
    assert own != wish


def test_settings_added_later_leave_older_digests_alone() -> None:
    deciding = deciding_settings(TrainingSettings(size="tiny"))
    assert deciding["size"] == "tiny"
    assert not ADDED_LATER & set(deciding)
    assert "schedule" in deciding_settings(TrainingSettings(schedule="cosine"))
    assert "ct_statistics" in deciding_settings(TrainingSettings(ct_statistics="initial"))
    across = AugmentationSettings(dummy_2d_axis=0)
    assert set(deciding_settings(TrainingSettings(augmentation=across))["augmentation"]) == {
        *deciding["augmentation"],
        "dummy_2d_axis",
    }


def test_the_digest_of_a_training_of_before_is_what_it_was() -> None:
    """Of the defaults, as commit ca8a04f gave it: finished trainings keep their folders."""
    deciding = deciding_settings(TrainingSettings(size="tiny", learning_rate=0.02))
    assert content_digest(deciding) == "d6dfe609192b"


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
