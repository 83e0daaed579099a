"""`kedro run` of this project: lists in --params, --pipeline, and errors in at most six lines."""

import errno
import logging
import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from kedro.framework.cli.cli import KedroCLI
from kedro.io import DatasetError

from tsfm_pipeline.cli import explained, run
from tsfm_pipeline.machine import MachineError
from tsfm_pipeline.pool.split_files import SplitError


@pytest.fixture(scope="module")
def project(make_project) -> Path:
    return make_project()


@pytest.fixture
def kedro(project, monkeypatch):
    """Call the command as a shell does, without a process of its own."""

    def call(*arguments: str) -> Result:
        monkeypatch.chdir(project)
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return CliRunner().invoke(KedroCLI(project), list(arguments))

    return call


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--env", "papper"], ["conf/papper", "did you mean 'paper'?", "hippocampus"]),
        (["--pipelines", "pretrian"], ["pretrian", "    pretrain"]),
        (["--params", "splits.fodls=3"], ["splits.fodls: unknown key; did you mean 'folds'?"]),
        (
            ["--params", "experiments.pretrain.training.learning_rat=1"],
            ["learning_rat: unknown key; did you mean 'learning_rate'?"],
        ),
        (["--params", "datasets.kits21.lables=1"], ["lables: unknown key; did you mean 'labels'?"]),
        (["--params", "pool.datasets=[msd_livr]"], ["'msd_livr'; did you mean 'msd_liver'?"]),
        (["--params", "raw_root=/nowhere"], ["raw_root: there is no folder /nowhere"]),
    ],
)
def test_a_mistake_is_told_in_six_lines_before_any_node(kedro, project, arguments, said) -> None:
    done = kedro("run", *arguments)
    lines = done.output.splitlines()
    error = lines[next(i for i, line in enumerate(lines) if line.startswith("Error: ")) :]
    assert done.exit_code == 1
    assert len(error) <= 6
    for text in said:
        assert text in done.output
    assert "Traceback" not in done.output
    assert not (project / "data").exists()
    assert not (project / "mlflow.db").exists()


def test_parameters_that_are_no_yaml_are_a_mistake_of_use(kedro) -> None:
    given = "experiments.left_out=[study.[uw]*,study.few*]"
    done = kedro("run", "--params", given)
    assert done.exit_code == 2
    assert f"--params: '{given}' can't be read as YAML: " in done.output
    assert "Traceback" not in done.output
    assert len(done.output.splitlines()) <= 6


def test_broken_yaml_is_told_as_an_editor_counts(kedro, project) -> None:
    file = project / "conf" / "local" / "parameters_mine.yml"
    file.write_text("splits:\n  fold: [1\n  folds: 3\n")
    try:
        done = kedro("run")
    finally:
        file.unlink()
    assert done.exit_code == 1
    assert str(file) in done.output
    assert "line 3, column 8: expected ',' or ']', but got ':'" in done.output
    assert len(done.output.splitlines()) <= 6


def test_verbose_gives_the_traceback(kedro) -> None:
    done = kedro("run", "--verbose", "--pipelines", "pretrian")
    assert isinstance(done.exception, ValueError)  # Python prints its traceback


def test_a_long_message_is_cut_and_the_log_file_has_all_of_it(monkeypatch, tmp_path) -> None:
    handler = logging.FileHandler(tmp_path / "tsfm.log", delay=True)
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])

    @click.command()
    def fails() -> None:
        raise ValueError("\n".join(f"line {number}" for number in range(30)))

    monkeypatch.setattr("tsfm_pipeline.cli.kedro_run", fails)
    command = click.Command("run", callback=_wrapped(fails.callback), params=[])
    done = CliRunner().invoke(command)
    handler.close()
    assert done.exit_code == 1
    assert done.output.splitlines() == [
        "Error: ValueError: line 0",
        "line 1",
        "line 2",
        "line 3",
        "... and 26 more lines",
        "All of it: in tsfm.log, or with --verbose",
    ]
    kept = (tmp_path / "tsfm.log").read_text()
    assert "line 29" in kept
    assert "Traceback" in kept


def _wrapped(callback):
    from tsfm_pipeline.cli import _in_a_few_lines

    def call():
        return _in_a_few_lines(lambda **_: callback())(verbose=False, pipeline=None, pipelines=[])

    return call


def test_a_full_disk_is_told_with_its_place_behind_whatever_error() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/pool.parquet")
    error = ValueError("a data set can't be saved")
    error.__cause__ = full
    message, says_all = explained(error)
    assert message.startswith("/data/pool.parquet: No space left on device; free some")
    assert says_all
    assert explained(MachineError("no room")) == ("no room", True)


@pytest.mark.parametrize("kind", [SplitError, DatasetError])
def test_what_the_project_refuses_is_its_own_line(kind) -> None:
    assert explained(kind("take the dataset out")) == ("take the dataset out", True)


def test_the_type_of_an_unforeseen_error_is_named() -> None:
    assert explained(KeyError("a")) == ("KeyError: 'a'", False)


@pytest.mark.parametrize(
    ("given", "parameters"),
    [
        ("pool.datasets=[msd_liver,btcv]", {"pool": {"datasets": ["msd_liver", "btcv"]}}),
        ("a.b=[1,2],a.c=x", {"a": {"b": [1, 2], "c": "x"}}),
        ("raw_root=/data/a=b", {"raw_root": "/data/a=b"}),
        ("", {}),
    ],
)
def test_lists_on_the_command_line(given, parameters) -> None:
    assert run.make_context("run", ["--params", given]).params["params"] == parameters


@pytest.mark.parametrize("given", ["pool.datasets=a,b", "=3", "seed"])
def test_what_is_no_key_and_value_is_refused(given) -> None:
    with pytest.raises(click.UsageError, match="KEY=VALUE"):
        run.make_context("run", ["--params", given])


@pytest.mark.parametrize("option", ["--pipeline", "-p", "--pipelines"])
def test_both_spellings_run_the_pipeline_without_a_warning(kedro, recwarn, option) -> None:
    done = kedro("run", "--env", "test", option, "predict")
    assert done.exit_code == 1
    assert "predict.input, predict.model not set" in done.output  # its one node says so
    assert len(done.output[done.output.index("Error: ") :].splitlines()) <= 6
    assert not [each for each in recwarn if "'--pipeline' is deprecated" in str(each.message)]
