"""SQL over a run directory, by DuckDB, with no way to change it or to reach anything else.

DuckDB gets the tables as Arrow datasets and no access to their files: a list of allowed paths would
let a query overwrite the very files it may read. The one folder it can reach is new, empty, private
and removed at the end: there it puts what outgrows its memory.
"""

from __future__ import annotations

import csv
import datetime
import io
import json
import math
import re
import tempfile
import weakref
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import duckdb
import pyarrow as pa
import pyarrow.fs as fs
import pyarrow.parquet as pq

from orchestrator.store.files import Identity, atomic_write, identity
from orchestrator.store.parts import UnreadableError, VanishedError, read_part
from orchestrator.store.read import Store
from orchestrator.store.schema import SCHEMAS, TABLES
from orchestrator.store.selection import Selection

if TYPE_CHECKING:
    import pyarrow.dataset as ds

_REPEATED = "trial_id"
"""Handed over as a dictionary, not as one text a row, which halves the cost of a scan.

Of such a column Arrow skips no row groups by their statistics, so that ``column_id``, by which
files are sorted, is handed over as text.
"""

_MEMORY = "2560MiB"
"""What DuckDB takes before it writes to disk; reading the files takes up to 1 GiB besides."""

_SPILL = "eos-query-"

_SCAN_ERRORS = (duckdb.InvalidInputException, duckdb.IOException)
"""How DuckDB reports, among other things, that a dataset could not be read."""

_File = tuple[str, Path, Identity | None]


class QueryError(ValueError):
    """SQL that DuckDB refuses; says why in DuckDB's words."""


def connect(run: Path) -> duckdb.DuckDBPyConnection:
    """A connection with the views of :data:`SCHEMAS`, as of now.

    It reads the files of this moment: connect again when others compacted the run meanwhile, or
    let :func:`query` do so.
    """
    store = Store(run)
    folder = tempfile.TemporaryDirectory(prefix=_SPILL)
    connection = store.fresh(lambda: _connect(store, SCHEMAS, Path(folder.name))[0])
    weakref.finalize(connection, folder.cleanup)
    return connection


def query(run: Path, sql: str) -> pa.Table:
    """The result of one or more statements, of which the last one counts.

    Raises:
        QueryError: DuckDB refuses the SQL.
        StoreError: the run directory cannot be read.
    """
    store = Store(run)
    named = [view for view in SCHEMAS if re.search(rf"\b{view}\b", sql, re.IGNORECASE)]
    with tempfile.TemporaryDirectory(prefix=_SPILL) as folder:
        return store.fresh(lambda: _query(store, named, sql, Path(folder)))


def select_rows(rows: Sequence[Mapping[str, Any]], condition: str) -> list[dict[str, Any]]:
    """The rows that satisfy an SQL condition over their fields.

    Raises:
        QueryError: DuckDB refuses the condition.
    """
    if not rows:
        return []
    with duckdb.connect(":memory:", config={"enable_external_access": "false"}) as connection:
        connection.register("candidates", pa.Table.from_pylist([dict(row) for row in rows]))
        try:
            found = connection.sql(f"SELECT * FROM candidates WHERE ({condition})")
            chosen: list[dict[str, Any]] = found.to_arrow_table().to_pylist()
        except (duckdb.Error, AttributeError) as error:
            raise QueryError(f"--where is {condition!r}; {sentence(error)}") from error
    return chosen


def _query(store: Store, named: Collection[str], sql: str, folder: Path) -> pa.Table:
    connection, files = _connect(store, named, folder)
    with connection:
        try:
            relation = connection.sql(sql)
            return pa.table({}) if relation is None else _distinct(relation.to_arrow_table())
        except duckdb.Error as error:
            if isinstance(error, _SCAN_ERRORS) and _find_changed(store, files):
                raise VanishedError(store.run) from error
            raise QueryError(sentence(error)) from error


def _distinct(table: pa.Table) -> pa.Table:
    """The table with a number behind the name of every column whose name came before."""
    names: list[str] = []
    for name in table.column_names:
        number = 1
        distinct = name
        while distinct in names:
            distinct = f"{name}_{number}"
            number += 1
        names.append(distinct)
    return table.rename_columns(names)


def sentence(error: Exception) -> str:
    """DuckDB's message on one line, without its drawing of the place."""
    return " ".join(str(error).split("\n\nLINE ")[0].split())


def _connect(
    store: Store, named: Collection[str], folder: Path | None = None
) -> tuple[duckdb.DuckDBPyConnection, list[_File]]:
    """A locked connection, and the files behind it; views that are not ``named`` are empty.

    What outgrows the memory goes to ``folder``, the only place where SQL can read and write files.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": "false",
        "memory_limit": _MEMORY,
        "temp_directory": "" if folder is None else str(folder / "spilled"),
    }
    connection = duckdb.connect(":memory:", config=config)
    files: list[_File] = []
    for view, schema in SCHEMAS.items():
        selections = _selections(store, view) if view in named else []
        files += [(view, one.path, identity(one.path)) for one in selections]
        _define(connection, view, _datasets(selections, schema))
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET lock_configuration = true")
    return connection, files


def _selections(store: Store, view: str) -> list[Selection]:
    if view in TABLES:
        return [one for one in store.selection(view) if one.kept]
    path = store.run / "analysis" / f"{view}.parquet"
    before = identity(path)
    if before is None:
        return []
    try:
        rows = len(read_part(path, SCHEMAS[view], SCHEMAS[view].names))
    except UnreadableError as damage:
        store.skip(path, before, str(damage))
        return []
    return [Selection(path, rows, rows, None)]


def _datasets(selections: list[Selection], schema: pa.Schema) -> list[ds.Dataset]:
    """One dataset of the files that count whole, and one of each file that counts in part."""
    whole = [one.path for one in selections if one.filter is None]
    partial = [one for one in selections if one.filter is not None]
    return [
        _dataset(whole, schema),
        *(_dataset([one.path], schema).filter(one.filter) for one in partial),
    ]


def _dataset(paths: list[Path], schema: pa.Schema) -> ds.Dataset:
    import pyarrow.dataset as ds  # it imports pandas, which most commands do not need

    if _REPEATED in schema.names:
        place = schema.get_field_index(_REPEATED)
        schema = schema.set(place, pa.field(_REPEATED, pa.dictionary(pa.int32(), pa.string())))
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    return ds.FileSystemDataset.from_paths(
        [str(path.absolute()) for path in paths],
        schema=schema,
        format=ds.ParquetFileFormat(
            dictionary_columns=[_REPEATED], default_fragment_scan_options=options
        ),
        filesystem=fs.LocalFileSystem(),
    )


def _define(connection: duckdb.DuckDBPyConnection, view: str, datasets: list[ds.Dataset]) -> None:
    if len(datasets) == 1:
        connection.register(view, datasets[0])
        return
    names = [f"_{view}_{number}" for number in range(len(datasets))]
    for name, dataset in zip(names, datasets, strict=True):
        connection.register(name, dataset)
    union = " UNION ALL ".join(f'SELECT * FROM "{name}"' for name in names)
    connection.execute(f'CREATE TEMP VIEW "{view}" AS {union}')


def _find_changed(store: Store, files: list[_File]) -> bool:
    """Whether a file is gone, replaced or damaged, which explains why a query failed."""
    if any(identity(path) != known for _, path, known in files):
        return True
    for view, path, known in files:
        try:
            read_part(path, SCHEMAS[view], SCHEMAS[view].names)
        except VanishedError:
            return True
        except UnreadableError as damage:
            store.skip(path, known, str(damage))
            return True
    return False


def describe(run: Path) -> list[tuple[str, str, str]]:
    """The (view, column, type) that SQL over this run can name, in DuckDB's names of types."""
    connection, _ = _connect(Store(run), ())
    with connection:
        return [
            (view, name, type_)
            for view in SCHEMAS
            for name, type_, *_ in connection.execute(f'DESCRIBE "{view}"').fetchall()
        ]


def render(table: pa.Table, format: Literal["csv", "json"]) -> str:
    """A result as text: CSV with a header, NULL as nothing; or a JSON array of objects.

    Times are in ISO 8601 with their offset. JSON has no number that is not finite: it is null.
    """
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    if format == "json":
        objects = [
            json.dumps(dict(zip(table.column_names, map(_plain, row), strict=True)), default=str)
            for row in rows
        ]
        return "[" + ",\n ".join(objects) + "]\n"
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _plain(value: object) -> object:
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict, tuple)):
        return json.dumps(_plain(value), default=str)
    return _plain(value) if isinstance(value, (datetime.date, datetime.time)) else value


def save(table: pa.Table, path: Path) -> None:
    """Write a result to a Parquet file, whole and as it is.

    Raises:
        StoreError: the file system refused.
    """
    atomic_write(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))
