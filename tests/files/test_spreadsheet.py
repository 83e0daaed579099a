"""Tables that a spreadsheet opens without running anything."""

import pandas as pd

from tsfm_pipeline.files.spreadsheet import as_before, csv_text, disarmed


def test_texts_that_would_be_formulas_get_an_apostrophe_and_numbers_none() -> None:
    table = pd.DataFrame(
        {"scan": ["=1", "a-b", None], "text": ["-0.5", "- x", ""], "ml": [-1.5] * 3}
    )
    assert csv_text(table) == "scan,text,ml\n'=1,-0.5,-1.5\na-b,'- x,-1.5\n,,-1.5\n"
    assert table["scan"][0] == "=1"  # what the program goes on with


def test_tables_without_a_text_are_written_as_pandas_does() -> None:
    empty = pd.DataFrame(columns=["scan", "file"])
    flags = pd.DataFrame({"pool": [True, False], "day": pd.to_datetime(["2026-01-02"] * 2)})
    for table in (empty, flags):
        assert csv_text(table) == table.to_csv(index=False)


def test_the_table_is_had_again() -> None:
    texts = ["=1", "'=1", "''-2", "-2", "'-2", "'a", "a", "", None, "'"]
    table = pd.DataFrame({"case": texts, "dice": range(len(texts))})
    pd.testing.assert_frame_equal(as_before(disarmed(table)), table)
