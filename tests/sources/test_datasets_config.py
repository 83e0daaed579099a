"""The shipped parameters files, against the paper and the publishers' label lists."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from pydantic import BaseModel, Field, ValidationError

from tsfm_pipeline.imaging.labels import LabelError, LabelTable
from tsfm_pipeline.sources import Datasets, PoolSettings, Source, check_labels

CONF = Path(__file__).parents[2] / "conf"


class Config(BaseModel):
    raw_root: str
    all_datasets: Datasets = Field(alias="datasets")
    pool: PoolSettings
    labels: LabelTable

    @property
    def datasets(self) -> dict[str, Source]:
        return dict(self.all_datasets.root)


def load(*environments: str) -> Config:
    """Merge environments as Kedro's soft strategy does: dictionaries by key, lists replaced."""
    globals_resolver = {"raw_root": "RAW"}
    OmegaConf.register_new_resolver("globals", globals_resolver.__getitem__, replace=True)
    files = [
        CONF / environment / f"parameters_{name}.yml"
        for environment in environments
        for name in ("datasets", "labels")
    ]
    merged: Any = OmegaConf.merge(*(OmegaConf.load(file) for file in files if file.exists()))
    return Config.model_validate(OmegaConf.to_container(merged, resolve=True))


@pytest.fixture(scope="module")
def base() -> Config:
    return load("base")


def test_pool_is_the_papers(base: Config) -> None:
    assert base.raw_root == "RAW"
    assert (len(base.pool.datasets), len(base.pool.downstream)) == (10, 3)
    assert {*base.pool.datasets, *base.pool.downstream} == set(base.datasets)
    check_labels(base.datasets, base.labels)
    # The paper's 2779 with the files one really gets: 63 lungs for 64, 281 pancreases for 282,
    # and the unreadable s0864 of TotalSegmentator still listed.
    paper = load("base", "paper").datasets
    counts = [paper[name].expected_cases or 0 for name in base.pool.datasets]
    assert sum(counts) == 2779 - 1 - 1 + 1
    assert [paper[name].expected_cases for name in base.pool.downstream] == [368, 210, 50]


def test_pool_table_has_30_targets_and_the_downstream_ones_follow(base: Config) -> None:
    used = {
        target
        for name in base.pool.datasets
        for target in base.datasets[name].labels.values()
        if target
    }
    assert sorted(base.labels.id_of(target) for target in used) == list(range(1, 31))
    assert set(base.labels.targets.values()) == {*range(1, 31), 38, 39, 40}


@pytest.mark.parametrize(
    ("dataset", "value", "name", "target"),
    [
        ("msd_liver", 2, "liver_tumor", 25),
        ("msd_lung", 1, "lung_tumor", 27),
        ("msd_pancreas", 1, "pancreas", 10),
        ("msd_hepaticvessel", 1, "hepatic_vessel", 26),
        ("msd_hepaticvessel", 2, "liver_tumor", 25),
        ("msd_colon", 1, "colon_tumor", 29),
        ("breast", 1, "breast_tumor", 30),
        ("kits21", 3, "kidney_cyst", 24),
        ("amos22", 5, "esophagus", 18),
        ("amos22", 9, "inferior_vena_cava", 8),
        ("amos22", 11, "adrenal_gland_right", 11),
        ("amos22", 15, "prostate_or_uterus", 21),
        ("btcv", 10, "portal_vein_and_splenic_vein", 9),
        ("btcv", 11, "pancreas", 10),
        ("btcv", 13, "adrenal_gland_left", 12),
        ("totalsegmentator", "lung_middle_lobe_right", "lung_middle_lobe_right", 16),
        ("brats2020", 4, "brain_tumor_enhancing", 40),
        ("kits19", 2, "kidney_tumor", 23),
        ("abdomenct1k", 2, "kidney_right", 2),
        ("abdomenct1k", 13, "kidney_left", 3),
    ],
)
def test_label_values(base: Config, dataset: str, value: int, name: str, target: int) -> None:
    assert base.datasets[dataset].labels[value] == name
    assert base.datasets[dataset].value_mapping(base.labels)[value] == target


def test_totalsegmentator_ids_equal_its_own_numbering(base: Config) -> None:
    """Ids 1-17 are class_map_5_parts of TotalSegmentator v1.5.7, in order."""
    mapping = base.datasets["totalsegmentator"].value_mapping(base.labels)
    assert list(mapping.values()) == list(range(1, 18))
    assert all(key == base.datasets["totalsegmentator"].labels[key] for key in mapping)


@pytest.mark.parametrize(
    ("dataset", "regions", "modality"),
    [
        ("msd_liver", 2, "CT"),
        ("msd_lung", 1, "CT"),
        ("msd_pancreas", 2, "CT"),
        ("msd_hepaticvessel", 2, "CT"),
        ("msd_colon", 1, "CT"),
        ("breast", 1, "MR"),
        ("kits21", 3, "CT"),
        ("amos22", 15, "CT"),
        ("amos22", 13, "MR"),
        ("btcv", 13, "CT"),
        ("totalsegmentator", 17, "CT"),
        ("brats2020", 3, "MR"),
        ("kits19", 2, "CT"),
        ("abdomenct1k", 13, "CT"),
    ],
)
def test_regions_annotated(base: Config, dataset: str, regions: int, modality: str) -> None:
    targets = base.datasets[dataset].annotated_targets(modality)  # type: ignore[arg-type]
    assert len(base.labels.regions_annotated_by(targets)) == regions


def test_who_annotates_the_whole_organs(base: Config) -> None:
    def supervisors(region: str) -> set[str]:
        return {
            name
            for name in base.pool.datasets
            if region
            in base.labels.regions_annotated_by(base.datasets[name].annotated_targets("CT"))
        }

    organs = {"amos22", "btcv", "totalsegmentator"}
    assert supervisors("liver") == {"msd_liver"} | organs
    assert supervisors("liver_tumor") == {"msd_liver", "msd_hepaticvessel"}
    assert supervisors("pancreas") == {"msd_pancreas"} | organs
    assert supervisors("kidney") == {"kits21"}
    assert supervisors("kidney_right") == organs
    assert base.labels.region_ids("liver") == (5, 25)
    assert base.labels.region_ids("kidney") == (22, 23, 24)


def test_hippocampus_environment_adds_its_dataset() -> None:
    config = load("base", "hippocampus")
    assert config.pool.datasets == ("hippocampus",)
    assert config.pool.downstream == ()
    mapping = config.datasets["hippocampus"].value_mapping(config.labels)
    assert mapping == {1: 41, 2: 42}
    check_labels(config.datasets, config.labels)


def test_unknown_target_names_dataset_value_and_remedy(base: Config) -> None:
    table = LabelTable(targets={"liver": 5, "liver_tumor": 25})
    datasets = {name: base.datasets[name] for name in ("msd_liver", "msd_lung", "msd_colon")}
    with pytest.raises(LabelError) as caught:
        check_labels(datasets, table)
    message = str(caught.value)
    assert "datasets.msd_lung.labels.1: unknown target 'lung_tumor'" in message
    assert "datasets.msd_colon.labels.1" in message  # all of them in one message
    assert "msd_liver" not in message
    assert "labels.targets" in message


def test_dropped_values_need_no_target(base: Config) -> None:
    liver = base.datasets["msd_liver"].model_copy(update={"labels": {1: "liver", 2: None}})
    table = LabelTable(targets={"liver": 5})
    check_labels({"liver": liver}, table)
    assert liver.value_mapping(table) == {1: 5, 2: 0}
    assert liver.annotated_targets("CT") == ("liver",)


def test_pool_names_are_disjoint() -> None:
    with pytest.raises(ValidationError, match=r"\['kits19'\] named more than once"):
        PoolSettings(datasets=("kits19", "kits21"), downstream=("kits19",))
    with pytest.raises(ValidationError, match="named more than once"):
        PoolSettings(datasets=("kits21", "kits21"))
