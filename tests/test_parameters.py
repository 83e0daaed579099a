"""The root model names what is misspelt and the nearest that there is."""

import copy
import shutil

import pytest

from tests.hooks.test_check_parameters import loader_of
from tsfm_pipeline.parameters import Parameters, ParametersError, load_parameters


@pytest.fixture
def raw(repository):
    return copy.deepcopy(loader_of(repository, "base")["parameters"])


def row_of(raw, table, experiment):
    rows = [row for block in raw["paper_tables"][table]["blocks"] for row in block["rows"]]
    return next(row for row in rows if row.get("experiment") == experiment)


@pytest.mark.parametrize(
    ("table", "experiment", "misspelt", "said"),
    [
        ("table_1", "pretrain.tsfm", "pretrain.tsmf", "'pretrain.tsmf'; did you mean"),
        (
            "table_2",
            "transfer.kits19.scratch.{column}",
            "transfer.kits91.scratch.{column}",
            "'transfer.kits91.scratch.epoch10'; did you mean 'transfer.kits19.scratch.epoch10'?",
        ),
        ("table_3", "ablation.amos22.{column}", "ablation.amos.{column}", "'ablation.amos.kits19'"),
    ],
)
def test_an_experiment_that_can_never_be_run_is_refused(
    raw, table, experiment, misspelt, said
) -> None:
    row_of(raw, table, experiment)["experiment"] = misspelt
    with pytest.raises(ParametersError) as told:
        Parameters.from_mapping(raw)
    assert said in str(told.value)
    assert f"paper_tables.{table}" in str(told.value)


def test_the_baseline_is_no_experiment_of_the_grid_but_known(raw) -> None:
    assert row_of(raw, "table_1", "pretrain.threshold")
    Parameters.from_mapping(raw)


@pytest.mark.parametrize("part", ["datasets", "downstream"])
def test_a_dataset_that_has_no_entry_is_refused(raw, part) -> None:
    raw["pool"][part] = ["msd_livr"]
    with pytest.raises(ParametersError, match=rf"pool\.{part}.*did you mean 'msd_liver'\?"):
        Parameters.from_mapping(raw)


def test_what_is_like_nothing_gets_no_suggestion(raw) -> None:
    raw["splits"]["zzz"] = 1
    with pytest.raises(ParametersError, match=r"splits\.zzz: unknown key\.$"):
        Parameters.from_mapping(raw)


def test_parameters_load_outside_a_run(repository) -> None:
    conf = str(repository / "conf")
    assert load_parameters(conf, "paper").preparation.target_spacing == (1.5, 1.0, 1.0)
    with pytest.raises(ParametersError, match="did you mean 'paper'"):
        load_parameters(conf, "papers")


def test_without_an_environment_the_users_own_is_read_as_kedro_does(
    repository, tmp_path, monkeypatch
) -> None:
    monkeypatch.delenv("KEDRO_ENV", raising=False)
    conf = tmp_path / "conf"
    shutil.copytree(repository / "conf", conf, ignore=shutil.ignore_patterns("local"))
    with pytest.raises(ParametersError, match="--env local: there is no folder"):
        load_parameters(str(conf), None)
    (conf / "local").mkdir()
    (conf / "local" / "parameters.yml").write_text("raw_root: /mine\n")
    assert load_parameters(str(conf), None).raw_root == "/mine"
    assert load_parameters(str(conf), "base").raw_root != "/mine"
    monkeypatch.setenv("KEDRO_ENV", "paper")
    assert load_parameters(str(conf), None).preparation.target_spacing == (1.5, 1.0, 1.0)
