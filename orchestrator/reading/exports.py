"""The tables of a run as one file each, for spreadsheets and programs that know no Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from orchestrator.store import TABLES, Store, atomic_write, query
from orchestrator.store.files import is_writable
from orchestrator.store.schema import schema_of

_FORMULA = "^([=+@\t\r-])"
"""How a text begins that a spreadsheet would run as a formula."""


_PIECE = 2**16
"""Rows to collect from small files before they are written."""


class Format(StrEnum):
    """How a table is written."""

    csv = "csv"
    parquet = "parquet"


class ExportError(ValueError):
    """An export that would overwrite a file, or has nowhere to go."""


@dataclass(frozen=True)
class Exported:
    """A file that was written."""

    table: str
    path: Path
    rows: int


def check_export(folder: Path, tables: Sequence[str], format: Format, *, force: bool) -> None:
    """Make sure that tables can be written to a folder, and without ``force`` replace no file.

    Raises:
        UnknownTableError: there is no such table.
        ExportError: the folder cannot be written to, or a file is there already.
    """
    if not is_writable(folder):
        raise ExportError(
            f"--output is {str(folder)!r}; it must be a folder that can be written to"
        )
    for table in tables:
        schema_of(table)
        path = _path(folder, table, format)
        if path.is_dir() or (path.exists() and not force):
            raise ExportError(f"{str(path)!r} is there already; --force must say to replace files")


def export(run: Path, tables: Sequence[str], folder: Path, format: Format) -> Iterator[Exported]:
    """Write tables to files of their names in a folder, one after the other, and say which.

    Each file appears whole, and replaces one of its name. It has the rows that were committed when
    its table was begun, those of a trial together and in their order. Of a table, one file of its
    folder is in memory at a time, or some 65,000 rows of small ones. In CSV, NULL is nothing and an
    empty text is ``""``; numbers have the digits that give back their bits, times are in ISO 8601
    with their offset; a text that a spreadsheet would take for a formula has an apostrophe before
    it.

    Raises:
        UnknownTableError: there is no such table.
        ExportError: the files would come to lie among the tables themselves.
        StoreError: the run directory cannot be read, or the file cannot be written.
    """
    for table in tables:
        schema_of(table)
    if _is_of_the_tables(folder, run):
        raise ExportError(f"--output is {str(folder)!r}; it must not be among the run's own tables")
    store = Store(run)
    folder.mkdir(parents=True, exist_ok=True)
    for table in tables:
        path = _path(folder, table, format)
        counted: list[int] = []
        atomic_write(path, partial(_write, store, table, format, counted))
        yield Exported(table, path, counted[-1])


def _is_of_the_tables(folder: Path, run: Path) -> bool:
    """Whether readers of the run would take a file in this folder for a part of a table."""
    target = folder.resolve()
    owned = [(run / name).resolve() for name in (*TABLES, "analysis")]
    return any(target.is_relative_to(one) for one in owned)


def _path(folder: Path, table: str, format: Format) -> Path:
    return folder / f"{table}.{format}"


def _write(store: Store, table: str, format: Format, counted: list[int], path: Path) -> None:
    """Fill a file, from its start again whenever the run was compacted meanwhile."""
    counted.append(store.fresh(lambda: _write_once(store, table, format, path)))


def _write_once(store: Store, table: str, format: Format, path: Path) -> int:
    rows, schema = 0, schema_of(table)
    if format is Format.parquet:
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for piece in _pieces(store, table):
                writer.write_table(piece)
                rows += len(piece)
        return rows
    as_text = _for_csv(schema.empty_table()).schema
    with pyarrow.csv.CSVWriter(path, as_text) as writer:
        for piece in _pieces(store, table):
            writer.write_table(_for_csv(piece))
            rows += len(piece)
    return rows


def _pieces(store: Store, table: str) -> Iterator[pa.Table]:
    """The rows of a table in pieces worth a row group, of one large file or of many small ones."""
    if table not in TABLES:
        yield query(store.run, f"SELECT * FROM {table}").cast(schema_of(table))
        return
    small: list[pa.Table] = []
    rows = 0
    for chosen in store.selection(table):
        if chosen.kept:
            small.append(store.read(table, chosen, schema_of(table).names))
            rows += chosen.kept
        if rows >= _PIECE:
            yield pa.concat_tables(small)
            small, rows = [], 0
    if small:
        yield pa.concat_tables(small)


def _for_csv(rows: pa.Table) -> pa.Table:
    """The rows with times as ISO 8601, and with no text that a spreadsheet would run."""
    columns = []
    for column in rows.columns:
        if pa.types.is_timestamp(column.type):
            column = pc.strftime(column, format="%Y-%m-%dT%H:%M:%S+00:00")
        elif pa.types.is_string(column.type):
            column = pc.replace_substring_regex(column, pattern=_FORMULA, replacement="'\\1")
        columns.append(column)
    return pa.table(columns, names=rows.column_names)
