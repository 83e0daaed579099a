"""The tables and the page say what the pool holds."""

from html.parser import HTMLParser

import pandas as pd
import pyarrow as pa
import pytest

from tests.pool.conftest import POOL, PREPARATION, SOURCES, TABLE
from tsfm_pipeline.pool.leakage import find_leakage
from tsfm_pipeline.pool.page import PoolTables, pool_page
from tsfm_pipeline.pool.settings import SplitSettings
from tsfm_pipeline.pool.splits import split_cases
from tsfm_pipeline.pool.tables import (
    POOL_DATASETS_SCHEMA,
    POOL_TARGETS_SCHEMA,
    SUPERVISION_SCHEMA,
    dataset_table,
    supervision_table,
    target_table,
)
from tsfm_pipeline.pool.version import describe_version


@pytest.fixture
def tables(prepared) -> PoolTables:
    catalogue, store = prepared
    leakage = find_leakage(catalogue, store, POOL)
    catalogue = catalogue.copy()
    bad = catalogue["key"] == "btcv/img0005"
    cause = "VolumeError: <img0005> is truncated"
    catalogue.loc[bad, ["verdict", "cause"]] = ["quarantined", cause]
    splits = split_cases(catalogue, leakage, POOL, SplitSettings(folds=2))
    version = describe_version(catalogue, leakage, splits, POOL, PREPARATION)
    integrity = pd.DataFrame({"key": ["btcv/img0004"], "verdict": ["repaired"]})
    return PoolTables(
        catalogue=catalogue,
        datasets=dataset_table(catalogue, leakage, splits, SOURCES, POOL, integrity),
        targets=target_table(catalogue),
        supervision=supervision_table(catalogue, splits, SOURCES, TABLE),
        leakage=leakage,
        version=version,
        versions=version,
    )


def test_the_dataset_table_counts_every_case_once(tables) -> None:
    pa.Table.from_pandas(tables.datasets, schema=POOL_DATASETS_SCHEMA, preserve_index=False)
    assert list(tables.datasets["dataset"]) == ["btcv", "kits21", "kits19", "flare"]
    row = tables.datasets.iloc[0]
    counts = ["found", "ok", "repaired", "quarantined", "leaking", "left_out", "release", "paper"]
    assert list(row[counts]) == [5, 3, 1, 1, 3, 0, 30, 30]
    assert row["training"] + row["validation"] == 4
    assert (row["spacing_z_min"], row["spacing_z_max"], row["size_y_median"]) == (2.0, 2.0, 60.0)
    flare = tables.datasets.iloc[3]
    assert (flare["spacing_z_min"], flare["size_z_max"]) == (1.3333, 60.0)
    assert pd.isna(flare["paper"])


def test_the_target_table_counts_voxels_of_the_pool(tables, prepared) -> None:
    pa.Table.from_pandas(tables.targets, schema=POOL_TARGETS_SCHEMA, preserve_index=False)
    store = prepared[1]
    keys = [f"btcv/img000{number}" for number in (1, 2, 3, 4)]
    voxels = [store.record(key).target_voxels[5] for key in keys]
    row = tables.targets.set_index(["dataset", "target"]).loc[("btcv", "liver")]
    assert (row["cases"], row["voxels"]) == (4, sum(voxels))
    # The label is a box of a sixth of each axis: 7 x 10 x 11 voxels of 8 mm^3, nearly.
    assert row["median_ml"] == pytest.approx(7 * 10 * 11 * 8 / 1000, rel=0.25)


def test_the_supervision_table_has_who_annotates_what(tables) -> None:
    pa.Table.from_pandas(tables.supervision, schema=SUPERVISION_SCHEMA, preserve_index=False)
    found = set(tables.supervision[["region", "dataset", "cases"]].itertuples(index=False))
    assert {tuple(row) for row in found} == {
        ("liver", "btcv", 4),
        ("kidney", "kits21", 4),
        ("kidney_tumor", "kits21", 4),
        ("kidney", "kits19", 3),
        ("kidney_tumor", "kits19", 3),
        ("liver", "flare", 4),
        ("spleen", "flare", 4),
    }


class Reader(HTMLParser):
    """Check that elements are closed in order; collect texts and addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in ("meta", "use", "path", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        if tag not in ("meta", "use", "path", "br"):
            assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.texts.append(data.strip())


def test_the_page_stands_alone_and_shows_the_tables(tables) -> None:
    page = pool_page(tables, "demo", "Not patients.")
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert all(address.startswith("#") for address in reader.addresses)
    assert len(page) < 1_000_000
    texts = set(reader.texts)
    assert {"Not patients.", "btcv/img0001", "flare/FLARE22_Tr_0001", "digest", "some"} <= texts
    assert "VolumeError: <img0005> is truncated" in texts
    assert tables.version["version"].iat[0] in texts


def test_the_page_of_a_catalogue_that_has_the_sentence_as_verdict_shows_it(tables) -> None:
    old = tables.catalogue.assign(cause=None)
    old.loc[old["verdict"] != "ok", "verdict"] = "it is truncated"
    assert "it is truncated" in pool_page(PoolTables(**{**vars(tables), "catalogue": old}), "demo")


def test_a_page_of_a_real_pool_stays_small(tables) -> None:
    many = pd.concat([tables.leakage] * 300, ignore_index=True)
    page = pool_page(PoolTables(**{**vars(tables), "leakage": many}), "demo")
    assert f"200 of {len(many)} rows" in page
    assert len(page) < 1_000_000
