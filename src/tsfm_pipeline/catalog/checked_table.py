"""A table whose columns and types are declared in code, and checked on every save and load."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import TablePreview

from tsfm_pipeline.files import write_atomically, write_text
from tsfm_pipeline.files.spreadsheet import csv_text


class CheckedTableDataset(AbstractDataset[pd.DataFrame, pd.DataFrame]):
    """Parquet file of declared columns, written at once or not at all, with checksums.

    A table that has not the declared columns, types or values where they must be is neither
    saved nor loaded; the error names entry, column, what was found and expected, and the remedy.

    A column that is declared later must be nullable: files that were written before lack it, and
    load with nothing in it.
    """

    def __init__(
        self,
        *,
        filepath: str,
        schema: str,
        csv_copy: bool = False,
        append_new: list[str] | None = None,
        optional: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Name the file and its schema.

        Args:
            filepath: the Parquet file.
            schema: dotted name of a pyarrow schema, declared beside the code that makes the table.
            csv_copy: also write a CSV file of the same name, for people; it is never read.
            append_new: columns that name a row. Saving adds the rows that the file lacks and
                changes none that it has; without, it replaces the file.
            optional: an absent file loads as a table without rows; without, it is an error.
            metadata: for Kedro-Viz.
        """
        self._path = Path(filepath)
        self._schema_name = schema
        self._csv_copy = csv_copy
        self._append_new = append_new
        self._optional = optional
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        """Return the table; raise DatasetError when it is not as declared."""
        table: pd.DataFrame = self._read().to_pandas()
        return table

    def save(self, data: pd.DataFrame) -> None:
        """Write the table; raise DatasetError, and write nothing, when it is not as declared."""
        table = self._to_arrow(data)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._append_new is None:
            self._write(table)
            return
        with self._locked():
            if self._path.is_file():
                table = pa.concat_tables([self._read(), table])
            kept = table.to_pandas().drop_duplicates(self._append_new, keep="first")
            self._write(self._to_arrow(kept))

    def preview(self, nrows: int = 20) -> TablePreview:
        """Return the first rows, for Kedro-Viz."""
        head = self._read().slice(0, nrows).to_pandas()
        return TablePreview(json.loads(head.to_json(orient="split", date_format="iso")))

    def _exists(self) -> bool:
        return self._path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path), "schema": self._schema_name}

    def _schema(self) -> pa.Schema:
        module, _, name = self._schema_name.rpartition(".")
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise DatasetError(
                f"{self._path.name}: there is no schema {self._schema_name!r} ({error});"
                " correct `schema` in the catalogue entry"
            ) from error

    def _read(self) -> pa.Table:
        schema = self._schema()
        if self._optional and not self._path.is_file():
            return schema.empty_table()
        try:
            table = pq.read_table(self._path, page_checksum_verification=True)
        except (OSError, pa.ArrowException) as error:
            remedy = "run the node that makes it"
            if self._append_new is not None:
                remedy = "put a copy of it back, or remove it: then the next run begins a new one"
            raise DatasetError(
                f"{self._path} can't be read as Parquet ({error}); {remedy}"
            ) from error
        table = _with_later_columns(table, schema)
        self._check_columns(table.column_names, "run the node that makes it again")
        for field in schema:
            found = table.schema.field(field.name).type
            if not _reads_as(found, field.type):
                raise self._error(
                    field, str(found), "the file is of another version; run the node that makes it"
                )
            self._check_nulls(field, table[field.name], "run the node that makes it again")
        return table.select(schema.names).cast(schema)

    def _to_arrow(self, data: pd.DataFrame) -> pa.Table:
        schema = self._schema()
        remedy = f"correct the node, or declare the column in {self._schema_name}"
        self._check_columns(list(data.columns), remedy)
        columns = []
        for field in schema:
            try:
                column = pa.array(data[field.name], type=field.type, from_pandas=True)
            except pa.ArrowException as error:
                raise self._error(field, f"{data[field.name].dtype} ({error})", remedy) from error
            self._check_nulls(field, column, remedy)
            columns.append(column)
        return pa.Table.from_arrays(columns, schema=schema)

    def _check_columns(self, found: list[str], remedy: str) -> None:
        expected = self._schema().names
        missing = [name for name in expected if name not in found]
        unknown = [name for name in found if name not in expected]
        if missing or unknown:
            raise DatasetError(
                f"{self._path}: column(s) missing: {missing}, undeclared: {unknown};"
                f" {self._schema_name} expects {expected}; {remedy}"
            )

    def _check_nulls(self, field: pa.Field, column: pa.Array, remedy: str) -> None:
        if not field.nullable and column.null_count:
            row = column.is_null().to_pylist().index(True)
            found = f"empty in {column.null_count} row(s), first in row {row}"
            raise self._error(field, found, remedy)

    def _error(self, field: pa.Field, found: str, remedy: str) -> DatasetError:
        expected = f"{field.type}{'' if field.nullable else ', never empty'}"
        return DatasetError(
            f"{self._path}: column {field.name!r} is {found}; {self._schema_name} expects"
            f" {expected}; {remedy}"
        )

    def _write(self, table: pa.Table) -> None:
        write_atomically(
            self._path,
            lambda temporary: pq.write_table(table, temporary, write_page_checksum=True),
        )
        if self._csv_copy:
            frame = table.to_pandas()
            for field in table.schema:
                if pa.types.is_list(field.type):
                    frame[field.name] = [_as_text(values) for values in frame[field.name]]
            write_text(self._path.with_suffix(".csv"), csv_text(frame))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one run at a time read, add to and replace the file."""
        lock = os.open(self._path.with_name(f".{self._path.name}.lock"), os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _with_later_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Add what a file lacks, empty; nothing where a column among it may not be empty."""
    later = [field for field in schema if field.name not in table.column_names]
    if all(field.nullable for field in later):
        for field in later:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table


def _reads_as(found: pa.DataType, declared: pa.DataType) -> bool:
    """Say whether a stored column holds the declared one: pandas writes some types otherwise.

    Its texts are long ones, a column without a value has no type, and one of counts that are
    empty in other files has whole numbers where none is.
    """
    return bool(
        found == declared
        or pa.types.is_null(found)
        or (pa.types.is_large_string(found) and pa.types.is_string(declared))
        or (pa.types.is_integer(found) and pa.types.is_floating(declared))
    )


def _as_text(values: Any) -> str:
    return "" if values is None else " x ".join(f"{value}" for value in values)
