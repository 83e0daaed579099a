"""The run of a `kedro run`."""

import subprocess

import click
import mlflow
from mlflow import MlflowClient
from mlflow.entities import ViewType

from tests.tracking.conftest import trainings
from tsfm_pipeline import cli
from tsfm_pipeline.tracking import runs


def test_flatten() -> None:
    assert runs.flatten({"a": {"b": 1, "c": {}}, "d": [1, 2]}) == {"a.b": 1, "a.c": {}, "d": [1, 2]}


def test_what_a_command_line_set_is_read_back_by_the_command_line() -> None:
    given = {
        "workspace": "fold1",
        "raw_root": "/data/raw sets",
        "splits": {"fold": 2, "inner_folds": None, "seed": "7", "file": "null"},
        "experiments": {"left_out": ["study.*", "a,b"], "pretrain": {"training": {"amp": True}}},
        "pool": {"datasets": []},
    }
    option = next(each for each in cli.run.params if each.name == "params")
    with click.Context(cli.run) as context:
        assert option.callback(context, option, runs.params_text(given)) == given
    assert runs.params_text({}) == ""


def test_a_run_that_was_refused_leaves_none_behind(start) -> None:
    start()
    runs.discard_run()
    assert mlflow.active_run() is None
    assert mlflow.search_runs(search_all_experiments=True, output_format="list") == []
    (removed,) = MlflowClient().search_runs(["1"], run_view_type=ViewType.DELETED_ONLY)
    assert removed.info.status == "FAILED"


def git(folder, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def test_a_run_and_its_trainings_name_commit_and_changes(project, start, train) -> None:
    git(project, "init", "-q")
    (project / "code.py").write_text("a = 1\n")
    (project / ".gitignore").write_text("mlflow.db*\nmlartifacts\n")
    git(project, "add", ".")
    git(project, "commit", "-q", "-m", "x")
    commit = git(project, "rev-parse", "HEAD")
    start()
    train("d1", range(1))
    clean = mlflow.active_run().data.tags
    runs.end_run()
    (project / "code.py").write_text("a = 2\n")
    start("second")
    assert clean["mlflow.source.git.commit"] == commit
    assert (clean["commit"], clean["dirty"]) == (commit[:8], "false")
    assert mlflow.active_run().data.tags["dirty"] == "true"
    (training,) = trainings()
    assert training.data.tags["mlflow.source.git.commit"] == commit


def test_without_git_a_run_has_no_commit(project, start, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(project))
    run_id = start()
    tags = MlflowClient().get_run(run_id).data.tags
    assert "commit" not in tags
    assert "dirty" not in tags
    assert tags["machine"]


def test_a_file_of_the_report_joins_the_run(project, start) -> None:
    run_id = start()
    (project / "report.html").write_text("<p>")
    runs.log_file(project / "report.html")
    assert [file.path for file in MlflowClient().list_artifacts(run_id)] == ["report.html"]
