"""The shipped parameters files, against the paper and the publishers' label lists."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from pydantic import BaseModel, Field, ValidationError

from tests.sources.supervision import supervision
from tsfm_pipeline.imaging.labels import LabelError, LabelTable
from tsfm_pipeline.pool.settings import PoolSettings
from tsfm_pipeline.sources import Datasets, Source, check_labels
from tsfm_pipeline.sources.msd import MsdSource

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
    used = {*base.pool.datasets, *base.pool.downstream}
    assert set(base.datasets) - used == {"totalsegmentator_v2", "abdomenct1k_organs"}
    check_labels(base.datasets, base.labels)
    # The paper's 2779 with the files one really gets: 63 lungs for 64, 281 pancreases for 282;
    # the unreadable s0864 of TotalSegmentator is left out on both sides.
    paper = load("base", "paper").datasets
    counts = [paper[name].expected_cases or 0 for name in base.pool.datasets]
    assert sum(counts) == 2779 - 1 - 1
    assert list(paper["totalsegmentator"].left_out) == ["s0864"]
    assert [paper[name].expected_cases for name in base.pool.downstream] == [368, 210, 50]


def test_pool_table_has_30_targets_and_the_downstream_ones_follow(base: Config) -> None:
    used = {
        target
        for name in base.pool.datasets
        for target in base.datasets[name].labels.values()
        if target
    }
    assert sorted(base.labels.id_of(target) for target in used) == list(range(1, 31))
    assert set(base.labels.targets.values()) == set(range(1, 41))


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
    source = base.datasets[dataset]
    targets = source.annotated_targets(modality, base.labels)  # type: ignore[arg-type]
    assert len(base.labels.regions_annotated_by(targets)) == regions


def test_who_annotates_the_whole_organs(base: Config) -> None:
    shown = supervision({name: base.datasets[name] for name in base.pool.datasets}, base.labels)

    def supervisors(region: str) -> set[str]:
        return set(shown.index[shown[region] != ""])

    organs = {"amos22", "btcv", "totalsegmentator"}
    assert supervisors("liver") == {"msd_liver"} | organs
    assert supervisors("liver_tumor") == {"msd_liver", "msd_hepaticvessel"}
    assert supervisors("pancreas") == {"msd_pancreas"} | organs
    assert supervisors("kidney") == {"kits21"} | organs  # the union of both kidneys
    assert supervisors("kidney_right") == organs
    assert supervisors("kidney_tumor") == supervisors("kidney_cyst") == {"kits21"}
    assert shown.shape == (10, 30)
    exceptions = shown.loc["amos22"][shown.loc["amos22"] == "not MR"]
    assert list(exceptions.index) == ["urinary_bladder", "prostate_or_uterus"]
    assert shown.isin(["", "yes", "not MR"]).all(axis=None)
    assert (shown == "not MR").sum().sum() == 2
    assert base.labels.region_ids("liver") == (5, 25)
    assert base.labels.region_ids("kidney") == (22, 23, 24)


def test_which_datasets_know_the_whole_kidneys(base: Config) -> None:
    """Of all 13 and the two releases beside them; in the second TotalSegmentator the cysts, too."""
    known = {
        (name, region)
        for name, source in base.datasets.items()
        for region in base.labels.regions_supervised_by(source.annotated_targets("CT", base.labels))
        if region in ("kidney", "kidney_cyst")
    }
    by_name = {("kits21", "kidney"), ("kits21", "kidney_cyst"), ("kits19", "kidney")}
    by_name |= {("abdomenct1k_organs", "kidney")}
    sided = {"amos22", "btcv", "totalsegmentator", "totalsegmentator_v2", "abdomenct1k"}
    cysts = {("totalsegmentator_v2", "kidney_cyst")}
    assert known == by_name | {(name, "kidney") for name in sided} | cysts
    v2 = base.datasets["totalsegmentator_v2"].value_mapping(base.labels)
    kidneys = {
        v2[f"{name}_{side}"] for name in ("kidney", "kidney_cyst") for side in ("left", "right")
    }
    assert kidneys < set(base.labels.composed_ids("kidney"))


def test_totalsegmentator_v2_has_the_24_organs_by_name(base: Config) -> None:
    """Class order of `class_map_part_organs` in TotalSegmentator v2's map_to_binary.py."""
    mapping = base.datasets["totalsegmentator_v2"].value_mapping(base.labels)
    v1 = base.datasets["totalsegmentator"].labels
    assert len(mapping) == 24
    assert list(mapping)[6:9] == ["pancreas", "adrenal_gland_right", "adrenal_gland_left"]
    assert list(mapping)[14:] == [
        *("esophagus", "trachea", "thyroid_gland", "small_bowel", "duodenum", "colon"),
        *("urinary_bladder", "prostate", "kidney_cyst_left", "kidney_cyst_right"),
    ]
    assert sorted(set(mapping.values()) - set(range(1, 31))) == list(range(31, 38))
    assert set(v1) - set(mapping) == {
        *("aorta", "inferior_vena_cava", "portal_vein_and_splenic_vein")
    }


def test_the_other_reading_of_abdomenct1k(base: Config) -> None:
    source = base.datasets["abdomenct1k_organs"]
    assert source.labels == {1: "liver", 2: "kidney", 3: "spleen", 4: "pancreas"}
    # It takes the place of the first reading in an environment: what differs is overridden.
    override = {"layout": "abdomenct1k", "folder": "AbdomenCT-1K", "first": 50}
    labels = source.labels | dict.fromkeys(range(5, 14))
    merged = base.datasets["abdomenct1k"].model_dump() | override | {"labels": labels}
    taken = Datasets.model_validate({"abdomenct1k": merged}).root["abdomenct1k"]
    assert taken.annotated_targets("CT", base.labels) == tuple(source.labels.values())


def in_reading(config: Config, reading: str) -> LabelTable:
    return LabelTable.model_validate(config.labels.model_dump() | {"reading": reading})


def test_per_dataset_reading_has_multitalents_channels(base: Config) -> None:
    """2+1+2+2+1+1+3+15+13+17 = 57 channels; overlaps are those within a dataset alone."""
    table = in_reading(base, "per_dataset")
    check_labels(base.datasets, table)
    pool = {name: base.datasets[name] for name in base.pool.datasets}
    shown = supervision(pool, table)
    assert shown.shape == (10, 57)
    assert list((shown != "").sum(axis=1)) == [2, 1, 2, 2, 1, 1, 3, 15, 13, 17]
    assert set((shown != "").sum(axis=0)) == {1}  # every channel has one dataset
    ids = {region: table.region_ids(region) for region in map(str, shown.columns)}
    assert sorted({value for values in ids.values() for value in values}) == list(range(1, 58))
    joined = {region: values for region, values in ids.items() if len(values) > 1}
    assert joined == {
        "msd_liver/liver": (1, 2),
        "msd_pancreas/pancreas": (4, 5),
        "kits21/kidney": (10, 11, 12),
    }
    v2 = base.datasets["totalsegmentator_v2"]
    pool = {name: pool[name] for name in list(pool)[:-1]} | {"totalsegmentator_v2": v2}
    assert supervision(pool, table).shape == (10, 64)


@pytest.mark.parametrize("environment", ["test", "paper", "hippocampus"])
def test_every_environment_has_both_readings(environment: str) -> None:
    config = load("base", environment)
    for reading in ("merged", "per_dataset"):
        check_labels(config.datasets, in_reading(config, reading))


def test_per_dataset_integers_are_as_stored_maps_have_them(base: Config) -> None:
    """Stored label maps keep their meaning: change a number here only with a new preparation."""
    table = in_reading(base, "per_dataset")
    first = {
        name: min(set(source.value_mapping(table).values()) - {0})
        for name, source in base.datasets.items()
    }
    assert first == {
        **{"msd_liver": 1, "msd_lung": 3, "msd_pancreas": 4, "msd_hepaticvessel": 6},
        **{"msd_colon": 8, "breast": 9, "kits21": 10, "amos22": 13, "btcv": 28},
        **{"totalsegmentator": 41, "brats2020": 58, "kits19": 61, "abdomenct1k": 63},
        **{"totalsegmentator_v2": 76, "abdomenct1k_organs": 100},
    }
    for name, source in base.datasets.items():
        order = list(dict.fromkeys(source.value_mapping(table).values()))
        assert order == list(range(first[name], first[name] + len(order))), name


def test_per_dataset_reading_of_a_dataset_without_integers_names_a_free_one(base: Config) -> None:
    with pytest.raises(LabelError) as caught:
        check_labels({"mine": base.datasets["msd_lung"]}, in_reading(base, "per_dataset"))
    assert "datasets.mine.labels.1: unknown target 'mine/lung_tumor'" in str(caught.value)
    assert "`labels.per_dataset` (the first free integer is 104)" in str(caught.value)
    check_labels({"mine": base.datasets["msd_lung"]}, base.labels)


def test_a_full_table_has_no_free_integer() -> None:
    table = LabelTable(targets={f"target_{number}": number for number in range(1, 255)})
    source = MsdSource(folder="x", labels={1: "new"})
    with pytest.raises(LabelError, match=r"the first free integer is none"):
        check_labels({"mine": source}, table)


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
    assert liver.annotated_targets("CT", table) == ("liver",)


def test_a_source_knows_its_name_also_in_a_worker(base: Config) -> None:
    for name, source in base.datasets.items():
        assert pickle.loads(pickle.dumps(source)).name == name
    copy = base.datasets["btcv"].model_copy(update={"folder": "elsewhere"})
    assert (copy.name, copy.named("mine").name, copy.name) == ("btcv", "mine", "btcv")
    with pytest.raises(ValueError, match="no name"):
        _ = MsdSource(folder="x", labels={1: "liver"}).name


def test_the_name_is_a_datasets_key_and_no_setting(base: Config) -> None:
    dumped = base.datasets["btcv"].model_dump(mode="json")
    assert not {"name", "_name"} & set(dumped)
    with pytest.raises(ValidationError) as caught:
        Datasets.model_validate({"btcv": dumped | {"name": "other"}})
    (error,) = caught.value.errors()
    assert (error["type"], error["loc"][-1]) == ("extra_forbidden", "name")


def test_pool_names_are_disjoint() -> None:
    with pytest.raises(ValidationError, match=r"\['kits19'\] named more than once"):
        PoolSettings(datasets=("kits19", "kits21"), downstream=("kits19",))
    with pytest.raises(ValidationError, match="named more than once"):
        PoolSettings(datasets=("kits21", "kits21"))


@pytest.mark.parametrize(
    "table",
    [
        LabelTable(targets={"liver": 1, "lesion, left": 2}),
        LabelTable(targets={"liver": 1}, regions={"liver, whole": ("liver",)}),
    ],
)
def test_a_name_with_a_comma_is_refused_before_anything_is_trained(table: LabelTable) -> None:
    with pytest.raises(LabelError, match=r"'l.*, .*' has a comma"):
        check_labels({}, table)
