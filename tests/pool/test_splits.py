import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from sklearn.model_selection import KFold

from tsfm_pipeline.pool.splits import SplitSettings, assign_folds, split_cases
from tsfm_pipeline.sources import PoolSettings


@pytest.mark.parametrize("count", [5, 7, 131])
def test_folds_are_those_of_nnunet(count: int) -> None:
    names = [f"case_{i:03d}" for i in range(count)]
    folds = assign_folds(names[::-1], SplitSettings())
    oracle = KFold(n_splits=5, shuffle=True, random_state=12345)  # as nnU-Net's do_split
    for fold, (_, validation) in enumerate(oracle.split(np.array(sorted(names)))):
        assert {names[i] for i in validation} == {n for n in names if folds[n] == fold}


NOBODY = pd.DataFrame(columns=["pool_key", "downstream_key"])


def test_a_patient_is_never_on_both_sides_and_bad_cases_are_left_out(make_catalogue) -> None:
    patients = {"a": ["p1", "p1", "p2", "p3", "p4", "p4", "p5"], "b": ["q", "r"]}
    catalogue = make_catalogue(patients)
    catalogue.loc[2, "verdict"] = "VolumeError: truncated"
    pool = PoolSettings(datasets=("a",), downstream=("b",))
    splits = split_cases(catalogue, NOBODY, pool, SplitSettings(folds=2))
    assert "a/2" not in set(splits["key"])
    assert splits.groupby("patient")["role"].nunique().max() == 1
    assert splits.groupby("dataset")["role"].nunique().min() == 2
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
    leakage = pd.DataFrame([("other/0", "kits19/7")], columns=NOBODY.columns)
    pool = PoolSettings(datasets=("kits21", "other"), downstream=("kits19",))
    splits = split_cases(catalogue, leakage, pool, SplitSettings())
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
    assert splits.groupby("dataset")["role"].nunique().to_dict() == {"kits19": 2, "kits21": 2}


def test_downstream_patients_leave_the_pool_and_nothing_else(make_catalogue) -> None:
    catalogue = make_catalogue({"a": ["p", "q", "r", "s"], "b": ["q", "x"]})
    leakage = pd.DataFrame([("a/1", "b/0"), ("a/3", "b/1")], columns=NOBODY.columns)
    pool = PoolSettings(datasets=("a",), downstream=("b",), exclude_downstream=True)
    splits = split_cases(catalogue, leakage, pool, SplitSettings(folds=2))
    assert set(splits["key"]) == {"a/0", "a/2", "b/0", "b/1"}


def test_one_patient_cannot_be_split(make_catalogue) -> None:
    catalogue = make_catalogue({"a": ["p"]})
    with pytest.raises(ValueError, match=r"'a' has 1 usable patient.*exclude_downstream"):
        split_cases(catalogue, NOBODY, PoolSettings(datasets=("a",)), SplitSettings())


def test_a_fold_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"folds 0\.\.4"):
        SplitSettings(fold=5)
