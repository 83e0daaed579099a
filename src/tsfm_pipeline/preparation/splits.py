"""Which cases train and which validate: k folds per dataset, patients kept together."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from pydantic import Field

from tsfm_pipeline.schema import Settings
from tsfm_pipeline.sources import PoolSettings

SPLIT_COLUMNS = ("key", "dataset", "case", "patient", "pool", "fold", "role")


class SplitSettings(Settings):
    """Cross-validation folds.

    Attributes:
        folds: number of folds (nnU-Net: 5).
        fold: the fold that validates; the others train.
        seed: of the shuffle (nnU-Net: 12345).
    """

    folds: int = Field(default=5, ge=2)
    fold: int = Field(default=0, ge=0)
    seed: int = 12345

    def model_post_init(self, context: object) -> None:
        """Refuse a validation fold that does not exist."""
        if self.fold >= self.folds:
            raise ValueError(f"splits.fold is {self.fold}, but there are folds 0..{self.folds - 1}")


def assign_folds(patients: Sequence[str], settings: SplitSettings) -> dict[str, int]:
    """Return the fold of each distinct patient.

    With one case per patient this is nnU-Net's split (`nnUNetTrainerV2.do_split`): sorted names,
    shuffled by RandomState(seed), cut into consecutive folds of which the first ones are larger
    by one where the number does not divide.
    """
    names = sorted(set(patients))
    order = np.arange(len(names))
    # The legacy generator is what nnU-Net's (scikit-learn's) shuffle uses.
    np.random.RandomState(settings.seed).shuffle(order)
    sizes = np.full(settings.folds, len(names) // settings.folds)
    sizes[: len(names) % settings.folds] += 1
    fold_of_position = np.repeat(np.arange(settings.folds), sizes)
    return {names[index]: int(fold) for index, fold in zip(order, fold_of_position, strict=True)}


def split_cases(
    catalogue: pd.DataFrame, pool: PoolSettings, settings: SplitSettings
) -> pd.DataFrame:
    """Split the usable cases of a pool catalogue, dataset by dataset.

    Args:
        catalogue: rows of the pool catalogue; those whose `verdict` is not `ok` are left out.
        pool: which datasets make the pool; the others are downstream.
        settings: folds, validating fold and seed.

    Returns:
        One row per usable case: key, dataset, case, patient, pool (or downstream), fold, role
        (training or validation).

    Raises:
        ValueError: a dataset has fewer patients than two, so nothing could be held out.
    """
    usable = catalogue[catalogue["verdict"] == "ok"]
    parts = []
    for dataset, cases in usable.groupby("dataset", sort=False):
        folds = assign_folds(list(cases["patient"]), settings)
        if len(folds) < 2:
            raise ValueError(
                f"dataset {dataset!r} has {len(folds)} usable patient(s); at least 2 are needed to"
                " hold one out. Add cases, or take the dataset out of `pool`."
            )
        part = cases[["key", "dataset", "case", "patient"]].copy()
        part["pool"] = dataset in pool.datasets
        part["fold"] = [folds[patient] for patient in part["patient"]]
        part["role"] = np.where(part["fold"] == settings.fold, "validation", "training")
        parts.append(part)
    return pd.concat(parts, ignore_index=True)[list(SPLIT_COLUMNS)]
