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


def _catalogue(dataset: str, patients: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "key": [f"{dataset}/{i}" for i in range(len(patients))],
            "dataset": dataset,
            "case": [str(i) for i in range(len(patients))],
            "patient": patients,
            "verdict": "ok",
        }
    )


def test_a_patient_is_never_on_both_sides_and_bad_cases_are_left_out() -> None:
    catalogue = pd.concat(
        [_catalogue("a", ["p1", "p1", "p2", "p3", "p4", "p4", "p5"]), _catalogue("b", ["q", "r"])],
        ignore_index=True,
    )
    catalogue.loc[2, "verdict"] = "VolumeError: truncated"
    settings = SplitSettings(folds=2)
    splits = split_cases(catalogue, PoolSettings(datasets=("a",), downstream=("b",)), settings)
    assert "a/2" not in set(splits["key"])
    assert splits.groupby("patient")["role"].nunique().max() == 1
    assert splits.groupby("dataset")["role"].nunique().min() == 2
    assert dict(splits.groupby("dataset")["pool"].first()) == {"a": True, "b": False}


def test_one_patient_cannot_be_split() -> None:
    with pytest.raises(ValueError, match=r"'a' has 1 usable patient"):
        split_cases(_catalogue("a", ["p"]), PoolSettings(datasets=("a",)), SplitSettings())


def test_a_fold_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"folds 0\.\.4"):
        SplitSettings(fold=5)
