"""The tables of a run directory as they are at one moment: every key once, from one attempt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import pyarrow as pa

from orchestrator import left_out
from orchestrator.store.files import DAMAGED, Identity, identity, refusal, set_aside
from orchestrator.store.parts import (
    KEY_COLUMNS,
    UnreadableError,
    VanishedError,
    check_part,
    is_compacted,
    keys_of,
    read_checked,
    read_keys,
    read_part,
    read_pieces,
)
from orchestrator.store.schema import KEYS, TABLES, check_columns, schema_of
from orchestrator.store.selection import Listing, Selection, list_parts, newest_rows, selections

_LISTINGS = 50
_BATCH_BYTES = 16 * 2**20
_READERS = 4
_TOGETHER = 32
"""Files that a reader takes one after the other: handing over each would cost as much as some."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class News(Generic[Result]):
    """What a reader made of the files that it had not seen, and the ``files`` that it has seen now.

    With ``afresh``, the parts are all there are: what was read before counts no longer.
    """

    parts: list[Result]
    files: dict[Path, Identity]
    afresh: bool


class Store:
    """Reads the tables of a run directory while others write, compact or were killed.

    Of a trial that was computed more than once, only the newest attempt's rows appear. A file that
    cannot be read is skipped, with a warning the first time, and reported in :attr:`unreadable`.

    Args:
        run: the run directory.
        warn: given by who may change it: :meth:`news` and :meth:`check_parts` then check all bytes
            of the parts, and damaged files are set aside, with a warning each.

    Raises:
        FileNotFoundError: there is no such directory.
    """

    def __init__(self, run: Path, *, warn: Callable[[str], None] | None = None) -> None:
        if not run.is_dir():
            raise FileNotFoundError(f"run directory is {str(run)!r}; it must exist")
        self.run, self._warn = run, warn
        self._unreadable: dict[Path, tuple[Identity | None, str]] = {}

    @property
    def unreadable(self) -> list[tuple[Path, str]]:
        """The files that this store skipped so far, and why."""
        return [(path, reason) for path, (_, reason) in sorted(self._unreadable.items())]

    def parts(self, table: str) -> list[Path]:
        """The files that hold the rows of a table, in the order in which later ones win ties."""
        schema_of(table, TABLES)
        return self.fresh(lambda: list(list_parts(self.run / table).live))

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of a table, or some of its columns, in no particular order."""
        schema = schema_of(name, TABLES)
        wanted = list(schema.names if columns is None else columns)
        check_columns(name, wanted)
        return self.fresh(lambda: self._table(name, wanted))

    def _table(self, name: str, wanted: Sequence[str]) -> pa.Table:
        """Parts are opened once; of compacted files only what is wanted and counts is read."""
        schema = TABLES[name]
        with_keys = [*wanted, *(key for key in KEY_COLUMNS if key not in wanted)]

        def read(path: Path) -> tuple[pa.Table, pa.Table | None]:
            if is_compacted(path):
                return read_keys(path, schema), None
            part = read_part(path, schema, with_keys)
            return keys_of(part), part

        found = self._each(list_parts(self.run / name).live, read)
        chosen = selections(name, [(path, keys) for path, (keys, _) in found])
        parts = [schema.empty_table().select(wanted)]
        for one, (_, (_, part)) in zip(chosen, found, strict=True):
            if not one.kept:
                continue
            if part is None:
                parts.append(self.read(name, one, wanted))
            else:
                kept = part if one.filter is None else part.filter(one.filter)
                parts.append(kept.select(wanted))
        return pa.concat_tables(parts)

    def read(self, name: str, chosen: Selection, columns: Sequence[str]) -> pa.Table:
        """The rows that count of one file.

        Raises:
            VanishedError: it is gone or damaged, and what counts is to be chosen without it.
        """
        keys = () if chosen.filter is None else KEY_COLUMNS
        wanted = [*columns, *(key for key in keys if key not in columns)]
        with self.skipping(chosen.path):
            rows = read_part(chosen.path, TABLES[name], wanted)
        return rows if chosen.filter is None else rows.filter(chosen.filter).select(columns)

    @contextmanager
    def skipping(self, path: Path) -> Iterator[None]:
        """Skip a file that turns out damaged.

        Raises:
            VanishedError: it did, and what counts is to be chosen without it.
        """
        before = identity(path)
        try:
            yield
        except UnreadableError as damage:
            self.skip(path, before, str(damage))
            raise VanishedError(path) from damage

    def news(
        self,
        name: str,
        columns: Sequence[str],
        known: Mapping[Path, Identity],
        reduce: Callable[[pa.Table], Result],
    ) -> News[Result]:
        """What ``reduce`` makes of some columns of the files that are not ``known``.

        The columns must have the table's keys among them. A few files at a time, so that no more
        than ``reduce`` leaves of them is in memory. They come in the order in which later ones win
        ties: a trial's rows may be older than those that were read before, or as old, and it is for
        the reader to keep the newest. When a known file is gone or was replaced, all files are read
        again, unless it was merged into another.
        """
        return self.fresh(lambda: self._news(name, columns, known, reduce))

    def _news(
        self,
        name: str,
        columns: Sequence[str],
        known: Mapping[Path, Identity],
        reduce: Callable[[pa.Table], Result],
    ) -> News[Result]:
        listing = list_parts(self.run / name)
        files = {}
        for path in listing.live:
            its_identity = identity(path)
            if its_identity is None:
                raise VanishedError(path)
            files[path] = its_identity
        gone = {(path, its) for path, its in known.items() if files.get(path) != its}
        afresh = not gone <= listing.all_merged
        seen = set() if afresh else _all_known(listing, files, known)
        paths = [path for path in files if path not in seen]
        compacted = [path for path in paths if is_compacted(path)]
        pieces = self._each(
            compacted,
            lambda path: [reduce(rows) for rows in read_pieces(path, TABLES[name], columns)],
        )
        parts = [part for _, of_file in pieces for part in of_file]
        read_new = read_part if self._warn is None else read_checked
        for batch in _batches([path for path in paths if not is_compacted(path)], files):
            read = self._each(batch, lambda path: read_new(path, TABLES[name], columns))
            if read:
                parts.append(reduce(_newest(name, [rows for _, rows in read])))
        sound = {path: its for path, its in files.items() if not self._is_skipped(path, its)}
        return News(parts, sound, afresh)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of a table as dictionaries."""
        rows: list[dict[str, Any]] = self.table(name).to_pylist()
        return rows

    def settled(self) -> set[str]:
        """The trials whose rows are there."""
        read = self.fresh(lambda: self._keys("trials"))
        return {trial for _, keys in read for trial in keys.column("trial_id").to_pylist()}

    def damaged(self) -> list[Path]:
        """The files that were set aside: parts of tables, and checkpoints."""
        return sorted(self.run.glob(f"*/.*{DAMAGED}*"))

    def check_parts(self, tables: Iterable[str] = TABLES) -> list[tuple[Path, str]]:
        """Find the damaged files of tables, and why each is.

        All bytes of the parts are read, and the footers of compacted files.
        """
        found = []
        for table in tables:
            for path, before, damage in _map(partial(_checked, table), self.parts(table)):
                if damage is not None:
                    self.skip(path, before, damage)
                    found.append((path, damage))
        return found

    def selection(self, table: str) -> list[Selection]:
        """What counts of each file of a table, from its keys alone."""
        return self.fresh(lambda: selections(table, self._keys(table)))

    def _keys(self, table: str) -> list[tuple[Path, pa.Table]]:
        """How many rows of which attempts each file of a table holds."""
        live = list_parts(self.run / table).live
        return self._each(live, lambda path: read_keys(path, TABLES[table]))

    def _each(
        self, paths: Sequence[Path], read: Callable[[Path], Result]
    ) -> list[tuple[Path, Result]]:
        """What ``read`` makes of each file that can be read; the others are skipped."""

        def try_one(path: Path) -> tuple[Path, Result] | None:
            before = identity(path)
            if self._is_skipped(path, before):
                return None
            try:
                return path, read(path)
            except UnreadableError as damage:
                self.skip(path, before, str(damage))
                return None

        return [found for found in _map(try_one, paths) if found is not None]

    def skip(self, path: Path, its_identity: Identity | None, reason: str) -> None:
        """Report a file as unreadable and take no rows from it until another has its name."""
        self._unreadable[path] = (its_identity, reason)
        if self._warn is None:
            left_out.say(path, reason, its_identity)
        elif identity(path) == its_identity:
            aside = set_aside(path, reason)
            self._warn(f"{path} is damaged ({reason}); it was set aside as {aside.name}")

    def _is_skipped(self, path: Path, its_identity: Identity | None) -> bool:
        return path in self._unreadable and self._unreadable[path][0] == its_identity

    def fresh(self, read: Callable[[], Result]) -> Result:
        """Call ``read``, and again from a new listing while files vanish under it.

        Raises:
            StoreError: they vanished too many times.
        """
        for _ in range(_LISTINGS):
            try:
                return read()
            except VanishedError:
                continue
        raise refusal(self.run, "read", OSError("its files vanish faster than they are read"))


def _map(do: Callable[[Path], Result], paths: Sequence[Path]) -> Iterator[Result]:
    """What ``do`` makes of each file, in their order, by several readers at once."""
    shares = [paths[first : first + _TOGETHER] for first in range(0, len(paths), _TOGETHER)]
    with ThreadPoolExecutor(_READERS) as pool:
        for results in pool.map(lambda share: list(map(do, share)), shares):
            yield from results


def _checked(table: str, path: Path) -> tuple[Path, Identity | None, str | None]:
    """A file, its identity before it was checked, and what damage was found."""
    before = identity(path)
    try:
        check_part(path, TABLES[table])
    except VanishedError:
        return path, before, None
    except UnreadableError as damage:
        return path, before, str(damage)
    return path, before, None


def _all_known(
    listing: Listing, files: Mapping[Path, Identity], known: Mapping[Path, Identity]
) -> set[Path]:
    """The files that are known, and compacted ones that hold the rows of such and no others."""

    def is_known(path: Path) -> bool:
        merged = listing.merged.get(path, ())
        return known.get(path) == files[path] or (
            len(merged) > 0 and all(known.get(one) == its for one, its in merged)
        )

    return set(filter(is_known, files))


def _batches(paths: Sequence[Path], files: Mapping[Path, Identity]) -> Iterator[list[Path]]:
    """Files that are read together, in their order."""
    batch: list[Path] = []
    size = 0
    for path in paths:
        if batch and size + files[path].size > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(path)
        size += files[path].size
    if batch:
        yield batch


def _newest(name: str, read: Sequence[pa.Table]) -> pa.Table:
    """The rows that count among those of some files."""
    rows = pa.concat_tables(read)
    counts = newest_rows(rows, [len(part) for part in read], KEYS[name])
    return rows if counts.all() else rows.filter(pa.array(counts))
