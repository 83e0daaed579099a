"""`tsfm-pipeline run-many`: which experiments, in which order, with which command."""

import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.experiments.test_training_run import METHODS, SETTINGS, changed
from tsfm_pipeline.commands import run_many
from tsfm_pipeline.experiments.grid import EXPERIMENTS
from tsfm_pipeline.pool.splits import SPLITS_SCHEMA

REPOSITORY = Path(__file__).parents[2]
START, PRETRAINED, SCRATCH, STUNET = (
    "pretrain.tsfm",
    "transfer.kits19.pretrained.epoch100",
    "transfer.kits19.scratch.epoch100",
    "transfer.kits19.stunet.epoch100",
)


def of(*names: str):
    return [EXPERIMENTS[name] for name in names]


def write_splits(path: Path) -> None:
    case = ["kits19/a", "kits19", "a", "anna", False, 0, "training", "p1", False]
    path.parent.mkdir(parents=True)
    splits = pd.DataFrame([case], columns=SPLITS_SCHEMA.names)
    pq.write_table(pa.Table.from_pandas(splits, SPLITS_SCHEMA, preserve_index=False), path)


def test_an_experiment_waits_for_what_it_starts_from() -> None:
    jobs, left = run_many.jobs_of(of(PRETRAINED, SCRATCH, START), SETTINGS, set(), ["--env", "x"])
    assert {job.name: job.after for job in jobs} == {PRETRAINED: START, SCRATCH: "", START: ""}
    assert left == []
    assert jobs[0].command[1:] == [
        *("-m", "kedro", "run", "--env", "x"),
        *("--pipelines", "transfer", "--namespaces", PRETRAINED),
    ]
    (job,), left = run_many.jobs_of(of(PRETRAINED), SETTINGS, {START}, [])
    assert (job.after, left) == ("", [])
    jobs, left = run_many.jobs_of(of(PRETRAINED, SCRATCH), SETTINGS, set(), [])
    assert [job.name for job in jobs] == [SCRATCH]
    assert left == [f"{PRETRAINED}: {START}, where it starts from, is not finished"]


def test_what_takes_published_weights_waits_for_nothing(tmp_path: Path) -> None:
    published = tmp_path / "stunet.model"
    published.touch()
    method = {"pretraining": "checkpoint", "checkpoint": published}
    settings = changed(methods=METHODS | {"stunet": method})
    jobs, left = run_many.jobs_of(of(STUNET, PRETRAINED), settings, {START}, [])
    assert {job.name: job.after for job in jobs} == {STUNET: "", PRETRAINED: ""}
    assert left == []


def test_a_command_is_run_per_experiment_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "conf").symlink_to(REPOSITORY / "conf")
    (tmp_path / "kedro.py").write_text(
        "import os, sys\n"
        "print(os.environ['CUDA_VISIBLE_DEVICES'], *sys.argv[1:])\n"
        "sys.exit('kits19.scratch' in sys.argv[-1])\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_many, "KEDRO", (sys.executable, "kedro.py"))
    arguments = ["--env", "test", "--pipelines", "pretrain", "transfer", "--devices", "5", "7"]
    assert run_many.main(arguments) == 2
    assert "no pool yet; make it: kedro run --env test --pipelines data_pool" in (
        capsys.readouterr().err
    )
    write_splits(tmp_path / "data/05_model_input/w/splits.parquet")
    assert run_many.main([*arguments, "--workspace", "w"]) == 1
    told = capsys.readouterr()
    assert f"{SCRATCH} failed (status 1): logs/{SCRATCH}.log" in told.err
    # tsfm, nnunet, stunet on the pool; four at one budget on each of three downstream sets
    assert "14 of 15 experiments ran" in told.out
    said = {path.stem: path.read_text().split() for path in (tmp_path / "logs").iterdir()}
    assert said[PRETRAINED][1:] == [
        *("run", "--env", "test", "--params", "workspace=w"),
        *("--pipelines", "transfer", "--namespaces", PRETRAINED),
    ]
    assert {words[0] for words in said.values()} == {"5", "7"}
    assert not any("epoch10." in f"{name}." for name in said)  # budgets that are left out


def test_without_an_environment_kedro_takes_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = tmp_path / "conf"
    shutil.copytree(REPOSITORY / "conf", conf, ignore=shutil.ignore_patterns("local"))
    (conf / "local").mkdir()
    left_out = [f"{pipeline}.*" for pipeline in ("pretrain", "transfer", "ablation", "study")]
    experiments = {"left_out": [*left_out, "baseline.swinunetr.*"]}
    (conf / "local" / "globals.yml").write_text("workspace: mine\n")
    (conf / "local" / "parameters.yml").write_text(json.dumps({"experiments": experiments}))
    (tmp_path / "kedro.py").write_text("import sys\nprint(*sys.argv[1:])\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEDRO_ENV", raising=False)
    monkeypatch.setattr(run_many, "KEDRO", (sys.executable, "kedro.py"))
    assert run_many.main([]) == 2
    assert "make it: kedro run --pipelines data_pool\n" in capsys.readouterr().err
    write_splits(tmp_path / "data/05_model_input/mine/splits.parquet")
    assert run_many.main([]) == 0
    name = "baseline.nnunet.msd_liver"
    said = (tmp_path / "logs" / f"{name}.log").read_text().split()
    assert said == ["run", "--pipelines", "baseline", "--namespaces", name]
    assert "10 of 10 experiments ran" in capsys.readouterr().out  # the others are left out


def test_wrong_arguments_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (["--jobs", "0"], "--jobs 0 is below 1"),
        (["--pipelines", "transfr"], "the grid has pretrain"),
    ):
        with pytest.raises(SystemExit):
            run_many.main(arguments)
        assert message in capsys.readouterr().err
