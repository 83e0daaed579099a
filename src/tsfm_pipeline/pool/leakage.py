"""Which cases of the pool are downstream cases too, under whatever name.

A network pre-trained on a scan is not new to it. KiTS21 holds the scans of KiTS19 under the same
numbers; AbdomenCT-1K is made of scans of other sets and does not say which.
"""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from tsfm_pipeline.imaging.voxel_fingerprint import THUMBNAIL, thumbnail_correlation
from tsfm_pipeline.pool.settings import PoolSettings
from tsfm_pipeline.preparation.verdict import Verdict
from tsfm_pipeline.store.case_store import CaseStore

logger = logging.getLogger(__name__)

LEAKAGE_SCHEMA = pa.schema(
    [
        pa.field("pool_key", pa.string(), nullable=False),
        pa.field("downstream_key", pa.string(), nullable=False),
        pa.field("evidence", pa.string(), nullable=False),
        pa.field("correlation", pa.float64(), nullable=False),
    ]
)


def find_leakage(catalogue: pd.DataFrame, store: CaseStore, pool: PoolSettings) -> pd.DataFrame:
    """Compare every usable case of the pool with every usable downstream case.

    Returns:
        One row per pair that is one scan or one patient: pool_key, downstream_key, the surest
        `evidence` (`id`: the sources name one patient; `digest`: the same voxel values;
        `thumbnail`: correlated at least `pool.duplicate_correlation`) and the thumbnails'
        correlation, which is low where one patient was scanned twice.
    """
    usable = catalogue[catalogue["verdict"] == Verdict.OK]
    ours = usable[usable["dataset"].isin(pool.datasets)]
    theirs = usable[usable["dataset"].isin(pool.downstream)]
    thumbnails = _thumbnails(store, [*ours["key"], *theirs["key"]])
    correlation = thumbnail_correlation(thumbnails[: len(ours)], thumbnails[len(ours) :])
    same_patient = _equal(ours["patient"], theirs["patient"])
    same_voxels = _equal(ours["voxel_digest"], theirs["voxel_digest"])
    related = same_patient | same_voxels | (correlation >= pool.duplicate_correlation)
    evidence = np.select([same_patient, same_voxels], ["id", "digest"], "thumbnail")
    one, other = np.nonzero(related)
    found = pd.DataFrame(
        {
            "pool_key": ours["key"].to_numpy()[one],
            "downstream_key": theirs["key"].to_numpy()[other],
            "evidence": evidence[one, other],
            "correlation": correlation[one, other].astype(float).round(4),
        }
    )
    if len(found):
        logger.info(
            "%d pool cases are downstream cases, too (pairs by %s); they are %s",
            found["pool_key"].nunique(),
            ", ".join(f"{kind}: {n}" for kind, n in found["evidence"].value_counts().items()),
            "left out of the pool" if pool.exclude_downstream else "kept, as in the paper",
        )
    return found


def patient_groups(cases: pd.DataFrame, leakage: pd.DataFrame) -> pd.Series:
    """Name the person behind each case: patients whom the leakage table joins are one.

    Args:
        cases: with key and patient; any subset of the catalogue.
        leakage: rows of `find_leakage`.

    Returns:
        Series on the index of `cases`: the first name, in order, of all names of the person.
    """
    number, names = pd.factorize(cases["patient"], sort=True)
    number_of_key = pd.Series(number, cases["key"])
    pairs = leakage[["pool_key", "downstream_key"]].apply(lambda keys: keys.map(number_of_key))
    joined = pairs.dropna().to_numpy(int)
    graph = coo_array((np.ones(len(joined)), tuple(joined.T)), shape=(len(names),) * 2)
    _, person = connected_components(graph, directed=False)
    _, first = np.unique(person, return_index=True)  # names are sorted
    return pd.Series(names[first[person[number]]], cases.index, name="patient")


def leaking_cases(
    cases: pd.DataFrame, leakage: pd.DataFrame, pool: PoolSettings
) -> NDArray[np.bool_]:
    """Mark the pool cases of every person of whom a downstream dataset has a case."""
    persons = patient_groups(cases, leakage)
    downstream = set(persons[cases["dataset"].isin(pool.downstream)])
    return np.asarray(cases["dataset"].isin(pool.datasets) & persons.isin(downstream))


def _thumbnails(store: CaseStore, keys: Sequence[str]) -> NDArray[np.float16]:
    thumbnails_NZYX = np.empty((len(keys), *(THUMBNAIL,) * 3), np.float16)
    bar = tqdm(keys, desc="Comparing thumbnails", unit="case", disable=None)
    for thumbnail, key in zip(thumbnails_NZYX, bar, strict=True):
        thumbnail[...] = store.thumbnail(key)
    return thumbnails_NZYX


def _equal(one: pd.Series, other: pd.Series) -> NDArray[np.bool_]:
    return np.asarray(one.to_numpy()[:, None] == other.to_numpy()[None, :], bool)
