"""Where experiments stand, from hand-made records and model folders."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from tsfm_pipeline.experiments.grid import EXPERIMENTS, GRID, PROMPTED
from tsfm_pipeline.experiments.outcome import (
    STATUSES_SCHEMA,
    ModelRecord,
    Outcome,
    collect_statuses,
)
from tsfm_pipeline.experiments.progress import (
    QUIET_MINUTES,
    STATES,
    Environment,
    Left,
    Progress,
    progress_of_all,
    prompted_progress,
)
from tsfm_pipeline.experiments.settings import ExperimentSettings
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.model.card import ModelCard
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.model.summary import TrainingSummary
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.model.training_spec import TrainingSpec
from tsfm_pipeline.network.sizes import SIZES
from tsfm_pipeline.nnunetv2.task import prediction_of, spec_file

NOW = 1_800_000_000.0
MINUTE = 60.0
NAME = "transfer.kits19.scratch.epoch10"
SETTINGS = ExperimentSettings.model_validate(
    {
        "left_out": ["ablation.*"],
        "pretrain": {"training": {}},
        "baseline": {"training": {}},
        "ablation": {"training": {}},
        "study": {"training": {}},
        "transfer": {"training": {}, "epochs": {"epoch10": 3}},
        "methods": {entry.method: {} for entry in GRID}
        | {"sam_med3d": {}, "stunet": {"pretraining": "checkpoint"}},
    }
)
TABLE = LabelTable(targets={"kidney": 22})


def progress(left: dict[str, Left], root: Path, *names: str, pool: str = "new") -> list[Progress]:
    environment = Environment(
        SETTINGS,
        ("kits19", "btcv", "totalsegmentator"),
        pool,
        root / "models",
        root / "predictions",
    )
    return progress_of_all([EXPERIMENTS[name] for name in names], left, environment, NOW)


def finished(name: str, pool: str = "new", minutes_ago: float = 500) -> Left:
    model = ModelRecord(
        experiment=name, status="finished", pool_version=pool, digest="abc", epochs=3
    )
    return Left(model, NOW - minutes_ago * MINUTE, model.next("scoring", "finished"))


def make_training(
    root: Path, minutes_ago: float, digest: str = "abc", ended: bool = False
) -> ModelFolder:
    """Make the folder of a training of three epochs, of which one is finished, or all."""
    folder = ModelFolder(root / "models" / NAME / digest)
    folder.path.mkdir(parents=True)
    card = ModelCard(
        name=NAME,
        settings=TrainingSettings(size="tiny", epochs=3, checkpoint_minutes=10),
        training=("kits19/a",),
        validation=(),
        table=TABLE,
        regions=("kidney",),
        network=SIZES["tiny"],
        in_channels=1,
        patch=(16, 16, 32),
        ct_statistics=None,
        initial_weights=None,
        pool_digest="",
    )
    folder.write_card(card)
    folder.state.write_bytes(b"")
    done = 3 if ended else 1
    folder.metrics.write_text("".join(json.dumps({"epoch": n}) + "\n" for n in range(done)))
    if ended:
        folder.write_summary(
            TrainingSummary(
                name=NAME,
                epochs=3,
                parameters=1,
                seconds=1,
                dice=None,
                best_dice=None,
                best_epoch=None,
                skipped_steps=0,
            )
        )
    age(folder.path, minutes_ago)
    return folder


def age(folder: Path, minutes_ago: float) -> None:
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (NOW - minutes_ago * MINUTE,) * 2)


def test_each_state_once(tmp_path: Path) -> None:
    failed = ModelRecord(
        experiment="pretrain.nnunet", status="failed", reason="ValueError: no", pool_version="new"
    )
    other = "transfer.kits19.pretrained.epoch10"
    interrupted = make_training(tmp_path, 500)
    interrupted.path.parent.rename(tmp_path / "models" / other)
    make_training(tmp_path, 3)
    left = {
        "pretrain.tsfm": finished("pretrain.tsfm"),
        "pretrain.nnunet": Left(failed, NOW),
        "baseline.nnunet.btcv": finished("baseline.nnunet.btcv", pool="old"),
    }
    rows = progress(
        left,
        tmp_path,
        "pretrain.tsfm",
        NAME,
        other,
        "pretrain.nnunet",
        "baseline.nnunet.btcv",
        "transfer.kits19.stunet.epoch10",
        "ablation.amos22",
        "baseline.nnunet.msd_lung",
    )
    assert [row.state for row in rows] == list(STATES)
    assert [row.detail for row in rows] == [
        "3 epochs",
        "epoch 2 of 3, last sign of life 3 min ago",
        "epoch 2 of 3, last sign of life 8 h ago",
        "training failed: ValueError: no",
        "trained on pool old, the pool is new now",
        "set experiments.methods.stunet.checkpoint to its published weights",
        "left out in this environment (experiments.left_out)",
        "msd_lung is not among this environment's datasets",
    ]


def test_a_training_may_be_quiet_for_its_saved_states_and_a_while(tmp_path: Path) -> None:
    limit = QUIET_MINUTES + 2 * 10
    folder = make_training(tmp_path, limit - 1)
    assert progress({}, tmp_path, NAME)[0].state == "in progress"
    age(folder.path, limit + 1)
    assert progress({}, tmp_path, NAME)[0].state == "interrupted"


def test_the_newer_of_record_and_folder_counts(tmp_path: Path) -> None:
    folder = make_training(tmp_path, 5)
    failed = ModelRecord(experiment=NAME, status="failed", reason="disk full")
    before, after = NOW - 6 * MINUTE, NOW - 4 * MINUTE
    assert progress({NAME: Left(failed, before)}, tmp_path, NAME)[0].state == "in progress"
    assert progress({NAME: Left(failed, after)}, tmp_path, NAME)[0].state == "failed"
    # a new digest, since the pool has changed, beside what was finished on the old one
    age(folder.path, 400)
    make_training(tmp_path, 1, digest="def")
    assert progress({NAME: finished(NAME, "old", 300)}, tmp_path, NAME)[0].state == "in progress"


def test_what_is_trained_is_not_finished_before_it_is_scored(tmp_path: Path) -> None:
    make_training(tmp_path, 100, ended=True)
    left = finished(NAME, minutes_ago=90)
    unscored = {NAME: Left(left.model, left.saved_at)}
    assert progress(unscored, tmp_path, NAME)[0].state == "interrupted"
    # a run trains all, then predicts with all: what another experiment writes is a sign of life
    other = "transfer.kits19.pretrained.epoch10"
    predicted = tmp_path / "predictions" / other / "abc" / "best" / "kits19"
    predicted.mkdir(parents=True)
    age(predicted, QUIET_MINUTES + 1)
    assert progress(unscored, tmp_path, NAME, other)[0].state == "interrupted"
    age(predicted, QUIET_MINUTES - 1)
    (row, _) = progress(unscored, tmp_path, NAME, other)
    assert (row.state, row.detail) == ("in progress", "trained, not yet scored")
    scoring = Outcome(experiment=NAME, stage="scoring", status="failed", reason="x")
    scored = scoring.model_copy(update={"pool_version": "new"})
    rows = progress({NAME: Left(left.model, left.saved_at, scored)}, tmp_path, NAME)
    assert (rows[0].state, rows[0].detail) == ("failed", "scoring failed: x")
    # scores of the pool before say nothing about this model
    rows = progress({NAME: Left(left.model, left.saved_at, scoring)}, tmp_path, NAME, other)
    assert rows[0].state == "in progress"


def test_without_a_pool_nothing_is_stale(tmp_path: Path) -> None:
    left = {NAME: finished(NAME, pool="old")}
    assert progress(left, tmp_path, NAME, pool="")[0].state == "finished"
    assert progress(left, tmp_path, NAME, pool="new")[0].state == "stale"


def test_the_reason_of_the_last_run_is_said(tmp_path: Path) -> None:
    reason = "pretrain.tsfm, where it starts from, is failed"
    left = {NAME: Left(ModelRecord(experiment=NAME, status="not run", reason=reason), NOW)}
    (row,) = progress(left, tmp_path, NAME)
    assert (row.state, row.detail) == ("not run", f"at the last run: {reason}")


def test_a_damaged_card_is_told(tmp_path: Path) -> None:
    folder = make_training(tmp_path, 1)
    folder.card_path.write_text("{")
    (row,) = progress({}, tmp_path, NAME)
    assert row.state == "failed"
    assert str(folder.path) in row.detail


@pytest.mark.parametrize("test", [(), ("kits19/b",)])
def test_nnunetv2_is_at_work_until_all_is_predicted(tmp_path: Path, test) -> None:
    folder = tmp_path / "models" / NAME / "abc"
    folder.mkdir(parents=True)
    spec = TrainingSpec(
        name=NAME,
        settings=TrainingSettings(),
        training=("kits19/a",),
        validation=("kits19/c",) if test else ("kits19/b",),
        test=test,
        table=TABLE,
        regions=("kidney",),
    )
    spec_file(folder).write_text(spec.model_dump_json())
    age(folder, 4)
    (row,) = progress({}, tmp_path, NAME)
    assert (row.state, row.detail) == ("in progress", "nnU-Net v2, last sign of life 4 min ago")
    for weights in ("best", "final"):
        file = prediction_of(folder, weights, "b")
        file.parent.mkdir(parents=True)
        file.touch()
    assert progress({}, tmp_path, NAME)[0].state == "not run"  # its record is still to come


@pytest.mark.parametrize("cut", ['{"epoch": 1, "tr', ""])
def test_a_line_that_is_being_written_is_no_epoch(tmp_path: Path, cut: str) -> None:
    folder = make_training(tmp_path, 1)
    with folder.metrics.open("a") as file:
        file.write(cut)
    age(folder.path, 1)
    assert progress({}, tmp_path, NAME)[0].detail.startswith("epoch 2 of 3")


def test_the_prompted_system_has_a_line(tmp_path: Path) -> None:
    environment = Environment(SETTINGS, ("kits19",), "new", tmp_path, tmp_path)

    def line(**changes: str) -> Progress:
        outcome = Outcome(experiment=PROMPTED, stage="scoring", status="finished")
        left = outcome.model_copy(update={"pool_version": "new", **changes})
        return prompted_progress(collect_statuses(left), environment)

    nothing = pd.DataFrame(columns=STATUSES_SCHEMA.names)
    waiting = prompted_progress(nothing, environment)
    assert (waiting.experiment, waiting.state) == ("pretrain.sam_med3d", "needs checkpoint")
    assert line().state == "finished"
    assert line(pool_version="old") == Progress(
        PROMPTED, "stale", "scored on pool old, the pool is new now"
    )
    assert line(status="failed", reason="no memory").detail == "scoring failed: no memory"
    assert line(status="needs checkpoint") == waiting
