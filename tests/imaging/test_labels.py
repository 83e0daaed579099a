import numpy as np
import pytest
from pydantic import ValidationError

from tsfm_pipeline.imaging.labels import LabelError, LabelTable, remap_values

TABLE = LabelTable(
    targets={"spleen": 1, "liver": 5, "kidney": 22, "kidney_tumor": 23, "kidney_cyst": 24}
    | {"liver_tumor": 25, "vessel": 26},
    regions={
        "liver": ("liver", "liver_tumor"),
        "kidney": ("kidney", "kidney_tumor", "kidney_cyst"),
        "kidney_mass": ("kidney_tumor", "kidney_cyst"),
    },
)


def test_regions_are_target_sets_and_follow_their_first_target() -> None:
    assert TABLE.region_ids("kidney") == (22, 23, 24)
    assert TABLE.region_ids("spleen") == (1,)
    assert TABLE.regions_annotated_by(["liver_tumor", "vessel"]) == ("liver_tumor", "vessel")
    assert TABLE.regions_annotated_by(["liver", "liver_tumor"]) == ("liver", "liver_tumor")
    assert TABLE.regions_annotated_by(["kidney_tumor"]) == ("kidney_tumor", "kidney_mass")
    assert TABLE.regions_annotated_by([]) == ()
    with pytest.raises(LabelError, match="'spleeen'"):
        TABLE.region_ids("spleeen")


def test_painting_in_collapse_order_keeps_inner_regions() -> None:
    """Painting nested masks in this order gives the map they were made of."""
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 5, 25, 22, 23, 24], size=(4, 5, 6))
    regions = ["kidney_tumor", "liver_tumor", "kidney", "kidney_cyst", "liver"]
    painted = np.zeros_like(labels)
    for region in TABLE.collapse_order(regions):
        ids = TABLE.region_ids(region)
        painted[np.isin(labels, ids)] = ids[0]
    np.testing.assert_array_equal(painted, labels)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"targets": {"a": 1, "b": 1}}, "share the id 1"),
        ({"targets": {"a": 0}}, "0 is not within 1..254"),
        ({"targets": {"a": 255}}, "255 is not within"),
        ({"targets": {"a": 1}, "regions": {"r": ["b"]}}, "unknown target 'b'"),
        ({"targets": {"a": 1}, "regions": {"r": []}}, "r is empty"),
        ({"targets": {"a": 1}, "region": {}}, "region"),
        ({"targets": {"a": 1}, "reading": "both"}, "reading"),
        ({"targets": {"a": 1}, "per_dataset": {"d": {"b": 1}}}, r"per_dataset\.d: unknown .* 'b'"),
        ({"targets": {"a": 1}, "per_dataset": {"d": {"a": 255}}}, "d/a: 255 is not within"),
        (
            {"targets": {"a": 1}, "per_dataset": {"d": {"a": 3}, "e": {"a": 3}}},
            "e/a and d/a share the id 3",
        ),
        ({"targets": {"a": 1, "b": 2}, "compositions": {"c": ["a", "b"]}}, "unknown target 'c'"),
        ({"targets": {"a": 1, "b": 2}, "compositions": {"a": ["b", "c"]}}, r"a: unknown .* 'c'"),
        ({"targets": {"a": 1, "b": 2}, "compositions": {"a": ["b"]}}, "a has one part"),
        ({"targets": {"a": 1, "b": 2}, "compositions": {"a": ["a", "b"]}}, "'a' is composed"),
    ],
)
def test_inconsistent_tables_are_refused(table: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LabelTable.model_validate(table)


KIDNEYS = LabelTable(
    targets={"kidney_right": 2, "kidney_left": 3}
    | {"kidney": 22, "kidney_tumor": 23, "kidney_cyst": 24, "cyst_left": 36, "cyst_right": 37},
    regions={"kidney": ("kidney", "kidney_tumor", "kidney_cyst")},
    compositions={
        "kidney": ("kidney_left", "kidney_right"),
        "kidney_cyst": ("cyst_left", "cyst_right"),
    },
)


@pytest.mark.parametrize(
    ("annotated", "also"),
    [
        (["kidney", "kidney_tumor", "kidney_cyst"], set()),
        (["kidney_left", "kidney_right"], {"kidney"}),
        (["kidney_left", "kidney_right", "cyst_left", "cyst_right"], {"kidney", "kidney_cyst"}),
        (["kidney_left", "kidney_right", "cyst_left"], {"kidney"}),
        (["kidney_left"], set()),  # whether the right one is in the scan, nobody said
        (["cyst_left", "cyst_right"], {"kidney_cyst"}),
        ([], set()),
    ],
)
def test_who_annotates_all_parts_supervises_their_union(annotated: list, also: set) -> None:
    own = KIDNEYS.regions_annotated_by(annotated)
    assert set(own) == set(annotated)
    assert set(KIDNEYS.regions_supervised_by(annotated)) == {*own, *also}


def test_a_composed_region_has_the_voxels_of_its_own_targets_and_of_all_parts() -> None:
    assert KIDNEYS.composed_ids("kidney") == (22, 23, 24, 3, 2, 36, 37)
    assert KIDNEYS.composed_ids("kidney_cyst") == (24, 36, 37)
    assert KIDNEYS.composed_ids("kidney_tumor") == (23,)
    assert KIDNEYS.region_ids("kidney") == (22, 23, 24)  # what it is painted and classed as
    assert KIDNEYS.exclusive_targets(["kidney"]) == ("kidney", "kidney_tumor", "kidney_cyst")
    order = KIDNEYS.collapse_order(list(KIDNEYS.targets))
    assert order.index("kidney") < order.index("kidney_left") < order.index("kidney_cyst")


def test_a_training_without_the_parts_does_not_depend_on_compositions() -> None:
    sided = ["kidney_left", "kidney_right"]
    kits = KIDNEYS.composed_within(["kidney", "kidney_tumor", "kidney_cyst", "kidney_left"])
    assert kits.composed_ids("kidney") == kits.region_ids("kidney")
    assert KIDNEYS.composed_within(["kidney", *sided]).composed_ids("kidney") == (22, 23, 24, 3, 2)
    assert KIDNEYS.over(["kidney", *sided]).composed_ids("kidney") == (22,)


def test_an_empty_composition_is_none() -> None:
    raw = KIDNEYS.model_dump()
    table = LabelTable.model_validate(raw | {"compositions": {"kidney": []}})
    assert table.compositions == {}
    assert table.regions_supervised_by(["kidney_left", "kidney_right"]) == (
        "kidney_right",
        "kidney_left",
    )


APART = {
    "reading": "per_dataset",
    "targets": {"spleen": 1, "liver": 5, "liver_tumor": 25, "vessel": 26},
    "regions": {"liver": ("liver", "liver_tumor"), "any": ("vessel", "liver_tumor")},
    "compositions": {"spleen": ("liver", "vessel")},
    "per_dataset": {
        "lits": {"liver": 1, "liver_tumor": 2},
        "vessels": {"vessel": 3, "liver_tumor": 4},
        "organs": {"liver": 5, "spleen": 6},
    },
}


def test_per_dataset_reading_keeps_datasets_apart() -> None:
    table = LabelTable(**APART)
    assert table.targets == {
        **{"lits/liver": 1, "lits/liver_tumor": 2, "vessels/vessel": 3, "vessels/liver_tumor": 4},
        **{"organs/liver": 5, "organs/spleen": 6},
    }
    assert table.region_ids("lits/liver") == (1, 2)
    assert table.region_ids("organs/liver") == (5,)  # labels no tumour
    assert table.region_ids("vessels/any") == (3, 4)
    assert table.region_ids("vessels/liver_tumor") == (4,)
    with pytest.raises(LabelError):
        table.region_ids("lits/any")
    assert table.target_of("lits", "liver") == "lits/liver"
    assert table.plain_name("lits/liver") == "liver"
    assert table.compositions == {}  # no target is another dataset's
    merged = LabelTable.model_validate(APART | {"reading": "merged"})
    assert (merged.target_of("lits", "liver"), merged.plain_name("liver")) == ("liver", "liver")


def test_per_dataset_reading_survives_json() -> None:
    """A model card keeps its table as JSON."""
    table = LabelTable.model_validate(APART)
    assert LabelTable.model_validate_json(table.model_dump_json()) == table
    assert LabelTable.model_validate(table) == table


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i4", "u8", "i8", "f4", "f8"])
def test_remap_equals_the_obvious_loop(kind: str) -> None:
    mapping = {1: 22, 2: 23, 4: 25, 99: 26}
    labels = np.random.default_rng(1).choice([0, 1, 2, 4], size=(5, 6, 7)).astype(kind)
    expected = np.zeros(labels.shape, np.uint8)
    for value, target in mapping.items():
        expected[labels == value] = target
    result = remap_values(labels, mapping)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, expected)


def test_remap_of_special_values() -> None:
    assert remap_values(np.array([0, 1, 3]), {1: 7, 3: 0}).tolist() == [0, 7, 0]  # 3 is dropped
    assert remap_values(np.array([0, 1]), {0: 9, 1: 8}).tolist() == [9, 8]  # 0 may be a target
    assert remap_values(np.array([-1, 0, 2], np.int8), {-1: 3, 2: 4}).tolist() == [3, 0, 4]
    assert remap_values(np.array([0, 127], np.int8), {127: 4}).tolist() == [0, 4]
    assert remap_values(np.array([2.0004, 0.9996]), {1: 5, 2: 6}).tolist() == [
        6,
        5,
    ]  # scaled header
    assert remap_values(np.zeros((0, 3)), {1: 5}).shape == (0, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([0, 1, 3]), r"case_7: label value\(s\) 3 are not in .*\[0, 1, 2, 5\]"),
        (np.array([0, 6, 9]), r"value\(s\) 6, 9 are"),
        (np.array([-2, 1]), r"value\(s\) -2 are"),
        (np.array([1.0, 0.4]), "0.4 is not a whole number"),
        (np.array([1.0, np.nan]), "nan is not a whole number"),
        (np.array([np.inf]), "inf is not a whole number"),
        (np.arange(-1000, 1000), r"-1000, -999, .*\.\.\. \(1996\)"),  # an image, not labels
        (np.array([1e30]), "not in this dataset's table"),
    ],
)
def test_remap_names_file_value_and_remedy(values: np.ndarray, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        remap_values(values, {1: 22, 2: 23, 5: 24}, where="case_7")


def test_a_table_over_what_is_labelled_has_no_classes_that_never_occur() -> None:
    table = LabelTable(
        targets={"liver": 5, "liver_tumor": 25, "spleen": 1},
        regions={"liver": ("liver", "liver_tumor")},
    )
    organs = table.over(["liver", "spleen"])
    assert organs.exclusive_targets(["spleen", "liver"]) == ("spleen", "liver")
    assert organs.region_ids("liver") == (5,)
    assert organs.targets == table.targets
    assert table.over(["liver", "liver_tumor"]).region_ids("liver") == (5, 25)
    assert table.over(["liver_tumor"]).regions_annotated_by(["liver_tumor"]) == ("liver_tumor",)


def test_a_side_in_the_name_of_a_dataset_makes_no_target_sided() -> None:
    table = LabelTable(
        reading="per_dataset",
        targets={"atrium": 1, "kidney_left": 2, "kidney_right": 3},
        per_dataset={"left_heart": {"atrium": 1, "kidney_left": 2, "kidney_right": 3}},
    )
    left, right = "left_heart/kidney_left", "left_heart/kidney_right"
    assert table.side_partners() == {left: right, right: left}
