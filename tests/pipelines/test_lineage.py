"""What Kedro-Viz shows first: a box per stage, and a sentence with every entry of the catalogue."""

import pytest
import yaml
from kedro.pipeline import Pipeline

from tsfm_pipeline.pipeline_registry import register_pipelines

SHOWN = 34
"""Entries that stand beside the boxes: scores and statuses of every pipeline among them."""


@pytest.fixture(scope="module")
def everything() -> Pipeline:
    return register_pipelines()["__default__"]


def test_every_step_is_in_the_box_of_its_stage(everything) -> None:
    assert all(node.namespace for node in everything.nodes)
    boxes = {node.namespace.partition(".")[0] for node in everything.nodes}
    assert {"data_pool", "pretrain", "transfer", "ablation", "reporting"} <= boxes


def test_what_lies_between_the_boxes_fits_one_screen(everything) -> None:
    boxes = {node.namespace.partition(".")[0] for node in everything.nodes}
    parts = [everything.filter(node_namespaces=[box]) for box in boxes]
    outside = set().union(*(part.inputs() for part in parts))
    outside |= {name for name in everything.outputs() if name not in outside}
    shown = {name for name in outside if not name.startswith(("params:", "parameters"))}
    assert len(shown) <= SHOWN, sorted(shown)


def test_every_entry_says_in_one_sentence_what_it_is(repository) -> None:
    for file in (repository / "conf/base").glob("catalog_*.yml"):
        for name, entry in yaml.safe_load(file.read_text()).items():
            said = entry["metadata"]["kedro-viz"].get("description", "")
            assert said.endswith("."), name
            assert len(said) < 100, name


def test_what_a_figure_shows_is_said_of_that_figure(repository) -> None:
    from kedro.config import OmegaConfigLoader
    from kedro.io import CatalogConfigResolver

    from tsfm_pipeline.pipelines.reporting.pipeline import FIGURES
    from tsfm_pipeline.settings import CONFIG_LOADER_ARGS

    loader = OmegaConfigLoader(str(repository / "conf"), env="base", **CONFIG_LOADER_ARGS)
    resolver = CatalogConfigResolver(loader["catalog"])
    for figure in FIGURES:
        entry = resolver.resolve_pattern(f"{figure}_figure")
        assert entry["metadata"]["kedro-viz"]["description"].startswith(f"{figure} as PNG")


def test_names_and_files_of_the_catalogue_are_those_of_older_workspaces(repository) -> None:
    text = (repository / "conf/base/catalog_data_pool.yml").read_text()
    paths = {name: entry.get("filepath") for name, entry in yaml.safe_load(text).items()}
    workspace = "${globals:workspace}"
    assert paths["case_index"] == f"data/02_intermediate/{workspace}/case_index.parquet"
    results = f"${{runtime_params:workspace,{workspace}}}"  # one for each fold, if wanted
    assert paths["pool_page"] == f"data/08_reporting/{results}/pool.html"
    assert paths["splits"] == f"data/05_model_input/{results}/splits.parquet"
