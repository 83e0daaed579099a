"""What the report reads of each training: which cases chose its best weights."""

from pathlib import Path

from tsfm_pipeline.experiments.outcome import ModelRecord
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.model.training_spec import TrainingSpec
from tsfm_pipeline.nnunetv2.task import spec_file
from tsfm_pipeline.pipelines.reporting.records import selections
from tsfm_pipeline.reporting.selection import Selection

POOL, TRANSFER, ZERO = (
    "pretrain.tsfm",
    "transfer.kits19.pretrained.epoch10",
    "study.zero_shot.kits19",
)


def record(root: Path, name: str, validation, test=(), **fields) -> ModelRecord:
    """Write what was trained, and return its record."""
    spec = TrainingSpec(
        name=name,
        settings=TrainingSettings(),
        training=(),
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
