"""Which cases are one scan or one patient, in whatever datasets and under whatever names.

Two copies of a scan must not stand on both sides of a split, and a network pre-trained on a scan is
not new to it (`pool.leakage`). KiTS21 holds the scans of KiTS19 under the same numbers;
AbdomenCT-1K is made of scans of other sets and does not say which.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from tsfm_pipeline.imaging.voxel_fingerprint import THUMBNAIL, thumbnail_correlation
from tsfm_pipeline.pool.settings import KnownOverlap, PoolSettings
from tsfm_pipeline.preparation.verdict import Verdict
from tsfm_pipeline.store.case_store import CaseStore

logger = logging.getLogger(__name__)

DUPLICATES_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("other_key", pa.string(), nullable=False),
        pa.field("evidence", pa.string(), nullable=False),
        # Missing between CT and MR, which no comparison of thumbnails joins.
        pa.field("correlation", pa.float64()),
        pa.field("source", pa.string()),
    ]
)

_COLUMNS = ["one", "other", "evidence"]


def find_duplicates(
    catalogue: pd.DataFrame, store: CaseStore, pool: PoolSettings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare all usable cases, of the pool and downstream, with each other.

    Thumbnails are compared within CT and within MR, each in one matrix product; all other evidence
    is found by equal values. 2,779 cases make a matrix of 31 MB.

    Returns:
        Pairs that are one scan or one patient, and pairs to look at, whose thumbnails correlate at
        least `pool.review_correlation` without other evidence. One row per pair, in the order of
        the catalogue: key, other_key, the surest `evidence`, the thumbnails' correlation (low
        where one patient was scanned twice), and the `source` that published an overlap of the
        two datasets. The kinds of evidence: `id` (two sources name one patient), `published`,
        `digest` (the same voxel values), `thumbnail` (correlated at least
        `pool.duplicate_correlation`).
    """
    in_use = catalogue["dataset"].isin([*pool.datasets, *pool.downstream])
    cases = catalogue[(catalogue["verdict"] == Verdict.OK) & in_use].reset_index(drop=True)
    correlation = _correlations(cases, store)
    alike = np.nonzero(correlation >= pool.duplicate_correlation)
    found = pd.concat(
        [
            _as_pairs(_of_one_patient(cases), "id"),
            _as_pairs(_published(cases, pool.known_overlaps), "published"),
            _as_pairs(_equal(cases["voxel_digest"]), "digest"),
            _as_pairs(zip(*alike, strict=True), "thumbnail"),
        ]
    ).drop_duplicates(["one", "other"])
    duplicates = _described(found, cases, correlation, pool)
    similar = np.nonzero(correlation >= pool.review_correlation)
    doubtful = _as_pairs(zip(*similar, strict=True), "thumbnail")
    persons = patient_groups(cases, duplicates).to_numpy()
    strangers = persons[doubtful["one"]] != persons[doubtful["other"]]
    doubtful = _described(doubtful[strangers], cases, correlation, pool)
    doubtful = doubtful.sort_values("correlation", ascending=False, ignore_index=True)
    counts = duplicates["evidence"].value_counts()
    logger.info(
        "%d pairs of cases are one scan or one patient (%s); %d more are to be looked at",
        len(duplicates),
        ", ".join(f"{kind}: {n}" for kind, n in counts.items()) or "none",
        len(doubtful),
    )
    return duplicates, doubtful


def patient_groups(cases: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """Name the person behind each case: patients whom pairs of cases join are one.

    Args:
        cases: with key and patient; any subset of the catalogue.
        pairs: its first two columns are keys of two cases of one person, as `find_duplicates` and
            `leakage.find_leakage` give them.

    Returns:
        Series on the index of `cases`: the first name, in order, of all names of the person.
    """
    number, names = pd.factorize(cases["patient"], sort=True)
    number_of_key = pd.Series(number, cases["key"])
    joined = pairs.iloc[:, :2].apply(lambda keys: keys.map(number_of_key)).dropna().to_numpy(int)
    graph = coo_array((np.ones(len(joined)), tuple(joined.T)), shape=(len(names),) * 2)
    _, person = connected_components(graph, directed=False)
    _, first = np.unique(person, return_index=True)  # names are sorted
    return pd.Series(names[first[person[number]]], cases.index, name="patient")


def overlap_of(datasets: Iterable[str], overlaps: Sequence[KnownOverlap]) -> KnownOverlap | None:
    """Return the first published overlap of the two datasets of a pair; None if there is none."""
    one, other = datasets
    for overlap in overlaps:
        within = one == other and overlap.datasets == (one,)
        if within or (one != other and {one, other} <= set(overlap.datasets)):
            return overlap
    return None


def _correlations(cases: pd.DataFrame, store: CaseStore) -> NDArray[np.float32]:
    """Correlate the thumbnails of one modality; what is on or below the diagonal is missing."""
    correlation = np.full((len(cases),) * 2, np.nan, np.float32)
    bar = tqdm(total=len(cases), desc="Comparing thumbnails", unit="case", disable=None)
    for modality in cases["modality"].unique():
        place = np.flatnonzero(cases["modality"] == modality)
        thumbnails_NZYX = np.empty((len(place), *(THUMBNAIL,) * 3), np.float16)
        for thumbnail, key in zip(thumbnails_NZYX, cases["key"].to_numpy()[place], strict=True):
            thumbnail[...] = store.thumbnail(key)
            bar.update()
        correlation[np.ix_(place, place)] = thumbnail_correlation(thumbnails_NZYX, thumbnails_NZYX)
    bar.close()
    correlation[np.tril_indices(len(cases))] = np.nan
    return correlation


def _of_one_patient(cases: pd.DataFrame) -> Iterator[tuple[int, int]]:
    """Yield pairs of two datasets that name one patient; within one dataset it is no finding."""
    yield from _across(cases, _equal(cases["patient"]))


def _published(cases: pd.DataFrame, overlaps: Sequence[KnownOverlap]) -> Iterator[tuple[int, int]]:
    place = {key: number for number, key in enumerate(cases["key"])}
    for overlap in overlaps:
        for scan in overlap.same_scans:
            yield from combinations(sorted(place[key] for key in scan if key in place), 2)
        if overlap.same_numbers:
            ours = cases["dataset"].isin(overlap.datasets)
            number = cases["case"].map(_last_number).where(ours, "")
            yield from _across(cases, _equal(number))


def _across(cases: pd.DataFrame, pairs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the pairs of two datasets."""
    dataset = list(cases["dataset"])
    return ((one, other) for one, other in pairs if dataset[one] != dataset[other])


def _last_number(case: str) -> str:
    match = re.search(r"\d+$", case)
    return match[0].lstrip("0") or "0" if match else ""


def _equal(values: pd.Series) -> Iterator[tuple[int, int]]:
    """Yield the places, the lower first, of every two equal values; empty ones are equal to none.

    A case that was stored before voxels were digested has an empty digest.
    """
    for places in values.groupby(values.where(values != "")).indices.values():
        yield from combinations(map(int, places), 2)


def _as_pairs(places: Iterable[tuple[int, int]], evidence: str) -> pd.DataFrame:
    rows = [(int(one), int(other), evidence) for one, other in places]
    return pd.DataFrame(rows, columns=_COLUMNS).astype({"one": int, "other": int})


def _described(
    pairs: pd.DataFrame, cases: pd.DataFrame, correlation: NDArray[np.float32], pool: PoolSettings
) -> pd.DataFrame:
    pairs = pairs.sort_values(["one", "other"])
    one, other = pairs["one"].to_numpy(), pairs["other"].to_numpy()
    dataset = cases["dataset"].to_numpy()
    overlaps = [
        overlap_of(names, pool.known_overlaps)
        for names in zip(dataset[one], dataset[other], strict=True)
    ]
    table = pd.DataFrame(
        {
            "key": cases["key"].to_numpy()[one],
            "other_key": cases["key"].to_numpy()[other],
            "evidence": pairs["evidence"].to_numpy(),
            "correlation": correlation[one, other].astype(float).round(4),
            "source": [overlap and overlap.source for overlap in overlaps],
        },
        columns=DUPLICATES_SCHEMA.names,
    )
    return table.astype({"source": object})
