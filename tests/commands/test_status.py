"""`tsfm-pipeline status`: records are found where the catalogue has them."""

from pathlib import Path

import pytest

from tsfm_pipeline.commands import status
from tsfm_pipeline.experiments.outcome import ModelRecord
from tsfm_pipeline.experiments.progress import Progress

CONF = str(Path(__file__).parents[2] / "conf")


def test_records_of_the_catalogue_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert status.main(["--conf-source", CONF]) == 0
    assert list(tmp_path.iterdir()) == []  # nothing is made by looking
    assert "finished" not in capsys.readouterr().out
    record = ModelRecord(experiment="transfer.kits19.scratch.epoch10", status="finished", epochs=2)
    models, predictions = (
        tmp_path / "data" / layer / "phantom" for layer in ("06_models", "07_model_output")
    )
    for folder, name, content in (
        (models, "transfer_kits19_scratch_epoch10.json", record),
        (
            predictions,
            "transfer_kits19_scratch_epoch10_scoring.json",
            record.next("scoring", "finished"),
        ),
    ):
        folder.mkdir(parents=True)
        (folder / name).write_text(content.model_dump_json())
    assert status.main(["--conf-source", CONF]) == 0
    lines = capsys.readouterr().out.splitlines()
    (found,) = [line.split() for line in lines if line.startswith(f"{record.experiment} ")]
    assert found[1:] == ["finished", "2", "epochs"]
    assert ", 1 finished" in lines[-1]
    (prompted,) = [line for line in lines if line.startswith("pretrain.sam_med3d ")]
    assert "needs checkpoint" in prompted
    assert "experiments.methods.sam_med3d.checkpoint" in prompted
    assert status.main(["--conf-source", CONF, "--workspace", "phantom_fold1"]) == 0
    assert "finished" not in capsys.readouterr().out


def test_a_wrong_environment_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert status.main(["--conf-source", CONF, "--env", "papr"]) == 2
    assert "did you mean 'paper'" in capsys.readouterr().err


def test_a_long_reason_stays_on_its_line() -> None:
    rows = [Progress("a.b", "failed", "first\nsecond"), Progress("a.bc", "not run")]
    assert status.table_of(rows).splitlines() == [
        "a.b   failed   first second",
        "a.bc  not run",
        "",
        "2 experiments: 1 failed, 1 not run",
    ]
