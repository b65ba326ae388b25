"""Which files of a table's folder hold its rows at one moment, and how one of them is read.

A compacted file names in its metadata the files whose rows it holds. From the moment it appears,
readers take those rows from it and ignore the files it names. A file is named with its identity,
because a writer may put a newer file under the same name.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orchestrator.left_out import why_no_file
from orchestrator.store.index import KEY_COLUMNS, decode, keys_of
from orchestrator.store.schema import added_to
from orchestrator.store.write import COMPACTED, PAGES, refusal

CONTAINS = b"eos.contains"
"""The key of a compacted file's metadata: the files it holds, as JSON."""

SMALL_BYTES = 2**20

_GONE = (errno.ENOENT, errno.ESTALE)


class VanishedError(Exception):
    """A listed file is gone: its rows are in a newer file, so the folder must be listed again."""


class UnreadableError(Exception):
    """A file does not hold what a part of its table must hold; says why."""


class Identity(NamedTuple):
    """Tells a file from any other that had or will have its name."""

    size: int
    mtime_ns: int
    inode: int


def identity(path: Path) -> Identity | None:
    """The identity of the file at ``path`` now, or None where there is none.

    A link to nothing has its own.
    """
    try:
        status = path.stat()
    except OSError as error:
        if path.is_symlink():
            status = path.lstat()
        elif error.errno in _GONE:
            return None
        else:
            raise
    return Identity(status.st_size, status.st_mtime_ns, status.st_ino)


@dataclass(frozen=True)
class Listing:
    """The files of a table's folder: those that hold its rows, and those held by another file.

    ``holds`` has the files that each compacted one holds, which may be gone.
    """

    live: tuple[Path, ...]
    superseded: dict[Path, Identity]
    holds: dict[Path, frozenset[tuple[Path, Identity]]]

    @functools.cached_property
    def held(self) -> frozenset[tuple[Path, Identity]]:
        """The files whose rows live compacted files hold."""
        return frozenset().union(*(self.holds.get(path, ()) for path in self.live))


def list_parts(folder: Path) -> Listing:
    """What the folder holds now; compacted files come first, then parts, each by name.

    One listing is not enough: it may miss a compacted file that appears behind it and then the
    parts that are deleted ahead of it. The second one sees that file, as it begins after.

    Raises:
        VanishedError: a compacted file is gone by now.
    """
    paths = {folder / name for name in _names(folder) | _names(folder)}
    contained: dict[Path, set[Identity]] = {}
    holds = {}
    for path in sorted(filter(is_compacted, paths)):
        listed = contents(path)
        holds[path] = frozenset((folder / name, its) for name, its in listed.items())
        for name, its_identity in listed.items():
            contained.setdefault(folder / name, set()).add(its_identity)
    superseded: dict[Path, Identity] = {}
    for path in paths & contained.keys():
        now = identity(path)
        if now is None:
            paths.discard(path)
        elif now in contained[path]:
            paths.discard(path)
            superseded[path] = now
    live = sorted(paths, key=lambda path: (not is_compacted(path), path.name))
    return Listing(tuple(live), superseded, holds)


def _names(folder: Path) -> set[str]:
    try:
        names = os.listdir(folder)  # noqa: PTH208 (thousands of names, no paths needed)
    except FileNotFoundError:
        return set()
    return {name for name in names if name.endswith(".parquet") and name[0] not in "._"}


def count_parts(run: Path, table: str) -> int:
    """The files of a table that trials wrote and that are not merged yet."""
    return sum(not name.startswith(COMPACTED) for name in _names(run / table))


def is_compacted(path: Path) -> bool:
    """Whether the file holds the rows of many parts."""
    return path.name.startswith(COMPACTED)


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


def check_part(path: Path, schema: pa.Schema) -> None:
    """Read the footer of a file, and of a part all bytes, and compare their checksums.

    A compacted file may be large; its pages are checked when it is written and when it is read.

    Raises:
        UnreadableError: the file is damaged or has other columns than ``schema``.
        VanishedError: it is gone.
    """
    if is_compacted(path):
        read_part(path, schema, [])
    elif not _is_as_written(path, schema):
        read_part(path, schema, schema.names)


def _is_as_written(path: Path, schema: pa.Schema) -> bool:
    """Whether the bytes of a small file are those that were written.

    False also where its footer does not tell, as of files by earlier versions.
    """
    source = _source(path)
    with _opened(path, source) as file:
        _check_columns(file, schema)
        told = re.fullmatch(rb"(\d+) (\d+)", (file.metadata.metadata or {}).get(PAGES, b""))
    if told is None or isinstance(source, Path) or not int(told[1]):
        return False
    return zlib.crc32(memoryview(source)[: int(told[1])]) == int(told[2])


def read_part(path: Path, schema: pa.Schema, columns: Sequence[str]) -> pa.Table:
    """Some columns of a file; one that is older than a column has NULL in it.

    Raises:
        UnreadableError: the file is damaged or has other columns than ``schema``.
        VanishedError: it is gone.
    """
    with _open(path) as file:
        there = _check_columns(file, schema)
        if not columns:
            return schema.empty_table().select([])
        try:
            found = file.read(
                columns=[name for name in columns if name in there], use_threads=False
            )
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
        held: pa.Table | None = None
        for group in range(file.num_row_groups):
            try:
                found = file.read_row_group(group, columns=wanted, use_threads=False)
            except (pa.ArrowException, OSError) as error:
                raise _judged(path, error) from error
            rows = _completed(found, schema, columns)
            rows = rows if held is None else pa.concat_tables([held, rows])
            names = rows.column("trial_id")
            whole = pc.index(pc.equal(names, names[-1]), True).as_py() if len(rows) else 0
            held = rows.slice(whole).combine_chunks()
            if whole:
                yield rows.slice(0, whole)
        if held is not None and len(held):
            yield held


def _completed(found: pa.Table, schema: pa.Schema, columns: Sequence[str]) -> pa.Table:
    """With NULL in the columns that an older file lacks."""
    there = set(names := found.column_names)
    for field in (schema.field(name) for name in columns if name not in there):
        found = found.append_column(field, pa.nulls(len(found), field.type))
    return found if names == list(columns) else found.select(list(columns))


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
    with _open(path) as file:
        _check_columns(file, schema)
        try:
            groups = range(file.num_row_groups)
            return sum(len(file.read_row_group(group, use_threads=False)) for group in groups)
        except (pa.ArrowException, OSError) as error:
            raise _judged(path, error) from error


def _open(path: Path) -> pq.ParquetFile:
    return _opened(path, _source(path))


def _source(path: Path) -> pa.Buffer | Path:
    """The content of a small file, read at once, as every piece of it would be a request to its
    file server; the path of a large one.
    """
    try:
        if (reason := why_no_file(path)) is not None:
            raise UnreadableError(reason)
        is_small = path.stat().st_size <= SMALL_BYTES
        return pa.py_buffer(path.read_bytes()) if is_small else path
    except OSError as error:
        raise _judged(path, error) from error


def _opened(path: Path, source: pa.Buffer | Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise _judged(path, error) from error


def _judged(path: Path, error: Exception) -> Exception:
    """A refusal of the system is no sign of damage; any other error of a reader is."""
    if isinstance(error, OSError) and error.errno is not None:
        if error.errno in _GONE:
            return VanishedError(path)
        return refusal(path, "read", error)
    return UnreadableError(" ".join(str(error).split()))


def _check_columns(file: pq.ParquetFile, schema: pa.Schema) -> frozenset[str]:
    """The names of a file's columns, which must be those of the table."""
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
