"""What the report reads of each training: which cases chose its best weights."""

from pathlib import Path

import pandas as pd

from tsfm_pipeline.experiments.outcome import ModelRecord
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.model.summary import TrainingSummary
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.model.training_spec import TrainingSpec
from tsfm_pipeline.nnunetv2.task import spec_file
from tsfm_pipeline.pipelines.reporting.records import origins, selections
from tsfm_pipeline.reporting.selection import Selection
from tsfm_pipeline.tracking import runs
from tsfm_pipeline.tracking.described import TrainingDescription
from tsfm_pipeline.tracking.settings import TrackingSettings
from tsfm_pipeline.tracking.trainings import training_run

POOL, TRANSFER, ZERO = (
    "pretrain.tsfm",
    "transfer.kits19.pretrained.epoch10",
    "study.zero_shot.kits19",
)


def record(root: Path, name: str, validation, test=(), training=(), **fields) -> ModelRecord:
    """Write what was trained, and return its record."""
    spec = TrainingSpec(
        name=name,
        settings=TrainingSettings(),
        training=training,
        synthetic=True,
        validation=validation,
        test=test,
        table=LabelTable(targets={"kidney": 22}),
        regions=("kidney",),
    )
    (root / name).mkdir()
    spec_file(root / name).write_text(spec.model_dump_json(exclude_defaults=True))
    return ModelRecord(experiment=name, status="finished", folder=name, **fields)


def test_a_transfer_is_traced_to_what_chose_the_weights_it_started_from(tmp_path: Path) -> None:
    records = {
        # a record and a spec of before: the validation cases are the scored ones
        POOL: record(tmp_path, POOL, ("kits21/a", "kits21/b", "btcv/c")),
        TRANSFER: record(
            tmp_path, TRANSFER, ("kits19/v",), ("kits19/a", "kits19/d"), cases=("kits19/a",)
        ),
        "pretrain.nnunet": ModelRecord(experiment="pretrain.nnunet", status="failed"),
        "pretrain.stunet": ModelRecord(
            experiment="pretrain.stunet", status="finished", folder="was removed"
        ),
    }
    # without a training of its own it has the weights of the pool's, chosen there
    records[ZERO] = records[POOL].model_copy(update={"cases": ("kits19/a", "kits19/d")})
    held_out = {"kits21/a", "kits21/b", "btcv/c", "kits19/a", "kits19/d"}
    persons = {"kits21/a": "anna", "kits19/a": "anna"}
    assert selections(records, tmp_path, held_out, persons) == {
        POOL: Selection(validation=3, scored=3, shared=3),
        TRANSFER: Selection(validation=1, scored=1, shared=0, start=1),
        ZERO: Selection(validation=3, scored=2, shared=1),
    }


def test_whether_the_last_epoch_is_the_best_comes_from_the_summary(tmp_path: Path) -> None:
    names = {"last": 9, "earlier": 4, "none": None}
    records = {}
    for name, best in names.items():
        records[name] = record(tmp_path, name, ("kits21/a",))
        summary = TrainingSummary(
            name=name,
            epochs=10,
            parameters=5,
            seconds=1.0,
            dice=0.5,
            best_dice=0.5,
            best_epoch=best,
            skipped_steps=0,
        )
        folder = ModelFolder(tmp_path / name)
        folder.summary_path.write_text(summary.model_dump_json())
    found = selections(records, tmp_path, set(), {})
    assert {name: one.best_is_last for name, one in found.items()} == {
        "last": True,
        "earlier": False,
        "none": None,
    }


def test_what_a_transfer_started_from(tmp_path: Path) -> None:
    stunet = "transfer.kits19.stunet.epoch10"
    keys = ("kits21/a", "kits21/b", "btcv/c")
    records = {
        POOL: record(tmp_path, POOL, (), training=keys),
        TRANSFER: record(tmp_path, TRANSFER, ()),
        "pretrain.stunet": ModelRecord(experiment="pretrain.stunet", status="not run"),
        stunet: record(tmp_path, stunet, ()),
    }
    found = origins(records, tmp_path, {})
    assert found[TRANSFER].start == f"{POOL}, trained here on 2 datasets, synthetic phantoms"
    assert found[TRANSFER].network == "tsfm huge"
    assert found[stunet].start == "published weights (experiments.methods.stunet.checkpoint)"
    assert found[POOL].start == ""
    records["pretrain.stunet"] = record(tmp_path, "pretrain.stunet", (), training=keys[:1])
    start = origins(records, tmp_path, {})[stunet].start
    assert start == "pretrain.stunet, trained here on kits21, synthetic phantoms"


def test_a_training_leads_to_its_run_and_to_what_its_command_line_set(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    models = {POOL: ModelRecord(experiment=POOL, status="finished", digest="d1", folder="x")}
    cases = TrainingDescription(tags={}, cases=pd.DataFrame({"key": ["a"]}), store=tmp_path)

    def started(kedro_run: str, params: str) -> None:
        tags = {runs.KEDRO_RUN_TAG: kedro_run, runs.PARAMS_TAG: params}
        runs.start_run(TrackingSettings(), tmp_path, "all", tags)

    try:
        started("first", "workspace=fold1")
        with training_run(POOL, "d1", TrainingSettings(), cases) as report:
            report(0, {"train/loss": 1.0})
        runs.end_run()
        started("second", "")  # that run only reports
        found = origins(models, tmp_path, {POOL: "p", TRANSFER: "p"})
        assert found[POOL].params == "workspace=fold1"
        assert (
            found[POOL].run_url == f"http://127.0.0.1:5000/#/experiments/2/runs/{found[POOL].run}"
        )
        assert (found[TRANSFER].run_url, found[TRANSFER].params) == ("", "")
        runs.end_run()
        started("third", "splits.fold=2")
        assert origins({}, tmp_path, {TRANSFER: "p"})[TRANSFER].params == "splits.fold=2"
    finally:
        runs.end_run("KILLED")
