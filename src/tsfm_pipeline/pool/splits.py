"""Which cases train, choose the best weights or are scored: k folds per dataset, persons whole."""

from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from tsfm_pipeline.pool.duplicates import patient_groups
from tsfm_pipeline.pool.leakage import leaking_cases
from tsfm_pipeline.pool.roles import Role
from tsfm_pipeline.pool.settings import PoolSettings, SplitSettings
from tsfm_pipeline.pool.split_files import (
    ListName,
    SplitError,
    list_of_each,
    lists_of_files,
)
from tsfm_pipeline.pool.version import pool_version
from tsfm_pipeline.preparation.verdict import Verdict

SPLITS_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("case", pa.string(), nullable=False),
        pa.field("patient", pa.string(), nullable=False),
        pa.field("pool", pa.bool_(), nullable=False),
        pa.field("fold", pa.int64(), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("pool_version", pa.string(), nullable=False),
        # A pool case whose person is downstream, too; tables of before do not say.
        pa.field("leaking", pa.bool_()),
    ]
)


def assign_folds(
    patients: Sequence[str], settings: SplitSettings, filled: NDArray[np.int64] | None = None
) -> dict[str, int]:
    """Return the fold of each distinct patient.

    With one case per patient this is nnU-Net's split (`nnUNetTrainerV2.do_split`): sorted names,
    shuffled by RandomState(seed), cut into consecutive folds of which the first ones are larger
    by one where the number does not divide.

    Args:
        patients: their names.
        settings: folds and seed.
        filled: patients that each fold has already; the emptiest folds become larger by one.
    """
    names = sorted(set(patients))
    order = np.arange(len(names))
    # The legacy generator is what nnU-Net's (scikit-learn's) shuffle uses.
    np.random.RandomState(settings.seed).shuffle(order)
    sizes = np.full(settings.folds, len(names) // settings.folds)
    emptiest = np.argsort(np.zeros(settings.folds) if filled is None else filled, kind="stable")
    sizes[emptiest[: len(names) % settings.folds]] += 1
    fold_of_position = np.repeat(np.arange(settings.folds), sizes)
    return {names[index]: int(fold) for index, fold in zip(order, fold_of_position, strict=True)}


def split_cases(
    catalogue: pd.DataFrame, duplicates: pd.DataFrame, pool: PoolSettings, settings: SplitSettings
) -> pd.DataFrame:
    """Split the usable cases of a pool catalogue.

    A person has one fold and one role, whatever datasets have scans of that person: who is held
    out downstream neither trains nor chooses weights in the pool. Persons are split per set of
    datasets that have them, so each of these datasets is split evenly, and one that shares nobody
    is split as nnU-Net would. Persons of a dataset that has a file of its own take their fold from
    there, in all datasets.

    With `inner_folds` the persons who are not held out are split once more in the same way, and
    the first part is the validation cases: of each dataset about one person in `inner_folds`, at
    least one. A dataset of which this would leave nobody to train has no validation cases.

    Args:
        catalogue: rows of the pool catalogue; those whose `verdict` is not `ok` are left out.
        duplicates: pairs of `find_duplicates`; they tell persons with several names.
        pool: which datasets make the pool; the others are downstream. With `exclude_downstream`,
            pool cases of downstream persons are left out.
        settings: folds, the one that is held out, and seed.

    Returns:
        One row per case in use: key, dataset, case, patient, pool (or downstream), fold, role
        (training, validation or test), the version of the pool, and leaking (a pool case whose
        person is downstream, too: `leakage.leakage_free` drops them). `fold` is the one in which a
        case is held out; -1 where a file says that it is not. Without `inner_folds` the role of
        what is held out is validation, and no case is a test case.

    Raises:
        SplitError: a dataset has fewer patients than two, so nothing could be held out; a file that
            is wrong, has one person in both lists, or no usable case in one.
    """
    usable = catalogue[catalogue["verdict"] == Verdict.OK]
    persons = patient_groups(usable, duplicates)  # a case that is left out may join two that stay
    if pool.exclude_downstream:
        leaks = leaking_cases(usable, duplicates, pool)
        usable, persons = usable[~leaks], persons[~leaks]
    _refuse_too_few(catalogue, usable)
    splits = usable[["key", "dataset", "case", "patient"]].reset_index(drop=True)
    splits["pool"] = splits["dataset"].isin(pool.datasets)
    splits["leaking"] = leaking_cases(splits, duplicates, pool)
    persons = persons.reset_index(drop=True)
    listed = lists_of_files(catalogue, settings.files, settings.fold)
    used = splits["key"].isin(listed) | ~splits["dataset"].isin(settings.files)
    splits, persons = splits[used].reset_index(drop=True), persons[used].reset_index(drop=True)
    _refuse_empty_lists(splits, listed, settings)
    given = list_of_each(dict(zip(splits["key"], persons, strict=True)), listed)
    free = ~persons.isin(given)
    folds = _fold_of_each(persons[free], splits.loc[free, "dataset"], settings)
    folds |= {name: settings.fold if one == "val" else -1 for name, one in given.items()}
    splits["fold"] = [folds[person] for person in persons]
    splits["role"] = _roles(splits, persons, settings)
    splits["pool_version"] = pool_version(usable[usable["dataset"].isin(pool.datasets)])
    return pd.DataFrame(splits, columns=SPLITS_SCHEMA.names)


def _roles(splits: pd.DataFrame, persons: pd.Series, settings: SplitSettings) -> list[Role]:
    held_out = splits["fold"] == settings.fold
    if settings.inner_folds is None:
        return ["validation" if out else "training" for out in held_out]
    inner = settings.model_copy(update={"folds": settings.inner_folds})
    others, datasets = persons[~held_out], splits.loc[~held_out, "dataset"]
    chosen = others.map(_fold_of_each(others, datasets, inner)) == 0
    anyone_left = (~chosen).groupby(datasets).transform("any")
    validating = set(others[chosen]) - set(others[~anyone_left])
    return [
        "test" if out else "validation" if person in validating else "training"
        for out, person in zip(held_out, persons, strict=True)
    ]


def _fold_of_each(
    persons: pd.Series, datasets: pd.Series, settings: SplitSettings
) -> dict[str, int]:
    """Split the persons of each set of datasets, the most shared first."""
    having: dict[str, set[str]] = {}
    for person, dataset in zip(persons, datasets, strict=True):
        having.setdefault(person, set()).add(dataset)
    groups: dict[tuple[str, ...], list[str]] = {}
    for person, names in having.items():
        groups.setdefault(tuple(sorted(names)), []).append(person)
    filled = {dataset: np.zeros(settings.folds, np.int64) for dataset in datasets}
    folds: dict[str, int] = {}
    for shared in sorted(groups, key=len, reverse=True):
        so_far = np.sum([filled[dataset] for dataset in shared], axis=0)
        part = assign_folds(groups[shared], settings, so_far)
        for dataset in shared:
            filled[dataset] += np.bincount(list(part.values()), minlength=settings.folds)
        folds |= part
    return folds


def _refuse_too_few(catalogue: pd.DataFrame, usable: pd.DataFrame) -> None:
    for dataset in dict.fromkeys(catalogue["dataset"]):
        ours = usable["dataset"] == dataset
        count = usable.loc[ours, "patient"].nunique()
        if count < 2:
            raise SplitError(
                f"dataset {dataset!r} has {count} usable patient(s) in {ours.sum()} usable"
                " case(s); at least 2 are needed to hold one out. Add cases, take the dataset out"
                " of `pool`, or set `pool.exclude_downstream` to false if that left them out."
            )


def _refuse_empty_lists(
    splits: pd.DataFrame, listed: Mapping[str, ListName], settings: SplitSettings
) -> None:
    for dataset, path in settings.files.items():
        used = splits.loc[splits["dataset"] == dataset, "key"].map(listed)
        for name in get_args(ListName):
            if name not in set(used):
                raise SplitError(
                    f"splits.files.{dataset}: {path} has no usable case in {name!r} of fold"
                    f" {settings.fold}; the pool catalogue says why its cases are not"
                )
