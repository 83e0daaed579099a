import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from sklearn.model_selection import KFold

from tsfm_pipeline.pool.roles import scored_role
from tsfm_pipeline.pool.settings import PoolSettings, SplitSettings
from tsfm_pipeline.pool.split_files import SplitError
from tsfm_pipeline.pool.splits import assign_folds, split_cases


@pytest.mark.parametrize("count", [5, 7, 131])
def test_folds_are_those_of_nnunet(count: int) -> None:
    names = [f"case_{i:03d}" for i in range(count)]
    folds = assign_folds(names[::-1], SplitSettings())
    oracle = KFold(n_splits=5, shuffle=True, random_state=12345)  # as nnU-Net's do_split
    for fold, (_, validation) in enumerate(oracle.split(np.array(sorted(names)))):
        assert {names[i] for i in validation} == {n for n in names if folds[n] == fold}


NOBODY = pd.DataFrame(columns=["key", "other_key"])
AS_NNUNET = {"inner_folds": None}


def by_role(splits: pd.DataFrame) -> dict[str, set[str]]:
    return splits.groupby("role")["patient"].agg(set).to_dict()


@pytest.mark.parametrize("count", [13, 23, 131])
def test_the_persons_who_are_not_held_out_are_split_once_more(make_catalogue, count: int) -> None:
    names = [f"case_{i:03d}" for i in range(count)]
    pool = PoolSettings(datasets=("a",))
    splits = split_cases(make_catalogue({"a": names[::-1]}), NOBODY, pool, SplitSettings(fold=1))
    outer = list(KFold(5, shuffle=True, random_state=12345).split(names))
    others = [names[i] for i in outer[1][0]]
    inner = KFold(10, shuffle=True, random_state=12345).split(others)
    training, validation = next(inner)
    assert by_role(splits) == {
        "training": {others[i] for i in training},
        "validation": {others[i] for i in validation},
        "test": {names[i] for i in outer[1][1]},
    }


def test_nnunets_way_has_no_test_cases(make_catalogue) -> None:
    catalogue = make_catalogue({"a": [f"a{i:02d}" for i in range(23)]})
    pool = PoolSettings(datasets=("a",))
    nested = split_cases(catalogue, NOBODY, pool, SplitSettings())
    plain = split_cases(catalogue, NOBODY, pool, SplitSettings(**AS_NNUNET))
    assert (scored_role(nested), scored_role(plain)) == ("test", "validation")
    assert set(plain["role"]) == {"training", "validation"}
    scored, others = by_role(nested)["test"], by_role(nested)["training"]
    assert by_role(plain)["validation"] == scored
    assert by_role(plain)["training"] == others | by_role(nested)["validation"]


@pytest.mark.parametrize(
    ("persons", "counts"),
    [(2, (1, 0, 1)), (3, (1, 1, 1)), (5, (2, 1, 2)), (6, (3, 1, 2)), (7, (3, 1, 3))],
)
def test_a_small_dataset_trains_before_it_validates(make_catalogue, persons, counts) -> None:
    catalogue = make_catalogue({"a": list("pqrstuv")[:persons]})
    settings = SplitSettings(folds=3)
    splits = split_cases(catalogue, NOBODY, PoolSettings(datasets=("a",)), settings)
    found = splits["role"].value_counts()
    assert tuple(found.get(role, 0) for role in ("training", "validation", "test")) == counts


def test_a_dataset_whose_only_training_person_would_validate_trains_on_it(make_catalogue) -> None:
    catalogue = make_catalogue({"a": list("pqrstu"), "b": ["p", "q"]})
    pool = PoolSettings(datasets=("a",), downstream=("b",))
    for seed in range(5):
        splits = split_cases(catalogue, NOBODY, pool, SplitSettings(folds=2, seed=seed))
        of_b = splits[splits["dataset"] == "b"]
        assert sorted(of_b["role"]) == ["test", "training"]
        assert splits.groupby("patient")["role"].nunique().max() == 1


def test_nobody_who_is_scored_downstream_chooses_weights_in_the_pool(make_catalogue) -> None:
    """KiTS21 holds KiTS19; kits19/7 is known by its looks to be other/0, too."""
    names = [f"kits_{i:05d}" for i in range(300)]
    catalogue = make_catalogue({"kits21": names, "kits19": names[:210], "other": list("uvwxyz")})
    pairs = pd.DataFrame([("other/0", "kits19/7")], columns=NOBODY.columns)
    pool = PoolSettings(datasets=("kits21", "other"), downstream=("kits19",))
    person = dict(zip(catalogue["key"], catalogue["patient"], strict=True)) | {"other/0": names[7]}

    def persons(splits: pd.DataFrame, role: str, pool_part: bool) -> set[str]:
        rows = splits[(splits["role"] == role) & (splits["pool"] == pool_part)]
        return {person[key] for key in rows["key"]}

    for fold in range(5):
        splits = split_cases(catalogue, pairs, pool, SplitSettings(fold=fold))
        scored = persons(splits, "test", False)
        assert len(scored) == 42
        assert not scored & persons(splits, "validation", True)
        assert not scored & persons(splits, "training", True)
        counts = splits[splits["role"] == "validation"].groupby("dataset").size()
        assert counts["kits19"] in (17, 18) and counts["kits21"] in (24, 25)
    plain = split_cases(catalogue, pairs, pool, SplitSettings(**AS_NNUNET))
    chose = persons(plain, "validation", True)
    assert persons(plain, "validation", False) <= chose  # nnU-Net's way chooses on the scored


def test_a_patient_is_never_on_both_sides_and_bad_cases_are_left_out(make_catalogue) -> None:
    patients = {"a": ["p1", "p1", "p2", "p3", "p4", "p4", "p5"], "b": ["q", "r"]}
    catalogue = make_catalogue(patients)
    catalogue.loc[2, "verdict"] = "quarantined"
    pool = PoolSettings(datasets=("a",), downstream=("b",))
    splits = split_cases(catalogue, NOBODY, pool, SplitSettings(folds=2))
    assert "a/2" not in set(splits["key"])
    assert splits.groupby("patient")["role"].nunique().max() == 1
    assert set(splits.loc[splits["dataset"] == "b", "role"]) == {"training", "test"}
    assert set(splits.loc[splits["dataset"] == "a", "role"]) >= {"training", "test"}
    assert dict(splits.groupby("dataset")["pool"].first()) == {"a": True, "b": False}


def test_a_dataset_that_shares_nobody_is_split_as_nnunet_would(make_catalogue) -> None:
    catalogue = make_catalogue({"a": [f"a{i:02d}" for i in range(23)], "b": ["x", "y", "z"]})
    splits = split_cases(catalogue, NOBODY, PoolSettings(datasets=("a", "b")), SplitSettings())
    expected = assign_folds([f"a{i:02d}" for i in range(23)], SplitSettings())
    ours = splits[splits["dataset"] == "a"]
    assert dict(zip(ours["patient"], ours["fold"], strict=True)) == expected


def test_a_person_has_one_fold_in_all_datasets_and_each_is_split_evenly(make_catalogue) -> None:
    """As KiTS: 300 in the pool, of whom 210 are downstream, too."""
    names = [f"kits_{i:05d}" for i in range(300)]
    catalogue = make_catalogue({"kits21": names, "kits19": names[:210], "other": ["u", "v", "w"]})
    # One more is known by the look of the scan alone: other/0 is kits19/7.
    pairs = pd.DataFrame([("other/0", "kits19/7")], columns=NOBODY.columns)
    pool = PoolSettings(datasets=("kits21", "other"), downstream=("kits19",))
    splits = split_cases(catalogue, pairs, pool, SplitSettings())
    kits = splits[splits["dataset"] != "other"]
    assert kits.groupby("patient")["fold"].nunique().max() == 1
    for dataset, count in (("kits21", 60), ("kits19", 42)):
        sizes = splits[splits["dataset"] == dataset].groupby("fold").size()
        assert sizes.between(count - 1, count + 1).all()
    fold = splits.set_index("key")["fold"]
    assert fold["other/0"] == fold["kits19/7"] == fold["kits21/7"]


def test_few_shared_patients_still_leave_both_roles_in_each_dataset(make_catalogue) -> None:
    catalogue = make_catalogue({"kits21": ["k0", "k150"], "kits19": ["k0", "k105"]})
    pool = PoolSettings(datasets=("kits21",), downstream=("kits19",))
    splits = split_cases(catalogue, NOBODY, pool, SplitSettings(folds=2))
    roles = splits.groupby("dataset")["role"].agg(set).to_dict()
    assert roles == {"kits19": {"training", "test"}, "kits21": {"training", "test"}}


def test_downstream_patients_leave_the_pool_and_nothing_else(make_catalogue) -> None:
    catalogue = make_catalogue({"a": ["p", "q", "r", "s"], "b": ["q", "x"]})
    pairs = pd.DataFrame([("a/1", "b/0"), ("a/3", "b/1")], columns=NOBODY.columns)
    pool = PoolSettings(datasets=("a",), downstream=("b",), exclude_downstream=True)
    splits = split_cases(catalogue, pairs, pool, SplitSettings(folds=2))
    assert set(splits["key"]) == {"a/0", "a/2", "b/0", "b/1"}


@pytest.mark.parametrize("exclude", [False, True])
def test_whom_a_case_of_the_pool_joins_stays_one_person_without_it(make_catalogue, exclude) -> None:
    catalogue = make_catalogue({"a": list("pqrstuvwxyz"), "b": list("ABCDEFGHIJ")})
    pairs = pd.DataFrame([("a/0", f"b/{i}") for i in range(4)], columns=NOBODY.columns)
    pool = PoolSettings(datasets=("a",), downstream=("b",), exclude_downstream=exclude)
    splits = split_cases(catalogue, pairs, pool, SplitSettings())
    assert ("a/0" in set(splits["key"])) is not exclude
    of_one = splits[splits["key"].isin([f"b/{i}" for i in range(4)])]
    assert len(of_one) == 4
    assert of_one["fold"].nunique() == of_one["role"].nunique() == 1


def test_one_patient_cannot_be_split(make_catalogue) -> None:
    catalogue = make_catalogue({"a": ["p"]})
    with pytest.raises(SplitError, match=r"'a' has 1 usable patient.*exclude_downstream"):
        split_cases(catalogue, NOBODY, PoolSettings(datasets=("a",)), SplitSettings())


def test_a_fold_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"folds 0\.\.4"):
        SplitSettings(fold=5)


def split_file(tmp_path: Path, *entries: tuple[str, str]) -> Path:
    """Write nnU-Net's file; an entry is (train, val), a letter per case."""
    path = tmp_path / "splits_final.json"
    path.write_text(json.dumps([{"train": list(t), "val": list(v)} for t, v in entries]))
    return path


def roles(catalogue, settings, pool=None, pairs=NOBODY) -> dict[str, str]:
    splits = split_cases(catalogue, pairs, pool or PoolSettings(datasets=("a",)), settings)
    assert ((splits["fold"] == settings.fold) == (splits["role"] == scored_role(splits))).all()
    return dict(zip(splits["key"], splits["role"], strict=True))


def test_a_file_splits_its_dataset_and_folds_split_the_others(make_catalogue, tmp_path) -> None:
    path = split_file(tmp_path, ("012", "34"), ("34", "01"))
    catalogue = make_catalogue({"a": list("pqrst"), "b": list("uvwx")})
    catalogue.loc[1, "verdict"] = "quarantined"  # named, but quarantined
    pool = PoolSettings(datasets=("a", "b"))
    plain = roles(catalogue, SplitSettings(fold=1, **AS_NNUNET), pool)
    chosen = roles(catalogue, SplitSettings(fold=1, files={"a": path}, **AS_NNUNET), pool)
    of_a = {key: role for key, role in chosen.items() if key.startswith("a/")}
    # a/2 is in neither list
    assert of_a == {"a/0": "validation", "a/3": "training", "a/4": "training"}
    assert {key: role for key, role in chosen.items() if key.startswith("b/")} == {
        key: role for key, role in plain.items() if key.startswith("b/")
    }


def test_a_file_says_who_is_scored_and_the_best_weights_are_chosen_among_its_others(
    make_catalogue, tmp_path
) -> None:
    path = split_file(tmp_path, ("0123", "45"))
    catalogue = make_catalogue({"a": list("pqrstu"), "b": list("vwxyz")})
    pool = PoolSettings(datasets=("a", "b"))
    given = roles(catalogue, SplitSettings(files={"a": path}), pool)
    of_a = [given[f"a/{number}"] for number in range(6)]
    assert of_a[4:] == ["test", "test"]
    assert sorted(of_a[:4]) == ["training", "training", "training", "validation"]


def test_a_person_of_the_file_has_that_role_in_all_datasets(make_catalogue, tmp_path) -> None:
    path = split_file(tmp_path, ("01", "2"))
    catalogue = make_catalogue({"a": ["p", "q", "r"], "b": ["q", "r", "p", "x", "y"]})
    pairs = pd.DataFrame([("a/0", "b/3")], columns=NOBODY.columns)  # x is p
    pool = PoolSettings(datasets=("a",), downstream=("b",))
    for seed in range(5):
        settings = SplitSettings(folds=2, seed=seed, files={"a": path}, **AS_NNUNET)
        given = roles(catalogue, settings, pool, pairs)
        of_b = [given[f"b/{number}"][0] for number in range(4)]
        assert of_b == ["t", "v", "t", "t"]  # training, validation


def test_wrong_split_files_are_named(make_catalogue, tmp_path) -> None:
    catalogue = make_catalogue({"a": ["p", "q", "p"]})

    def refused(message: str, *entries: tuple[str, str], **settings) -> None:
        path = split_file(tmp_path, *entries)
        with pytest.raises(SplitError, match=message):
            roles(catalogue, SplitSettings(**settings, files={"a": path}))

    refused(r"splits\.files\.a: .*json names 1 case\(s\) that the dataset lacks, '7'", ("01", "7"))
    refused("'1' in both lists of fold 0", ("01", "12"))
    refused(r"has 1 fold\(s\), so splits\.fold can't be 1", ("0", "1"), fold=1)
    refused(r"a/0 \(train\) and a/2 \(val\) are of one person", ("01", "2"))
    refused("can't be read as nnU-Net's", ("012", ""))
    with pytest.raises(ValidationError, match=r"files\.a"):
        SplitSettings(files={"a": tmp_path / "missing.json"})


@pytest.mark.parametrize(("bad", "name"), [([2], "val"), ([0, 1], "train")])
def test_a_list_of_which_no_case_is_usable_is_refused(make_catalogue, tmp_path, bad, name) -> None:
    path = split_file(tmp_path, ("01", "2"))
    catalogue = make_catalogue({"a": list("pqrst"), "b": list("uvwx")})
    catalogue.loc[bad, "verdict"] = "quarantined"
    pool = PoolSettings(datasets=("a", "b"))
    with pytest.raises(SplitError, match=rf"files\.a: .* no usable case in '{name}' of fold 0"):
        roles(catalogue, SplitSettings(files={"a": path}), pool)
