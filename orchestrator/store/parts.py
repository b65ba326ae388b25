"""One file of a table: its rows, its keys, what its footer tells, and whether it is damaged."""

from __future__ import annotations

import base64
import binascii
import json
import re
import stat
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orchestrator.left_out import why_no_file
from orchestrator.store.files import GONE, Identity, refusal
from orchestrator.store.schema import added_to
from orchestrator.store.write import COMPACTED, PAGES

CONTAINS = b"eos.contains"
"""The key of a compacted file's metadata: the files it holds, as JSON."""

INDEX = b"eos.index.1"
"""The key of a compacted file's metadata; its number changes with the form of the index."""

KEY_COLUMNS = ("trial_id", "attempt")

_SCHEMA = pa.schema([("trial_id", pa.string()), ("attempt", pa.int64()), ("rows", pa.int64())])

_FEW = 1024

SMALL_BYTES = 2**20


class VanishedError(Exception):
    """A listed file is gone: its rows are in a newer file, so the folder must be listed again."""


class UnreadableError(Exception):
    """A file does not hold what a part of its table must hold; says why."""


def is_compacted(path: Path) -> bool:
    """Whether the file holds the rows of many parts."""
    return path.name.startswith(COMPACTED)


def read_part(path: Path, schema: pa.Schema, columns: Sequence[str]) -> pa.Table:
    """Some columns of a file; one that is older than a column has NULL in it.

    Raises:
        UnreadableError: the file is damaged or has other columns than ``schema``.
        VanishedError: it is gone.
    """
    with _open(path) as file:
        return _read(file, path, schema, columns)


def read_checked(path: Path, schema: pa.Schema, columns: Sequence[str]) -> pa.Table:
    """As :func:`read_part` of a part, all bytes of which are checked, whichever columns are read.

    The checksum is in the footer. Where there is none, as in files by earlier versions, every
    column is read, and its pages are checked.
    """
    source = _source(path)
    with _opened(path, source) as file:
        if _is_as_written(file, source):
            return _read(file, path, schema, columns)
        return _read(file, path, schema, schema.names).select(columns)


def _read(file: pq.ParquetFile, path: Path, schema: pa.Schema, columns: Sequence[str]) -> pa.Table:
    there = _check_columns(file, schema)
    if not columns:
        return schema.empty_table().select([])
    try:
        wanted = [name for name in columns if name in there]
        found = file.read(columns=wanted, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise _judged(path, error) from error
    return _completed(found, schema, columns)


def read_pieces(path: Path, schema: pa.Schema, columns: Sequence[str]) -> Iterator[pa.Table]:
    """As :func:`read_part` of a compacted file, a row group at a time; no trial is divided.

    Its rows must be sorted so that those of a trial come together, and ``columns`` have trial_id
    among them.
    """
    with _open(path) as file:
        there = _check_columns(file, schema)
        wanted = [name for name in columns if name in there]
        unfinished: pa.Table | None = None
        for group in range(file.num_row_groups):
            try:
                found = file.read_row_group(group, columns=wanted, use_threads=False)
            except (pa.ArrowException, OSError) as error:
                raise _judged(path, error) from error
            rows = _completed(found, schema, columns)
            rows = rows if unfinished is None else pa.concat_tables([unfinished, rows])
            names = rows.column("trial_id")
            whole = pc.index(pc.equal(names, names[-1]), True).as_py() if len(rows) else 0
            unfinished = rows.slice(whole).combine_chunks()
            if whole:
                yield rows.slice(0, whole)
        if unfinished is not None and len(unfinished):
            yield unfinished


def _completed(found: pa.Table, schema: pa.Schema, columns: Sequence[str]) -> pa.Table:
    """With NULL in the columns that an older file lacks."""
    there = set(names := found.column_names)
    for field in (schema.field(name) for name in columns if name not in there):
        found = found.append_column(field, pa.nulls(len(found), field.type))
    return found if names == list(columns) else found.select(list(columns))


def check_part(path: Path, schema: pa.Schema) -> None:
    """Read the footer of a file, and of a part all bytes, and compare their checksums.

    A compacted file may be large; its pages are checked when it is written and when it is read.

    Raises:
        UnreadableError: the file is damaged or has other columns than ``schema``.
        VanishedError: it is gone.
    """
    (read_part if is_compacted(path) else read_checked)(path, schema, [])


def _is_as_written(file: pq.ParquetFile, source: pa.Buffer | Path) -> bool:
    """Whether the bytes of a small file are those that were written.

    False also where its footer does not tell, as of files by earlier versions.
    """
    told = re.fullmatch(rb"(\d+) (\d+)", (file.metadata.metadata or {}).get(PAGES, b""))
    if told is None or isinstance(source, Path):
        return False
    length, crc = map(int, told.groups())
    return length > 0 and zlib.crc32(memoryview(source)[:length]) == crc


def read_keys(path: Path, schema: pa.Schema) -> pa.Table:
    """How many rows of which attempts a file holds; of a compacted one its footer tells.

    Returns the columns trial_id, attempt and rows of :mod:`orchestrator.store.index`.

    Raises:
        UnreadableError: the file is damaged or has other columns than ``schema``.
        VanishedError: it is gone.
    """
    if is_compacted(path):
        with _open(path) as file:
            _check_columns(file, schema)
            index = decode(file.metadata.metadata or {}, file.metadata.num_rows)
        if index is not None:
            return index
    return keys_of(read_part(path, schema, KEY_COLUMNS))


def contents(path: Path) -> dict[str, Identity]:
    """The files whose rows a compacted file holds; none where it cannot be read.

    Raises:
        VanishedError: it is gone.
    """
    try:
        with _open(path) as file:
            metadata = file.metadata.metadata or {}
    except UnreadableError:
        return {}
    listed = json.loads(metadata.get(CONTAINS, b"{}"))
    return {name: Identity(*its_identity) for name, its_identity in listed.items()}


def read_notes(path: Path, schema: pa.Schema) -> dict[bytes, bytes]:
    """The metadata of a file with these columns.

    Raises:
        UnreadableError: the file is damaged or has other columns than ``schema``.
        VanishedError: it is gone.
    """
    with _open(path) as file:
        _check_columns(file, schema)
        return dict(file.metadata.metadata or {})


def count_rows(path: Path, schema: pa.Schema) -> int:
    """Read a whole file, one row group after the other, and count its rows.

    Raises:
        UnreadableError: the file is damaged or has other columns than ``schema``.
        VanishedError: it is gone.
    """
    return sum(map(len, read_pieces(path, schema, schema.names)))


def index_of(rows: pa.Table) -> pa.Table:
    """The columns trial_id, attempt and rows: how many of ``rows`` each attempt has."""
    counted = rows.select(KEY_COLUMNS).group_by(KEY_COLUMNS, use_threads=False)
    return counted.aggregate([([], "count_all")]).rename_columns(_SCHEMA.names).cast(_SCHEMA)


def keys_of(rows: pa.Table) -> pa.Table:
    """As :func:`index_of`, but of few rows each is an entry: counting them would cost more."""
    if len(rows) > _FEW:
        return index_of(rows)
    ones = pa.repeat(pa.scalar(1, pa.int64()), len(rows))
    return rows.select(KEY_COLUMNS).append_column("rows", ones)


def encode(index: pa.Table) -> bytes:
    """An index as text for the metadata of a file."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, _SCHEMA, options=options) as writer:
        writer.write_table(index.combine_chunks())
    return base64.b64encode(sink.getvalue())


def decode(metadata: Mapping[bytes, bytes], rows: int) -> pa.Table | None:
    """The index in a file's metadata; None where there is none that fits its number of rows."""
    try:
        stream = base64.b64decode(metadata[INDEX], validate=True)
        with pa.ipc.open_stream(stream) as reader:
            index = reader.read_all()
    except (KeyError, binascii.Error, pa.ArrowException, OSError):
        return None
    fits = index.schema.equals(_SCHEMA) and sum(index.column("rows").to_pylist()) == rows
    return index if fits else None


def _open(path: Path) -> pq.ParquetFile:
    return _opened(path, _source(path))


def _source(path: Path) -> pa.Buffer | Path:
    """The content of a small file, read at once, as every piece of it would be a request to its
    file server; the path of a large one.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError(why_no_file(path))
        return pa.py_buffer(path.read_bytes()) if status.st_size <= SMALL_BYTES else path
    except OSError as error:
        if path.is_symlink() and (reason := why_no_file(path)) is not None:
            raise UnreadableError(reason) from error
        raise _judged(path, error) from error


def _opened(path: Path, source: pa.Buffer | Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise _judged(path, error) from error


def _judged(path: Path, error: Exception) -> Exception:
    """A refusal of the system is no sign of damage; any other error of a reader is."""
    if isinstance(error, OSError) and error.errno is not None:
        if error.errno in GONE:
            return VanishedError(path)
        return refusal(path, "read", error)
    return UnreadableError(" ".join(str(error).split()))


def _check_columns(file: pq.ParquetFile, schema: pa.Schema) -> frozenset[str]:
    """The names of a file's columns, which must be those of the table."""
    known = _SEEN.get(id(schema))
    if known is not None and known[0] is schema and known[1].equals(file.schema):
        return known[2]
    names = _checked_columns(file, schema)
    _SEEN[id(schema)] = schema, file.schema, names
    return names


_SEEN: dict[int, tuple[pa.Schema, pq.ParquetSchema, frozenset[str]]] = {}
"""For each table, the columns of the last file that were right: most files have the same."""


def _checked_columns(file: pq.ParquetFile, schema: pa.Schema) -> frozenset[str]:
    found = file.schema_arrow.remove_metadata()
    names = frozenset(found.names)
    if found.equals(schema):
        return names
    added = added_to(schema) - names
    expected = pa.schema([field for field in schema if field.name not in added])
    if not found.equals(expected):
        raise UnreadableError(_difference(found, expected))
    return names


def _difference(found: pa.Schema, schema: pa.Schema) -> str:
    for field in schema:
        if field.name not in found.names:
            return f"it has no column {field.name}"
        type_ = found.field(field.name).type
        if type_ != field.type:
            return f"its column {field.name} is a {type_}, not a {field.type}"
    surplus = [name for name in found.names if name not in schema.names]
    return f"it has a column {surplus[0]}" if surplus else "its columns are in another order"
