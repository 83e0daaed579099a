"""A table that is not as declared is neither saved nor loaded."""

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kedro.io import DatasetError

from tsfm_pipeline.catalog import CheckedTableDataset
from tsfm_pipeline.preparation.pool import POOL_CATALOGUE_SCHEMA
from tsfm_pipeline.preparation.verdict import Verdict

SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
        pa.field("dice", pa.float64()),
        pa.field("shape", pa.list_(pa.int64())),
    ]
)
OTHER = pa.schema([pa.field("key", pa.int64()), *list(SCHEMA)[1:]])
WITHOUT_DICE = pa.schema([field for field in SCHEMA if field.name != "dice"])
STRICT = pa.schema([*list(SCHEMA)[:2], pa.field("dice", pa.float64(), nullable=False), SCHEMA[3]])
HERE = "tests.catalog.test_checked_table"


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "shape": [[1, 2, 3], None],
            "key": ["a", "b"],
            "count": [1, 2],
            "dice": [0.5, np.nan],
        }
    )


def dataset(folder: Path, schema: str = "SCHEMA", **options) -> CheckedTableDataset:
    return CheckedTableDataset(
        filepath=str(folder / "data" / "table.parquet"), schema=f"{HERE}.{schema}", **options
    )


def test_a_table_comes_back_in_the_declared_order_and_types(tmp_path) -> None:
    table = dataset(tmp_path, csv_copy=True)
    table.save(frame())
    loaded = table.load()
    assert list(loaded.columns) == SCHEMA.names
    assert list(loaded["shape"][0]) == [1, 2, 3]
    assert loaded["shape"][1] is None
    assert np.isnan(loaded["dice"][1])
    table.save(loaded)
    text = (tmp_path / "data/table.csv").read_text()
    assert text == "key,count,dice,shape\na,1,0.5,1 x 2 x 3\nb,2,,\n"
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"table.parquet", "table.csv"}


def test_a_cell_of_the_csv_copy_is_no_formula(tmp_path) -> None:
    names = ["=1+2", "+a", "-cmd|x", "@SUM(A1)", "\t=1", "a=b", "-1.5"]
    table = dataset(tmp_path, csv_copy=True)
    table.save(pd.DataFrame({"key": names, "count": -1, "dice": -0.5, "shape": None}))
    assert list(table.load()["key"]) == names
    cells = pd.read_csv(tmp_path / "data/table.csv", dtype=str)
    assert list(cells["key"]) == ["'=1+2", "'+a", "'-cmd|x", "'@SUM(A1)", "'\t=1", "a=b", "-1.5"]
    assert set(cells["count"]) | set(cells["dice"]) == {"-1", "-0.5"}


def test_a_table_without_rows_keeps_its_columns(tmp_path) -> None:
    table = dataset(tmp_path)
    table.save(pd.DataFrame(columns=SCHEMA.names))
    assert list(table.load().columns) == SCHEMA.names
    assert table.preview()["data"] == []


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda t: t.drop(columns="dice"), ["missing: ['dice']"]),
        (lambda t: t.assign(extra=1), ["undeclared: ['extra']"]),
        (lambda t: t.assign(count=[1.5, 2.0]), ["'count' is float64", "int64, never empty"]),
        (lambda t: t.assign(count=["1", "x"]), ["'count' is", "int64, never empty"]),
        (lambda t: t.assign(key=[1, 2]), ["'key' is int64", "string, never empty"]),
        (lambda t: t.assign(key=["a", None]), ["'key' is empty in 1 row(s), first in row 1"]),
        (lambda t: t.assign(shape="1 x 2"), ["'shape' is", "list<"]),
    ],
)
def test_a_wrong_table_is_refused_and_the_old_one_stays(tmp_path, change, parts) -> None:
    table = dataset(tmp_path)
    table.save(frame())
    with pytest.raises(DatasetError) as caught:
        table.save(change(frame()))
    message = str(caught.value)
    for part in [*parts, "table.parquet", f"{HERE}.SCHEMA", "correct the node"]:
        assert part in message
    assert len(table.load()) == 2


def test_a_file_of_another_version_is_refused(tmp_path) -> None:
    dataset(tmp_path).save(frame())
    with pytest.raises(DatasetError, match=r"'key' is string.*expects int64.*run the node"):
        dataset(tmp_path, "OTHER").load()
    with pytest.raises(DatasetError, match=r"'dice' is empty in 1 row\(s\), first in row 1"):
        dataset(tmp_path, "STRICT").load()
    pd.DataFrame({"key": ["a"]}).to_parquet(tmp_path / "data/table.parquet")
    with pytest.raises(DatasetError, match=r"missing: \['count', 'dice', 'shape'\]"):
        dataset(tmp_path).load()
    (tmp_path / "data/table.parquet").write_bytes(b"junk")
    with pytest.raises(DatasetError, match="can't be read as Parquet"):
        dataset(tmp_path).load()


def test_a_file_from_before_a_nullable_column_loads_with_nothing_in_it(tmp_path) -> None:
    old = dataset(tmp_path, "WITHOUT_DICE", append_new=["key"])
    old.save(frame().drop(columns="dice"))
    table = dataset(tmp_path, append_new=["key"])
    loaded = table.load()
    assert list(loaded.columns) == SCHEMA.names
    assert loaded["dice"].isna().all()
    assert list(loaded["count"]) == [1, 2]
    assert table.preview()["columns"] == SCHEMA.names
    table.save(frame().assign(key=["b", "c"]))
    assert list(table.load()["dice"].isna()) == [True, True, True]


def test_a_file_that_lacks_a_column_that_may_not_be_empty_is_refused(tmp_path) -> None:
    dataset(tmp_path, "WITHOUT_DICE").save(frame().drop(columns="dice"))
    with pytest.raises(DatasetError, match=r"missing: \['dice'\]"):
        dataset(tmp_path, "STRICT").load()


def test_a_pool_catalogue_of_before_causes_had_a_column_loads(tmp_path) -> None:
    """Its `verdict` is the sentence where a case can't be used."""
    row = {"key": "a/1", "dataset": "a", "case": "1", "patient": "a/1", "modality": "CT"}
    rows = [row | {"verdict": "ok"}, row | {"key": "a/2", "verdict": "x.nii: truncated"}]
    before = pa.schema([field for field in POOL_CATALOGUE_SCHEMA if field.name != "cause"])
    file = tmp_path / "table.parquet"
    pq.write_table(pa.Table.from_pylist(rows, before), file)
    name = "tsfm_pipeline.preparation.pool.POOL_CATALOGUE_SCHEMA"
    loaded = CheckedTableDataset(filepath=str(file), schema=name).load()
    assert list(loaded["verdict"] == Verdict.OK) == [True, False]
    assert loaded["cause"].isna().all()


def test_a_schema_that_is_not_there_is_told(tmp_path) -> None:
    with pytest.raises(DatasetError, match=r"no schema '.*ABSENT'.*catalogue entry"):
        dataset(tmp_path, "ABSENT").save(frame())


def test_the_preview_is_json(tmp_path) -> None:
    table = dataset(tmp_path)
    table.save(frame())
    assert json.loads(json.dumps(table.preview(nrows=1))) == {
        "columns": SCHEMA.names,
        "index": [0],
        "data": [["a", 1, 0.5, [1, 2, 3]]],
    }


def test_new_rows_are_added_and_known_ones_stay(tmp_path) -> None:
    table = dataset(tmp_path, append_new=["key"])
    table.save(frame())
    table.save(frame().assign(key=["b", "c"], count=[9, 9]))
    assert list(table.load()["key"]) == ["a", "b", "c"]
    assert list(table.load()["count"]) == [1, 2, 9]


def _add(folder: Path, number: int) -> None:
    for row in range(5):
        key = [f"{number}-{row}", "b"]
        dataset(folder, append_new=["key"]).save(frame().assign(key=key))


def test_two_runs_that_add_lose_nothing(tmp_path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_add, args=(tmp_path, number)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert len(dataset(tmp_path).load()) == 16


def test_a_flipped_bit_of_a_value_is_never_read(tmp_path) -> None:
    """The footer has no checksum; few of its bits can change values, by where pages lie."""
    table = dataset(tmp_path)
    table.save(frame())
    path, good = tmp_path / "data/table.parquet", table.load()
    content = path.read_bytes()
    pages = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    refused = 0
    for position in range(pages):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            pd.testing.assert_frame_equal(table.load(), good)
        except DatasetError:
            refused += 1
    assert refused > pages // 2


def test_a_damaged_history_says_that_it_can_be_begun_anew(tmp_path) -> None:
    table = dataset(tmp_path, append_new=["key"])
    table.save(frame())
    path = tmp_path / "data/table.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DatasetError, match=r"table\.parquet can't be read.*or remove it"):
        table.save(frame())
