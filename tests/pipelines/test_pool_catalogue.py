"""`data_pool` on phantoms: a leakage-free pool is made of the same prepared cases."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from tests.pipelines.conftest import kedro

POOL = "pool: {datasets: [kits21, msd_colon], downstream: [kits19]}"


def test_a_leakage_free_pool_prepares_nothing_again(make_project: Callable[[], Path]) -> None:
    project = make_project()
    conf = project / "conf/test"
    (conf / "parameters_datasets.yml").write_text(POOL)
    phantoms = conf / "parameters_phantom.yml"
    phantoms.write_text(phantoms.read_text().replace("kits21: 2", "kits21: 4"))
    data = project / "data"
    command = ("run", "--env", "test", "--pipelines", "data_pool")

    def state() -> dict[str, int]:
        cases = (data / "03_primary/test/cases").glob("*/*/*")
        return {str(path): path.stat().st_mtime_ns for path in cases}

    kedro(project, *command)
    page = data / "08_reporting/test/pool.html"
    paper, before, first = page.read_text(), state(), splits(data)
    assert "kits21/case_00000" in set(first["key"])
    kedro(project, *command, "--params", "pool.exclude_downstream=true")
    second = splits(data)
    assert state() == before
    assert set(first["key"]) - set(second["key"]) == {"kits21/case_00000"}

    versions = pd.read_csv(data / "03_primary/test/pool_versions.csv")
    assert list(versions["kind"]) == ["as in the paper", "leakage-free"]
    assert list(versions["version"]) == [
        first["pool_version"].iat[0],
        second["pool_version"].iat[0],
    ]
    for version, text in zip(versions["version"], (paper, page.read_text()), strict=True):
        assert f"<code>{version}</code>" in text
    assert (data / "08_reporting/test/pool.png").stat().st_size > 10_000


def splits(data: Path) -> pd.DataFrame:
    return pd.read_parquet(data / "05_model_input/test/splits.parquet")
