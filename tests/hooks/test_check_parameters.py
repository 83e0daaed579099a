from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from kedro.config import OmegaConfigLoader

from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.network.sizes import SIZES
from tsfm_pipeline.parameters import Parameters
from tsfm_pipeline.planning.network_memory import tsfm_activation_gib
from tsfm_pipeline.planning.settings import PlanningSettings
from tsfm_pipeline.pool.settings import SplitSettings
from tsfm_pipeline.preparation.settings import ScreeningSettings
from tsfm_pipeline.settings import CONFIG_LOADER_ARGS
from tsfm_pipeline.workers import WorkerSettings


def loader_of(repository: Path, environment: str) -> OmegaConfigLoader:
    arguments = {**CONFIG_LOADER_ARGS, "default_run_env": environment}
    return OmegaConfigLoader(str(repository / "conf"), **arguments)


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
    loader = loader_of(repository, environment)
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
    assert training["momentum"] == 0.99  # nnU-Net's


def leaked(found: FrozenModel, named: dict[str, Any], default: FrozenModel, path: str) -> list[str]:
    """Name the values that are neither named by an environment nor the code's default."""
    names: list[str] = []
    for field in type(default).model_fields:
        value, usual = getattr(found, field), getattr(default, field)
        if isinstance(usual, FrozenModel):
            names += leaked(value, named.get(field, {}), usual, f"{path}.{field}")
        elif field not in named and value != usual:
            names.append(f"{path}.{field}: {value!r}, not {usual!r}")
    return names


def test_the_papers_environment_has_nothing_of_the_phantoms(repository) -> None:
    parameters = Parameters.from_mapping(loader_of(repository, "paper")["parameters"])
    named: dict[str, Any] = {}
    for file in (repository / "conf/paper").glob("parameters_*.yml"):
        named |= yaml.safe_load(file.read_text())
    found: list[str] = []
    for role in ("pretrain", "ablation", "transfer"):
        training = getattr(parameters.experiments, role).training
        own = named["experiments"][role]["training"]
        found += leaked(training, own, TrainingSettings(), f"experiments.{role}.training")
    evaluation = parameters.evaluation  # names of targets, which are no phantoms'
    defaults = {
        "inference": InferenceSettings(),
        "planning": PlanningSettings(),
        "splits": SplitSettings(),
        "screening": ScreeningSettings(),
        "workers": WorkerSettings(),
        "evaluation": EvaluationSettings(
            tumor_targets=evaluation.tumor_targets, unions=evaluation.unions
        ),
    }
    for key, default in defaults.items():
        found += leaked(getattr(parameters, key), named.get(key, {}), default, key)
    assert found == []


def test_the_papers_batch_needs_checkpointing(repository) -> None:
    training = Parameters.from_mapping(
        loader_of(repository, "paper")["parameters"]
    ).experiments.pretrain.training
    kept = training.batch_size * tsfm_activation_gib(SIZES[training.size], training.patch)
    assert kept == pytest.approx(104.74, abs=0.01)  # docs/planning.md
    assert kept * 2**30 > 80e9
    assert training.activation_checkpointing
