"""Merging many part files into few, at any moment and killed at any moment, unseen by readers.

A compacted file lists the files whose rows it holds (:mod:`orchestrator.store.parts`). It appears
whole, readers change over to it at once, and only then are the listed files deleted. A compaction
that was killed is finished by the next one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orchestrator.store.files import LEASES, Identity, atomic_write, file_errors, identity
from orchestrator.store.parts import (
    CONTAINS,
    INDEX,
    KEY_COLUMNS,
    UnreadableError,
    contents,
    count_rows,
    encode,
    index_of,
    is_compacted,
)
from orchestrator.store.read import Store
from orchestrator.store.schema import SORTED_BY, TABLES, schema_of
from orchestrator.store.selection import Selection, list_parts
from orchestrator.store.write import COMPACTED

TARGET_BYTES = 128 * 2**20
"""The files merged into one are at most this large together; half of it is left as it is."""

_MOST_CELLS = 2**24
"""Values in memory at once: 128 MiB of numbers, and as much again while they are sorted. A run does
this beside its trials."""

_ROW_GROUP = 2**16
_RETIRED = ".retired"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Compaction:
    """What a compaction did: files merged into ``written``, or nothing as another is at work."""

    merged: int
    written: tuple[Path, ...]
    busy: bool = False


def compact(run: Path, table: str | None = None) -> Compaction:
    """Merge the files of a table, or of all, into few sorted ones.

    Rows that no longer count (a newer attempt is there) are left out; files that cannot be read
    stay as they are. Returns at once, ``busy``, while another compaction holds the lock
    ``claims/compact.lock``.

    Raises:
        ValueError: there is no such table.
        StoreError: the file system refused.
    """
    if table is not None:
        schema_of(table, TABLES)
    store = Store(run)
    with _lock(run / LEASES / "compact.lock") as is_ours:
        if not is_ours:
            log.warning("another process is compacting %s", run)
            return Compaction(0, (), busy=True)
        done = [
            store.fresh(lambda name=name: _compact_table(store, name))  # type: ignore[misc]
            for name in ([table] if table else TABLES)
        ]
    return Compaction(
        merged=sum(one.merged for one in done),
        written=tuple(path for one in done for path in one.written),
    )


@contextmanager
def _lock(path: Path) -> Iterator[bool]:
    """Whether this process holds the lock; the system releases it when the process ends."""
    with file_errors(path, "locked"):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = True
        except BlockingIOError:
            is_ours = False
        except OSError:
            os.close(descriptor)
            raise
    try:
        yield is_ours
    finally:
        os.close(descriptor)


def _compact_table(store: Store, table: str) -> Compaction:
    folder = store.run / table
    _put_back_retired(folder)
    _delete(list_parts(folder).superseded)
    identities = {path: identity(path) for path in list_parts(folder).live}
    selections = [one for one in store.selection(table) if identities.get(one.path)]
    for one in selections:
        if one.displaces:
            with store.skipping(one.path):  # a damaged file must not displace rows of others
                count_rows(one.path, TABLES[table])
    _delete({one.path: identities[one.path] for one in selections if one.rows and not one.kept})
    merged, written = 0, []
    most_rows = _MOST_CELLS // len(TABLES[table])
    for batch in _batches([one for one in selections if one.kept], identities, most_rows):
        sources = {one.path: identities[one.path] for one in batch}
        written.append(_merge(store, table, batch, sources))
        merged += len(batch)
        _delete(sources)
    return Compaction(merged, tuple(written))


def _batches(
    selections: Sequence[Selection], identities: dict[Path, Identity | None], most_rows: int
) -> Iterator[list[Selection]]:
    """Groups of files worth merging, each within the target size, of neighbouring names."""
    batch: list[Selection] = []
    size = rows = 0
    for one in sorted(selections, key=lambda one: (not is_compacted(one.path), one.path.name)):
        found = identities[one.path]
        its_size = found.size if found else 0
        is_full = 2 * its_size >= TARGET_BYTES or 2 * one.kept >= most_rows
        if is_full and one.filter is None:
            continue
        if size + its_size > TARGET_BYTES or rows + one.kept > most_rows:
            if _is_worth_it(batch):
                yield batch
            batch, size, rows = [], 0, 0
        batch.append(one)
        size += its_size
        rows += one.kept
    if _is_worth_it(batch):
        yield batch


def _is_worth_it(batch: Sequence[Selection]) -> bool:
    return len(batch) > 1 or any(one.filter is not None for one in batch)


def _merge(
    store: Store, table: str, batch: Sequence[Selection], sources: dict[Path, Identity | None]
) -> Path:
    schema = TABLES[table]
    parts = [_with_dictionaries(store.read(table, one, schema.names)) for one in batch]
    rows = pa.concat_tables(parts).unify_dictionaries().combine_chunks()
    del parts
    listed = json.dumps({path.name: its for path, its in sorted(sources.items())})
    digest = hashlib.sha256(listed.encode()).hexdigest()[:12]
    path = store.run / table / f"{COMPACTED}{digest}.parquet"
    atomic_write(path, lambda temporary: _write_checked(rows, listed, table, temporary))
    return path


def _with_dictionaries(part: pa.Table) -> pa.Table:
    """Text as numbers into a dictionary: most of it is repeated, and it is sorted faster."""
    columns = [
        column.dictionary_encode() if column.type == pa.string() else column
        for column in part.columns
    ]
    return pa.table(columns, names=part.column_names)


def _order(rows: pa.Table, by: Sequence[str]) -> pa.Array:
    """The places of the rows in ascending order of some columns, NULL last."""
    keys = {}
    for name in by:
        column = rows.column(name).combine_chunks()
        if isinstance(column, pa.DictionaryArray):
            rank = pc.rank(column.dictionary, tiebreaker="dense").cast(pa.int32())
            column = rank.take(column.indices)
        keys[name] = column
    return pc.sort_indices(pa.table(keys), sort_keys=[(name, "ascending") for name in by])


def _write_checked(rows: pa.Table, listed: str, table: str, path: Path) -> None:
    """Write sorted row groups, and read all of them back before the sources may be deleted.

    A row group holds few columns of a sweep, so that a filter on one of them reads little.
    """
    schema = TABLES[table]
    sorted_by = [(name, "ascending") for name in SORTED_BY[table]]
    order = _order(rows, SORTED_BY[table])
    with pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=[field.name for field in schema if field.type == pa.string()],
        write_page_checksum=True,
        store_schema=False,
        sorting_columns=pq.SortingColumn.from_ordering(schema, sorted_by, "at_end"),
    ) as writer:
        for start in range(0, len(rows), _ROW_GROUP):
            group = rows.take(order.slice(start, _ROW_GROUP)).cast(schema)
            writer.write_table(group, row_group_size=_ROW_GROUP)
        index = index_of(rows.select(KEY_COLUMNS).cast(pa.schema(map(schema.field, KEY_COLUMNS))))
        writer.add_key_value_metadata({CONTAINS: listed, INDEX: encode(index)})
    try:
        found = count_rows(path, schema)
    except UnreadableError as damage:
        raise OSError(f"it does not read back ({damage})") from damage
    if found != len(rows):
        raise OSError(f"it reads back {found} rows instead of {len(rows)}")


def _delete(files: dict[Path, Identity | None] | dict[Path, Identity]) -> None:
    """Delete files that are still the ones meant; compacted ones first.

    A reader that finds a part gone can then rely on it that whatever file held the part's rows
    before is gone as well, so that it does not mix two moments.
    """
    for path in sorted(files, key=lambda path: (not is_compacted(path), path.name)):
        with file_errors(path, "deleted"):
            _delete_if_same(path, files[path])


def _delete_if_same(path: Path, meant: Identity | None) -> None:
    """Delete one file unless a newer one has taken its name, even at the last moment."""
    if meant is None or identity(path) != meant:
        return
    retired = path.with_name(f".{path.name}{_RETIRED}")
    try:
        path.rename(retired)
    except FileNotFoundError:
        return
    if identity(retired) == meant:
        retired.unlink()
    else:
        _put_back(retired, path)


def _put_back_retired(folder: Path) -> None:
    """Finish what a killed compaction began between its rename and its deletion."""
    retired = {path: path.name[1 : -len(_RETIRED)] for path in folder.glob(f".*{_RETIRED}")}
    if not retired:
        return
    compacted = [contents(path) for path in folder.glob(f"{COMPACTED}*.parquet")]
    for path, name in retired.items():
        with file_errors(path, "put back"):
            if any(one.get(name) == identity(path) for one in compacted):
                path.unlink()
            else:
                _put_back(path, folder / name)


def _put_back(retired: Path, path: Path) -> None:
    """Give a file its name again, unless a newer one has it by now."""
    try:
        os.link(retired, path)
    except FileExistsError:
        log.info("%s was replaced while it was compacted", path)
    retired.unlink()
