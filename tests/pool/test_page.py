"""The tables and the page say what the pool holds."""

from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from matplotlib.image import imread

from tests.pool.conftest import POOL, PREPARATION, SOURCES, TABLE
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.pool.duplicates import find_duplicates
from tsfm_pipeline.pool.leakage import find_leakage
from tsfm_pipeline.pool.page import PoolTables, pool_page
from tsfm_pipeline.pool.settings import KnownOverlap, SplitSettings
from tsfm_pipeline.pool.splits import split_cases
from tsfm_pipeline.pool.tables import (
    POOL_DATASETS_SCHEMA,
    POOL_TARGETS_SCHEMA,
    SUPERVISION_SCHEMA,
    dataset_table,
    overlap_table,
    supervision_table,
    target_table,
)
from tsfm_pipeline.pool.version import describe_version
from tsfm_pipeline.sources import Datasets
from tsfm_pipeline.sources.btcv import BtcvSource
from tsfm_pipeline.sources.flare22 import Flare22Source
from tsfm_pipeline.sources.kits import KitsSource

VIEW = "tsfm-pipeline view --env demo"
OVERLAPS = ["datasets", "pairs", "source"]


@pytest.fixture
def tables(prepared) -> PoolTables:
    catalogue, store = prepared
    duplicates, doubtful = find_duplicates(
        catalogue, store, POOL.model_copy(update={"review_correlation": 0.1})
    )
    leakage = find_leakage(catalogue, duplicates, POOL)
    catalogue = catalogue.copy()
    bad = catalogue["key"] == "btcv/img0005"
    cause = "VolumeError: <img0005> is truncated"
    catalogue.loc[bad, ["verdict", "cause"]] = ["quarantined", cause]
    catalogue["doubts"] = None
    catalogue.loc[catalogue["key"] == "btcv/img0002", "doubts"] = "liver has <9000 ml"
    splits = split_cases(catalogue, duplicates, POOL, SplitSettings(folds=2))
    version = describe_version(catalogue, leakage, splits, POOL, PREPARATION)
    integrity = pd.DataFrame({"key": ["btcv/img0004"], "verdict": ["repaired"]})
    return PoolTables(
        catalogue=catalogue,
        datasets=dataset_table(catalogue, leakage, splits, SOURCES, POOL, integrity),
        targets=target_table(catalogue, SOURCES, TABLE),
        supervision=supervision_table(catalogue, splits, SOURCES, TABLE),
        leakage=leakage,
        duplicates=duplicates,
        doubtful_pairs=doubtful,
        overlaps=pd.DataFrame([("btcv = flare", 3, "a paper")], columns=OVERLAPS),
        version=version,
        versions=version,
    )


def test_the_dataset_table_counts_every_case_once(tables) -> None:
    pa.Table.from_pandas(tables.datasets, schema=POOL_DATASETS_SCHEMA, preserve_index=False)
    assert list(tables.datasets["dataset"]) == ["btcv", "kits21", "kits19", "flare"]
    row = tables.datasets.iloc[0]
    counts = ["found", "ok", "repaired", "quarantined", "leaking", "left_out", "release", "paper"]
    assert list(row[counts]) == [5, 3, 1, 1, 3, 0, 30, 30]
    assert row["training"] + row["validation"] + row["test"] == 4
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
    # kits labels kidney tumours and flare the spleen, but no case shows one.
    unseen = tables.targets[tables.targets["cases"] == 0]
    assert list(unseen[["dataset", "target"]].itertuples(index=False, name=None)) == [
        ("flare", "spleen"),
        ("kits19", "kidney_tumor"),
        ("kits21", "kidney_tumor"),
    ]
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


def test_parts_supervise_the_channels_of_the_pool_alone() -> None:
    table = LabelTable(
        targets={"kidney": 22, "kidney_left": 3, "kidney_right": 2},
        compositions={"kidney": ("kidney_left", "kidney_right")},
    )
    sided = {1: "kidney_left", 2: "kidney_right"}
    sources = Datasets(
        {
            "kits21": KitsSource(folder="k", label_file="aggregated_MAJ_seg", labels={1: "kidney"}),
            "btcv": BtcvSource(folder="b", labels=sided),
            "flare": Flare22Source(folder="f", labels=sided),
        }
    ).root
    cases = pd.DataFrame({"dataset": ["kits21", "btcv", "btcv", "flare"], "modality": "CT"})
    cases["key"] = [f"{name}/{number}" for number, name in enumerate(cases["dataset"])]
    splits = cases.assign(pool=cases["dataset"] != "flare")
    found = supervision_table(cases, splits, sources, table)
    pa.Table.from_pandas(found, schema=SUPERVISION_SCHEMA, preserve_index=False)
    kidneys = found[found["region"] == "kidney"]
    assert list(kidneys[["dataset", "cases", "by_parts"]].itertuples(index=False, name=None)) == [
        ("kits21", 1, False),
        ("btcv", 2, True),
    ]
    # without a dataset that names it, there is no such channel
    alone = supervision_table(cases[1:], splits[1:], sources, table)
    assert set(alone["region"]) == {"kidney_left", "kidney_right"}


class Reader(HTMLParser):
    """Check that elements are closed in order; collect texts and addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in ("meta", "use", "path", "br", "img", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        if tag not in ("meta", "use", "path", "br", "img", "wbr"):
            assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.texts.append(data.strip())


def test_the_page_stands_alone_and_shows_the_tables(tables, prepared) -> None:
    page = pool_page(tables, prepared[1].thumbnail, "demo", VIEW, "Not patients.")
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert all(address.startswith(("#", "data:image/png;")) for address in reader.addresses)
    assert len(page) < 1_000_000
    texts = set(reader.texts)
    assert {"Not patients.", "btcv/img0001", "flare/FLARE22_Tr_0001", "digest", "some"} <= texts
    assert "VolumeError: <img0005> is truncated" in texts
    assert tables.version["version"].iat[0] in texts
    assert {"liver has <9000 ml", "btcv = flare", "a paper"} <= texts
    assert {"spleen", "kidney_tumor"} <= {word for t in texts for word in t[2:].split(", ")}
    assert not {"nan", "None"} & texts


def test_cases_stand_with_the_command_that_shows_them(tables, prepared) -> None:
    doubtful = tables.catalogue["doubts"].notna() & (tables.catalogue["verdict"] == "ok")
    pair = tables.doubtful_pairs.iloc[:1].assign(key="btcv/img0004", other_key="kits21/case_00002")
    reader = Reader()
    named = PoolTables(**{**vars(tables), "doubtful_pairs": pair})
    reader.feed(pool_page(named, prepared[1].thumbnail, "demo", VIEW))
    keys = [*tables.catalogue["key"][doubtful], "btcv/img0004", "kits21/case_00002"]
    assert len(keys) > 2
    assert {f"{VIEW} {key}" for key in (*keys, "DATASET/CASE")} <= set(reader.texts)


def test_a_pool_without_a_pair_has_a_page(tables, prepared) -> None:
    none = {"duplicates": tables.duplicates.iloc[:0], "leakage": tables.leakage.iloc[:0]}
    known = KnownOverlap(datasets=("kits19", "kits21"), source="a paper")
    pool = POOL.model_copy(update={"known_overlaps": (known,)})
    overlaps = overlap_table(none["duplicates"], pool)
    assert overlaps.to_numpy().tolist() == [["kits19 = kits21", 0, "a paper"]]
    tables = PoolTables(**{**vars(tables), **none, "overlaps": overlaps})
    assert "btcv/img0001" in pool_page(tables, prepared[1].thumbnail, "demo", VIEW)


def test_pairs_to_look_at_have_two_pictures_each(tables, prepared) -> None:
    pictures = {key: prepared[1].thumbnail(key) for key in prepared[0]["key"]}
    pair = tables.doubtful_pairs.iloc[:1].assign(key="btcv/img0004", other_key="kits21/case_00002")
    tables = PoolTables(**{**vars(tables), "doubtful_pairs": pair})
    page = pool_page(tables, pictures.get, "demo", VIEW)
    reader = Reader()
    reader.feed(page)
    shown = [address for address in reader.addresses if address.startswith("data:")]
    assert len(shown) == 2
    for address, key in zip(shown, pair[["key", "other_key"]].iloc[0], strict=True):
        png = imread(BytesIO(b64decode(address.partition(",")[2])))[..., 0]
        assert png.shape == (24, 72)
        axial = pictures[key][12].astype(float)
        inside = abs(axial) < 1.7
        assert np.corrcoef(png[:, :24][inside], axial[inside])[0, 1] > 0.999
        coronal = pictures[key][::-1, 12].astype(float)
        inside = abs(coronal) < 1.7
        assert np.corrcoef(png[:, 24:48][inside], coronal[inside])[0, 1] > 0.999


def test_the_page_of_a_catalogue_that_has_the_sentence_as_verdict_shows_it(
    tables, prepared
) -> None:
    old = tables.catalogue.assign(cause=None)
    old.loc[old["verdict"] != "ok", "verdict"] = "it is truncated"
    tables = PoolTables(**{**vars(tables), "catalogue": old})
    assert "it is truncated" in pool_page(tables, prepared[1].thumbnail, "demo", VIEW)


def test_a_page_of_a_real_pool_stays_small(tables, prepared) -> None:
    many = pd.concat([tables.leakage] * 300, ignore_index=True)
    pairs = pd.DataFrame(
        [("btcv/img0004", "kits21/case_00002", "thumbnail", 0.6, None)] * 900,
        columns=tables.doubtful_pairs.columns,
    )
    tables = PoolTables(**{**vars(tables), "leakage": many, "doubtful_pairs": pairs})
    page = pool_page(tables, prepared[1].thumbnail, "demo", VIEW)
    assert f"200 of {len(many)} rows" in page
    assert "40 of 900 pairs" in page
    assert len(page) < 1_000_000
