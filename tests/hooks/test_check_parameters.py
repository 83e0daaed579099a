import pytest
from kedro.framework.cli.utils import KedroCliError


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
    with pytest.raises(KedroCliError, match=message):
        run_kedro(project, "data_pool", params=params)
    assert not (project / "data").exists()
    assert not (project / "mlflow.db").exists()
