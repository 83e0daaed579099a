"""Which cases of the pool are downstream cases too, and which pool is free of them."""

import logging

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from tsfm_pipeline.pool.duplicates import patient_groups
from tsfm_pipeline.pool.settings import PoolSettings
from tsfm_pipeline.preparation.verdict import Verdict

logger = logging.getLogger(__name__)

LEAKAGE_SCHEMA = pa.schema(
    [
        pa.field("pool_key", pa.string(), nullable=False),
        pa.field("downstream_key", pa.string(), nullable=False),
        pa.field("evidence", pa.string(), nullable=False),
        pa.field("correlation", pa.float64()),
        pa.field("source", pa.string()),
    ]
)

BY_OTHERS = "person"
"""Evidence of a pair that nothing joins directly: both are joined to a third case."""


def find_leakage(
    catalogue: pd.DataFrame, duplicates: pd.DataFrame, pool: PoolSettings
) -> pd.DataFrame:
    """Find the usable cases of the pool whose person has a usable downstream case.

    Args:
        catalogue: the pool catalogue.
        duplicates: the first table of `find_duplicates`.
        pool: which datasets are the pool, and which are downstream.

    Returns:
        One row per pair of a pool case and a downstream case of one person: pool_key,
        downstream_key, and evidence, correlation and source as in `find_duplicates`; evidence
        `person` where the two are joined by a third case alone.
    """
    usable = catalogue[catalogue["verdict"] == Verdict.OK]
    cases = usable[["key", "dataset"]].assign(person=patient_groups(usable, duplicates))
    ours = cases[cases["dataset"].isin(pool.datasets)].rename(columns={"key": "pool_key"})
    theirs = cases[cases["dataset"].isin(pool.downstream)].rename(columns={"key": "downstream_key"})
    pairs = ours.merge(theirs, on="person")[["pool_key", "downstream_key"]]
    # A pair of the table stands in the order of the catalogue, whichever part comes first.
    names = {"key": "pool_key", "other_key": "downstream_key"}
    turned = {"key": "downstream_key", "other_key": "pool_key"}
    known = pd.concat([duplicates.rename(columns=names), duplicates.rename(columns=turned)])
    found = pairs.merge(known, how="left", on=["pool_key", "downstream_key"])
    found["evidence"] = found["evidence"].fillna(BY_OTHERS)
    if len(found):
        logger.info(
            "%d pool cases are downstream cases, too (pairs by %s); they are %s",
            found["pool_key"].nunique(),
            ", ".join(f"{kind}: {n}" for kind, n in found["evidence"].value_counts().items()),
            "left out of the pool" if pool.exclude_downstream else "kept, as in the paper",
        )
    return pd.DataFrame(found, columns=LEAKAGE_SCHEMA.names)


def leaking_cases(
    cases: pd.DataFrame, pairs: pd.DataFrame, pool: PoolSettings
) -> NDArray[np.bool_]:
    """Mark the pool cases of every person of whom a downstream dataset has a case.

    Args:
        cases: with key, patient and dataset.
        pairs: rows of `find_duplicates` or of `find_leakage`.
        pool: which datasets are the pool, and which are downstream.
    """
    persons = patient_groups(cases, pairs)
    downstream = set(persons[cases["dataset"].isin(pool.downstream)])
    return np.asarray(cases["dataset"].isin(pool.datasets) & persons.isin(downstream))


def leakage_free(splits: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a split without the pool cases of downstream persons.

    Roles and folds stay those of the whole split, so a training on what is left is scored on the
    held-out cases that both have. Splits that were made before `leaking` was a column have to be
    made again.

    Raises:
        ValueError: the column is missing or empty.
    """
    if "leaking" not in splits or splits["leaking"].isna().any():
        raise ValueError(
            "splits do not say which cases are downstream cases, too; run the pipeline data_pool"
        )
    return splits[~splits["leaking"].astype(bool)]
