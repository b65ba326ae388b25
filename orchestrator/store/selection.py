"""Which files of a table hold its rows at one moment, and which of their rows count."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.store.files import Identity, identity
from orchestrator.store.parts import contents, is_compacted
from orchestrator.store.schema import KEYS
from orchestrator.store.write import COMPACTED


@dataclass(frozen=True)
class Listing:
    """The files of a table's folder: ``live`` ones, and those whose rows are in a compacted file.

    ``merged`` has the files whose rows each compacted one holds; they may be gone.
    """

    live: tuple[Path, ...]
    superseded: dict[Path, Identity]
    merged: dict[Path, frozenset[tuple[Path, Identity]]]

    @functools.cached_property
    def all_merged(self) -> frozenset[tuple[Path, Identity]]:
        """The files whose rows live compacted files hold."""
        return frozenset().union(*(self.merged.get(path, ()) for path in self.live))


def list_parts(folder: Path) -> Listing:
    """What the folder holds now; compacted files come first, then parts, each by name.

    One listing is not enough: it may miss a compacted file that appears behind it and then the
    parts that are deleted ahead of it. The second one sees that file, as it begins after.

    Raises:
        VanishedError: a compacted file is gone by now.
    """
    paths = {folder / name for name in _names(folder) | _names(folder)}
    contained: dict[Path, set[Identity]] = {}
    merged = {}
    for path in sorted(filter(is_compacted, paths)):
        listed = contents(path)
        merged[path] = frozenset((folder / name, its) for name, its in listed.items())
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
    return Listing(tuple(live), superseded, merged)


def _names(folder: Path) -> set[str]:
    try:
        names = os.listdir(folder)  # noqa: PTH208 (thousands of names, no paths needed)
    except FileNotFoundError:
        return set()
    return {name for name in names if name.endswith(".parquet") and name[0] not in "._"}


def count_parts(run: Path, table: str) -> int:
    """The files of a table that trials wrote and that are not merged yet."""
    return sum(not name.startswith(COMPACTED) for name in _names(run / table))


@dataclass(frozen=True)
class Selection:
    """What counts of one file: ``kept`` of its ``rows``, those that pass ``filter`` (None: all).

    ``displaces`` says that rows of other files do not count because of rows of this one.
    """

    path: Path
    rows: int
    kept: int
    filter: pc.Expression | None
    displaces: bool = False


def selections(table: str, found: Sequence[tuple[Path, pa.Table]]) -> list[Selection]:
    """What counts of each file, from how many rows of which attempts each holds."""
    if not found:
        return []
    lengths = [len(keys) for _, keys in found]
    all_keys = pa.concat_tables([keys for _, keys in found])
    counts = newest_rows(all_keys, lengths, KEYS[table])
    ends = np.cumsum(lengths)
    displacing = np.split(_displacing(all_keys, counts), ends)
    chosen = []
    for (path, keys), mask, winners in zip(found, np.split(counts, ends), displacing, strict=False):
        each = keys.column("rows").to_numpy()
        rows, kept = int(each.sum()), int(each[mask].sum())
        losing = None if kept in (0, rows) else all_but(keys.filter(pa.array(~mask)))
        chosen.append(Selection(path, rows, kept, losing, bool(winners.any())))
    return chosen


def _displacing(keys: pa.Table, counts: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Mark the rows that count of trials of which others do not."""
    if counts.all():
        return np.zeros(len(counts), dtype=bool)
    trials = keys.column("trial_id")
    losers = trials.filter(pa.array(~counts)).unique()
    found: npt.NDArray[np.bool_] = pc.is_in(trials, value_set=losers).to_numpy() & counts
    return found


def newest_rows(
    rows: pa.Table, lengths: Sequence[int], key: Sequence[str]
) -> npt.NDArray[np.bool_]:
    """Mark the rows that count, so that each key's rows come whole from one attempt in one file.

    ``rows`` holds the columns trial_id and attempt of several files, one after the other, the file
    at i with ``lengths[i]`` rows. Of the files and attempts that hold rows of a key, the highest
    attempt counts, and among equal attempts the last file.
    """
    if not len(rows):
        return np.zeros(0, dtype=bool)
    trial = _codes(rows.column("trial_id"))
    attempt = rows.column("attempt").to_numpy()
    file = np.repeat(np.arange(len(lengths)), lengths)
    attempts, attempt_rank = np.unique(attempt, return_inverse=True)
    code = trial * len(attempts) + attempt_rank if "attempt" in key else trial
    rank = attempt_rank * len(lengths) + file
    newest = np.full(int(code.max()) + 1, -1, dtype=np.int64)
    np.maximum.at(newest, code, rank)
    counts: npt.NDArray[np.bool_] = rank == newest[code]
    return counts


def _codes(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    codes: npt.NDArray[np.int64] = encoded.indices.to_numpy().astype(np.int64)
    return codes


def all_but(dropped: pa.Table) -> pc.Expression:
    """A filter for the rows of other (trial_id, attempt) than those in ``dropped``."""
    keep = pc.scalar(True)
    attempts = dropped.column("attempt")
    for attempt in attempts.unique().to_pylist():
        trials = dropped.filter(pc.equal(attempts, attempt)).column("trial_id").unique()
        same = (pc.field("attempt") == attempt) & pc.field("trial_id").isin(trials)
        keep = keep & ~same
    return keep
