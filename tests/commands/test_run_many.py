"""`tsfm-pipeline run-many`: which experiments, in which order, with which command."""

import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tsfm_pipeline.commands import run_many
from tsfm_pipeline.experiments.grid import EXPERIMENTS
from tsfm_pipeline.pool.splits import SPLITS_SCHEMA

REPOSITORY = Path(__file__).parents[2]
START, PRETRAINED, SCRATCH = (
    "pretrain.tsfm",
    "transfer.kits19.pretrained.epoch100",
    "transfer.kits19.scratch.epoch100",
)


def of(*names: str):
    return [EXPERIMENTS[name] for name in names]


def test_an_experiment_waits_for_what_it_starts_from() -> None:
    jobs, left = run_many.jobs_of(of(PRETRAINED, SCRATCH, START), set(), ["--env", "x"])
    assert {job.name: job.after for job in jobs} == {PRETRAINED: START, SCRATCH: "", START: ""}
    assert left == []
    assert jobs[0].command[1:] == [
        *("-m", "kedro", "run", "--env", "x"),
        *("--pipelines", "transfer", "--namespaces", PRETRAINED),
    ]
    (job,), left = run_many.jobs_of(of(PRETRAINED), {START}, [])
    assert (job.after, left) == ("", [])
    jobs, left = run_many.jobs_of(of(PRETRAINED, SCRATCH), set(), [])
    assert [job.name for job in jobs] == [SCRATCH]
    assert left == [f"{PRETRAINED}: {START}, where it starts from, is not finished"]


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
    case = ["kits19/a", "kits19", "a", "anna", False, 0, "training", "p1", False]
    path = tmp_path / "data/05_model_input/w/splits.parquet"
    path.parent.mkdir(parents=True)
    splits = pd.DataFrame([case], columns=SPLITS_SCHEMA.names)
    pq.write_table(pa.Table.from_pandas(splits, SPLITS_SCHEMA, preserve_index=False), path)
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


def test_wrong_arguments_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (["--jobs", "0"], "--jobs 0 is below 1"),
        (["--pipelines", "transfr"], "the grid has pretrain"),
    ):
        with pytest.raises(SystemExit):
            run_many.main(arguments)
        assert message in capsys.readouterr().err
