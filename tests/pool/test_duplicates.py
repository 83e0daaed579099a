"""Every two cases are compared, whatever part of the pool they are in."""

from collections.abc import Mapping
from importlib import import_module

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from tests.pool.conftest import POOL
from tsfm_pipeline.catalog import CheckedTableDataset
from tsfm_pipeline.imaging.voxel_fingerprint import THUMBNAIL
from tsfm_pipeline.pool.duplicates import DUPLICATES_SCHEMA, find_duplicates, patient_groups
from tsfm_pipeline.pool.leakage import find_leakage, leakage_free, leaking_cases
from tsfm_pipeline.pool.settings import KnownOverlap, PoolSettings, SplitSettings
from tsfm_pipeline.pool.splits import split_cases
from tsfm_pipeline.pool.tables import overlap_table

RNG = np.random.default_rng(0)


def noise() -> NDArray[np.float64]:
    return RNG.normal(size=(THUMBNAIL,) * 3)


def like(thumbnail: NDArray[np.float64], correlation: float) -> NDArray[np.float64]:
    """Return white noise of that correlation with another, up to a hundredth."""
    return correlation * thumbnail + np.sqrt(1 - correlation**2) * noise()


class Thumbnails:
    """A store that has thumbnails alone."""

    def __init__(self, pictures: Mapping[str, NDArray[np.float64]]) -> None:
        self.pictures = pictures

    def thumbnail(self, key: str) -> NDArray[np.float16]:
        return self.pictures[key].astype(np.float16)


def catalogue_of(*keys: str, **columns: list[str]) -> pd.DataFrame:
    table = pd.DataFrame({"key": keys})
    table[["dataset", "case"]] = table["key"].str.split("/", expand=True)
    table["patient"] = table["key"]
    table["voxel_digest"] = table["key"]
    table["modality"], table["verdict"] = "CT", "ok"
    table["raw_digest"] = table["preparation_digest"] = "d"
    return table.assign(**columns)


def pairs_of(table: pd.DataFrame) -> dict[tuple[str, str], str]:
    return {(row.key, row.other_key): row.evidence for row in table.itertuples()}


@pytest.fixture
def planted() -> tuple[pd.DataFrame, Thumbnails]:
    """Copies within btcv and within flare, and a chain btcv/3 - kits21/1 - flare/3."""
    a, b, c = noise(), noise(), noise()
    pictures = {
        "btcv/1": a,
        "btcv/2": like(a, 0.9),
        "btcv/3": c,
        "flare/1": b,
        "flare/2": like(b, 0.9),
        "kits21/1": like(c, 0.8),
        "flare/4": like(a, 0.6),
    }
    pictures["flare/3"] = like(pictures["kits21/1"], 0.8)  # 0.64 with btcv/3
    return catalogue_of(*sorted(pictures)), Thumbnails(pictures)


def test_copies_are_found_within_the_pool_and_within_downstream_sets(planted) -> None:
    duplicates, doubtful = find_duplicates(*planted, POOL)
    assert pairs_of(duplicates) == {
        ("btcv/1", "btcv/2"): "thumbnail",
        ("btcv/3", "kits21/1"): "thumbnail",
        ("flare/1", "flare/2"): "thumbnail",
        ("flare/3", "kits21/1"): "thumbnail",
    }
    # btcv/3 and flare/3 are one person already; the copy of btcv/1 is nearly as alike as btcv/1.
    assert next(iter(pairs_of(doubtful))) == ("btcv/1", "flare/4")
    assert set(pairs_of(doubtful)) <= {("btcv/1", "flare/4"), ("btcv/2", "flare/4")}
    assert doubtful["correlation"].iat[0] == pytest.approx(0.6, abs=0.05)
    for table in (duplicates, doubtful):
        pa.Table.from_pandas(table, schema=DUPLICATES_SCHEMA, preserve_index=False)


def test_a_case_that_leaks_through_a_third_one_leaks(planted) -> None:
    catalogue, store = planted
    duplicates, _ = find_duplicates(catalogue, store, POOL)
    leakage = find_leakage(catalogue, duplicates, POOL)
    found = {(row.pool_key, row.downstream_key): row.evidence for row in leakage.itertuples()}
    assert found == {("kits21/1", "flare/3"): "thumbnail", ("btcv/3", "flare/3"): "person"}
    for pairs in (duplicates, leakage):
        leaking = set(catalogue["key"][leaking_cases(catalogue, pairs, POOL)])
        assert leaking == {"btcv/3", "kits21/1"}


def test_copies_share_a_fold_and_the_split_says_who_leaks(planted) -> None:
    catalogue, store = planted
    kits = (*(f"kits19/{n}" for n in range(4)), *(f"kits21/{n}" for n in range(2, 6)))
    more = catalogue_of(*kits, "btcv/6")
    duplicates, _ = find_duplicates(catalogue, store, POOL)
    catalogue = pd.concat([catalogue, more], ignore_index=True)
    for seed in range(5):
        splits = split_cases(catalogue, duplicates, POOL, SplitSettings(folds=2, seed=seed))
        fold = splits.set_index("key")["fold"]
        assert fold["btcv/1"] == fold["btcv/2"]
        assert fold["flare/1"] == fold["flare/2"]
        assert fold["btcv/3"] == fold["kits21/1"] == fold["flare/3"]
    leaking = {"btcv/3", "kits21/1"}
    assert set(splits.loc[splits["leaking"], "key"]) == leaking
    free = leakage_free(splits)
    assert set(splits["key"]) - set(free["key"]) == leaking
    left_out = POOL.model_copy(update={"exclude_downstream": True})
    alone = split_cases(catalogue, duplicates, left_out, SplitSettings(folds=2))
    assert set(alone["key"]) == set(free["key"])
    with pytest.raises(ValueError, match="run the pipeline data_pool"):
        leakage_free(splits.assign(leaking=None))


def test_digests_and_names_join_what_thumbnails_do_not() -> None:
    keys = ("btcv/1", "btcv/2", "btcv/3", "flare/1", "flare/2", "kits21/7", "kits19/7")
    pictures = Thumbnails({key: noise() for key in keys})
    catalogue = catalogue_of(
        *keys,
        voxel_digest=["a", "b", "a", "", "", "f", "g"],  # not digested: equal to nothing
        patient=["p", "q", "r", "s", "s", "k", "k"],  # one patient twice in a set is no finding
    )
    duplicates, doubtful = find_duplicates(catalogue, pictures, POOL)
    assert pairs_of(duplicates) == {("btcv/1", "btcv/3"): "digest", ("kits21/7", "kits19/7"): "id"}
    assert duplicates["correlation"].abs().max() < 0.1
    assert doubtful.empty


def test_ct_and_mr_are_not_compared_by_thumbnail_and_bad_cases_not_at_all() -> None:
    picture = noise()
    keys = ("btcv/1", "btcv/2", "flare/1", "flare/2")
    catalogue = catalogue_of(
        *keys,
        modality=["CT", "MR", "CT", "MR"],
        verdict=["ok", "ok", "quarantined", "ok"],
        patient=["p", "q", "r", "p"],
    )
    duplicates, _ = find_duplicates(catalogue, Thumbnails(dict.fromkeys(keys, picture)), POOL)
    assert pairs_of(duplicates) == {("btcv/1", "flare/2"): "id", ("btcv/2", "flare/2"): "thumbnail"}
    assert list(duplicates["correlation"].isna()) == [True, False]


def test_published_overlaps_join_cases_and_are_named_beside_others() -> None:
    keys = ("btcv/img0007", "btcv/img0008", "flare/T_7", "flare/T_70", "kits21/x_8", "kits21/y")
    pictures = {key: noise() for key in keys}
    pictures["kits21/y"] = like(pictures["btcv/img0008"], 0.6)
    pool = POOL.model_copy(
        update={
            "known_overlaps": (
                KnownOverlap(datasets=("btcv", "flare"), source="a paper", same_numbers=True),
                KnownOverlap(
                    datasets=("flare", "kits21", "elsewhere"),
                    source="an issue",
                    same_scans=(("flare/T_70", "kits21/x_8", "elsewhere/1"),),
                ),
                KnownOverlap(datasets=("kits21", "btcv"), source="a list"),
            )
        }
    )
    duplicates, doubtful = find_duplicates(catalogue_of(*keys), Thumbnails(pictures), pool)
    assert pairs_of(duplicates) == {
        ("btcv/img0007", "flare/T_7"): "published",
        ("flare/T_70", "kits21/x_8"): "published",
    }
    assert list(duplicates["source"]) == ["a paper", "an issue"]
    assert pairs_of(doubtful) == {("btcv/img0008", "kits21/y"): "thumbnail"}
    assert list(doubtful["source"]) == ["a list"]
    shown = overlap_table(duplicates, pool)
    assert list(shown.itertuples(index=False, name=None)) == [
        ("btcv = flare", 1, "a paper"),
        ("flare = kits21", 1, "an issue"),
        ("kits21 = btcv", 0, "a list"),
    ]


def test_names_that_pairs_join_are_one_person(make_catalogue) -> None:
    cases = make_catalogue({"btcv": ["p", "p", "q", "r"], "flare": ["x", "y"]})
    pairs = pd.DataFrame(
        [("btcv/0", "flare/0"), ("btcv/2", "flare/0"), ("btcv/3", "gone/0")],
        columns=["key", "other_key"],
    )
    assert list(patient_groups(cases, pairs)) == ["p", "p", "p", "r", "p", "y"]


def test_settings_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"review_correlation is 0\.8, above"):
        PoolSettings(datasets=("a",), review_correlation=0.8, duplicate_correlation=0.7)
    with pytest.raises(ValidationError, match=r"\['c/1'\] of none of the datasets"):
        KnownOverlap(datasets=("a", "b"), source="s", same_scans=(("a/1", "c/1"),))


@pytest.mark.parametrize(
    ("schema", "later"),
    [
        ("pool.leakage.LEAKAGE_SCHEMA", "source"),
        ("pool.splits.SPLITS_SCHEMA", "leaking"),
        ("preparation.pool.POOL_CATALOGUE_SCHEMA", "doubts"),
    ],
)
def test_tables_of_before_load_with_nothing_in_the_later_column(tmp_path, schema, later) -> None:
    module, _, name = f"tsfm_pipeline.{schema}".rpartition(".")
    declared = getattr(import_module(module), name)
    before = pa.schema([field for field in declared if field.name != later])
    values = {pa.string(): "a", pa.bool_(): True, pa.int64(): 1, pa.float64(): 0.5}
    row = {field.name: values[field.type] for field in before if not field.nullable}
    pq.write_table(pa.Table.from_pylist([row], before), tmp_path / "table.parquet")
    dataset = CheckedTableDataset(
        filepath=str(tmp_path / "table.parquet"), schema=f"{module}.{name}"
    )
    assert dataset.load()[later].isna().all()
