"""`tsfm-pipeline`: subcommands are found by their files, and `run` is the default."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tsfm_pipeline import __version__
from tsfm_pipeline.__main__ import main
from tsfm_pipeline.commands import check_data, command_names, load_command, split_command


def test_every_subcommand_has_a_line_in_the_help(capsys) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert {"run", "release", "check-data"} <= set(command_names())
    for name in command_names():
        assert f"\n  {name} " in said
        assert callable(load_command(name).main)


def test_the_version_is_the_packages(capsys) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tsfm-pipeline {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "command", "rest"),
    [
        ([], "run", []),
        (["--pipelines", "pretrain"], "run", ["--pipelines", "pretrain"]),
        (["run", "--help"], "run", ["--help"]),
        (["check-data", "--env", "paper"], "check-data", ["--env", "paper"]),
    ],
)
def test_the_command_is_the_first_word_or_run(arguments, command, rest) -> None:
    assert split_command(arguments) == (command, rest)


def test_a_misspelt_command_is_told_the_nearest() -> None:
    with pytest.raises(SystemExit, match="did you mean 'check-data'"):
        split_command(["chek-data"])


def test_the_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from tsfm_pipeline.commands import help_text; help_text();"
        "print(sorted({'torch', 'pandas', 'kedro', 'mlflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_command_without_an_environment_sees_the_users_own(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.delenv("KEDRO_ENV", raising=False)
    conf = tmp_path / "conf"
    shutil.copytree(
        Path(__file__).parents[2] / "conf", conf, ignore=shutil.ignore_patterns("local")
    )
    (conf / "local").mkdir()
    (conf / "local" / "parameters.yml").write_text(f"raw_root: {tmp_path / 'mine'}\n")
    arguments = ["--conf-source", str(conf), "--dataset", "msd_liver"]
    assert check_data.main(arguments) == 1  # it is not there
    assert f"raw_root: {tmp_path / 'mine'}\n" in capsys.readouterr().out
    check_data.main([*arguments, "--env", "base"])
    assert str(tmp_path / "mine") not in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["check-data", "cost", "pool-folds", "release", "run-many", "status", "view"]
)
def test_the_help_says_which_environment_is_read(name, capsys) -> None:
    with pytest.raises(SystemExit):
        load_command(name).main(["--help"])
    assert "default: local" in " ".join(capsys.readouterr().out.split())
