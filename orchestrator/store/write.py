"""Rows into Parquet files: parts of the tables that trials write, and tables of the analysis."""

from __future__ import annotations

import datetime
import io
import math
import numbers
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orchestrator.store.files import atomic_write
from orchestrator.store.schema import TABLES, schema_of

Rows = Sequence[Mapping[str, object]]

COMPACTED = "compacted-"
"""How the name of a file begins that holds the rows of many parts."""

PAGES = b"eos.pages"
"""The key of a small file's metadata: length and CRC-32 of all that comes before its footer."""

_PART_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

_WANTED = {
    "string": "a string",
    "int64": "a whole number",
    "double": "a number",
    "bool": "True or False",
    "timestamp[us, tz=UTC]": "a datetime with a time zone",
}


class RowError(ValueError):
    """A row that its table cannot hold; names the column, the value and what would be right."""


def write_part(run: Path, table: str, name: str, rows: Rows | pa.Table) -> Path:
    """Write rows as ``<run>/<table>/<name>.parquet``, whole, and return that path.

    A missing column is NULL, and so is a float that is not finite. A part of the same name is
    replaced.

    Raises:
        ValueError: there is no such table, or the name could not be that of a part.
        RowError: a row has a column that the table lacks, or a value of another type.
        StoreError: the file system refused.
    """
    schema = schema_of(table, TABLES)
    if not _PART_NAME.fullmatch(name) or name.startswith(COMPACTED):
        raise ValueError(
            f"the name of a part is {name!r}; it must be letters, digits, '.', '_' and '-', begin "
            f"with a letter or a digit, and not with {COMPACTED!r}"
        )
    content = to_table(rows, schema)
    for key in ("trial_id", "attempt"):
        if content.column(key).null_count:
            raise RowError(f"{key} is NULL in a row of {table}; every row must have one")
    path = run / table / f"{name}.parquet"
    atomic_write(path, lambda temporary: _write_small(content, temporary))
    return path


def write_table(
    path: Path, rows: Rows | pa.Table, schema: pa.Schema, notes: Mapping[str, str] | None = None
) -> None:
    """Write rows with the columns of ``schema`` to a Parquet file, whole; see :func:`write_part`.

    ``notes`` become metadata of the file.

    Raises:
        RowError: a row has a column that the schema lacks, or a value of another type.
        StoreError: the file system refused.
    """
    content = to_table(rows, schema)
    atomic_write(path, lambda temporary: _write_small(content, temporary, notes))


def _write_small(content: pa.Table, path: Path, notes: Mapping[str, str] | None = None) -> None:
    """One row group with checksums and a short footer: what a part costs is mostly its footer."""
    with (
        _Summed(io.FileIO(path, "w")) as file,
        pq.ParquetWriter(
            file,
            content.schema,
            compression="zstd",
            use_dictionary=False,
            write_statistics=False,
            write_page_checksum=True,
            store_schema=False,
        ) as writer,
    ):
        writer.write_table(content)
        pages = f"{file.length} {file.crc}"
        writer.add_key_value_metadata({**(notes or {}), PAGES.decode(): pages})


class _Summed(io.BufferedWriter):
    """A file that knows the length and the CRC-32 of what was written to it."""

    length = crc = 0

    def write(self, data: Any) -> int:
        self.length += len(data)
        self.crc = zlib.crc32(data, self.crc)
        return super().write(data)


def to_table(rows: Rows | pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows with exactly the columns of ``schema``; NULL where missing or not finite.

    Raises:
        RowError: a row has a column that the schema lacks, or a value of another type.
    """
    if isinstance(rows, pa.Table):
        _refuse_unknown(rows.column_names, schema)
        arrays = [_checked_column(rows, field) for field in schema]
    else:
        for row in rows:
            _refuse_unknown(row, schema)
        arrays = [_column([row.get(field.name) for row in rows], field) for field in schema]
    return pa.table(arrays, schema=schema)


def _refuse_unknown(names: Mapping[str, object] | Sequence[str], schema: pa.Schema) -> None:
    for name in names:
        if name not in schema.names:
            raise RowError(f"column is {name!r}; it must be one of {', '.join(schema.names)}")


def _column(values: list[object], field: pa.Field) -> pa.Array:
    if pa.types.is_floating(field.type):
        values = [_finite(value) for value in values]
    try:
        if all(_is_exact(value, field.type) for value in values):
            return pa.array(values, field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        pass
    offender = next((value for value in values if not _fits(value, field.type)), values)
    raise RowError(f"{field.name} is {offender!r}; it must be {_WANTED[str(field.type)]}")


def _is_exact(value: object, type_: pa.DataType) -> bool:
    """Whether Arrow would take the value as it is: it truncates 1.5 and takes any time for UTC."""
    if value is None:
        return True
    if pa.types.is_integer(type_):
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if pa.types.is_timestamp(type_):
        return isinstance(value, datetime.datetime) and value.tzinfo is not None
    return True


def _fits(value: object, type_: pa.DataType) -> bool:
    try:
        pa.array([value], type_)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return False
    return _is_exact(value, type_)


def _finite(value: object) -> object:
    if isinstance(value, numbers.Real) and not math.isfinite(value):
        return None
    return value


def _checked_column(table: pa.Table, field: pa.Field) -> pa.ChunkedArray | pa.Array:
    if field.name not in table.column_names:
        return pa.nulls(len(table), field.type)
    column = table.column(field.name)
    try:
        column = column.cast(field.type)
    except pa.ArrowException as error:
        raise RowError(f"{field.name} is a {column.type}; it must be a {field.type}") from error
    if pa.types.is_floating(field.type):
        column = pc.if_else(pc.is_finite(column), column, pa.scalar(None, field.type))
    return column
