"""Splits of one's own, in the format of nnU-Net's splits_final.json."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import BaseModel, Field, TypeAdapter

ListName = Literal["train", "val"]


class SplitError(ValueError):
    """A split that is not what its file should hold, or that would leak."""


class _Fold(BaseModel):
    train: list[str] = Field(min_length=1)
    val: list[str] = Field(min_length=1)


_FOLDS = TypeAdapter(list[_Fold])


def lists_of_files(
    catalogue: pd.DataFrame, files: Mapping[str, Path], fold: int
) -> dict[str, ListName]:
    """Return key -> list, `train` or `val`, of every case that one fold of the files names.

    Args:
        catalogue: all cases, usable or not.
        files: dataset -> a list of {"train": [...], "val": [...]} with names of cases.
        fold: which entry of each list.

    Raises:
        SplitError: naming file, case and remedy.
    """
    lists: dict[str, ListName] = {}
    for dataset, path in files.items():
        where = f"splits.files.{dataset}: {path}"
        try:
            folds = _FOLDS.validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            raise SplitError(
                f"{where} can't be read as nnU-Net's splits_final.json, a list of"
                f' {{"train": [...], "val": [...]}}: {error}'
            ) from error
        if fold >= len(folds):
            raise SplitError(f"{where} has {len(folds)} fold(s), so splits.fold can't be {fold}")
        train, val = set(folds[fold].train), set(folds[fold].val)
        cases = set(catalogue.loc[catalogue["dataset"] == dataset, "case"])
        if unknown := sorted((train | val) - cases):
            raise SplitError(
                f"{where} names {len(unknown)} case(s) that the dataset lacks, {unknown[0]!r}"
                " first; correct the names (no channel number, no file ending)"
            )
        if both := sorted(train & val):
            raise SplitError(f"{where} has {both[0]!r} in both lists of fold {fold}; remove one")
        lists |= {f"{dataset}/{case}": "train" for case in train}
        lists |= {f"{dataset}/{case}": "val" for case in val}
    return lists


def list_of_each(persons: Mapping[str, str], lists: Mapping[str, ListName]) -> dict[str, ListName]:
    """Return person -> list, of the persons that files speak of.

    Args:
        persons: key of every case in use -> the person behind it.
        lists: key -> list.

    Raises:
        SplitError: a person would train and be held out.
    """
    first: dict[str, str] = {}
    for key, person in persons.items():
        if key not in lists:
            continue
        other = first.setdefault(person, key)
        if lists[other] != lists[key]:
            raise SplitError(
                f"splits.files: {other} ({lists[other]}) and {key} ({lists[key]}) are of one"
                " person, who would train and be held out; put both cases into one list"
            )
    return {person: lists[key] for person, key in first.items()}
