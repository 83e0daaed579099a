import click
import pytest
import yaml

from tsfm_pipeline.parameters import Parameters


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"experimnets": {"pretrain": {}}}, "experimnets: unknown key"),
        ({"preparation": {"target_spacng": [1, 1, 1]}}, "preparation.target_spacng"),
        (
            {"experiments": {"pretrain": {"training": {"learning_rat": 0.1}}}},
            "experiments.pretrain.training.learning_rat",
        ),
        ({"datasets": {"kits21": {"lables": {}}}}, r"datasets.*kits21.*lables"),
        ({"labels": {"targets": {"spleen": 5}}}, "share the id 5"),
        ({"datasets": {"btcv": {"labels": {1: "splen"}}}}, "splen"),
        ({"splits": {"folds": 1}}, "splits.folds"),
        ({"experiments": {"transfer": {"epochs": {"epoch15": 3}}}}, "epoch15"),
        ({"phantom": {"cases": {"msd_livr": 2}}}, "phantom.cases.msd_livr"),
        ({"pool": {"datasets": ["kits21"], "downstream": ["kits21"]}}, "more than once"),
    ],
)
def test_a_wrong_key_stops_before_any_node(make_project, run_kedro, params, message) -> None:
    project = make_project()
    with pytest.raises(click.ClickException, match=message):
        run_kedro(project, "data_pool", params=params)
    assert not (project / "data").exists()
    assert not (project / "mlflow.db").exists()


@pytest.mark.parametrize("environment", ["base", "test", "paper", "hippocampus"])
def test_every_environment_we_ship_is_valid(repository, environment) -> None:
    from kedro.config import OmegaConfigLoader

    from tsfm_pipeline.settings import CONFIG_LOADER_ARGS

    arguments = {**CONFIG_LOADER_ARGS, "default_run_env": environment}
    loader = OmegaConfigLoader(str(repository / "conf"), **arguments)
    parameters = Parameters.from_mapping(loader["parameters"])
    for name in [*parameters.pool.datasets, *parameters.pool.downstream]:
        assert name in parameters.datasets.root
    assert loader["catalog"]["store_root"]["filepath"].startswith("data/03_primary/")


def test_the_papers_environment_holds_the_papers_numbers(repository) -> None:
    text = (repository / "conf/paper/parameters_experiments.yml").read_text()
    training = yaml.safe_load(text)["experiments"]["pretrain"]["training"]
    # section 3.1
    assert training["patch"] == [112, 160, 192]
    assert (training["batch_size"], training["iterations_per_epoch"]) == (2, 250)
    assert (training["epochs"], training["learning_rate"]) == (1000, 1e-3)
    assert training["weight_decay"] == 1e-3
