"""Columns that differ in one field of their problem alone, also under another name.

At the base width ``ntk`` and ``mup`` are the standard parameterization, a linear model has no
width, and other networks have no activation or no seed: one problem has one name. Among the widths
of ``mup``, the depths of a network of some width, and the architectures of some activation, such a
column has its place all the same: as an alias.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.spec import Problem, SpecError
from orchestrator.analysis.grouped import Codes, codes, distinct_per_group, together
from orchestrator.store import COLUMN_FIELDS, PROBLEM_FIELDS

ORDERED = ("n_train", "width", "depth", "init_scale", "weight_decay", "epsilon")
"""Fields whose values are sizes, so that something can rise or fall with them."""

NAMED = ("activation", "loss", "architecture", "parameterization", "seed", "dataset")
"""Fields whose values are names; a seed is one, too."""

FIELDS = (*ORDERED, *NAMED)

COMPANIONS: dict[str, tuple[str, ...]] = {
    "parameterization": ("base_width",),
    "architecture": ("width", "depth"),
    "dataset": ("subset", "normalization"),
}
"""Fields that mean something else, or nothing, under another value of the field: they may differ
in a group as long as each value of the field comes with one of them."""

Row = Mapping[str, Any]

_RENAMED = {
    "width": ("parameterization", "base_width"),
    "depth": ("width", "activation", "parameterization", "base_width"),
    "architecture": ("activation", "seed"),
}
"""By axis, the fields that the name of a problem there may lack or have another value of."""


@dataclass(frozen=True)
class Groups:
    """The groups of one field: ``member`` and ``group`` of shape (members,), ``names`` (groups,).

    ``member`` is the place of a column in the table of columns, ``group`` that of its group in
    ``names``. A column is in several groups only if it has a companion field that is NULL.
    """

    member: Codes
    group: Codes
    names: tuple[str, ...]


def groups(columns: pa.Table, field: str) -> Groups:
    """All groups of at least two values of a field, of a table of :data:`COLUMNS`."""
    free = COMPANIONS.get(field, ())
    fixed = [name for name in COLUMN_FIELDS if name != field and name not in free]
    group = together([codes(columns[name]) for name in fixed], len(columns))
    member, group = _several(columns, field, np.arange(len(columns)), group)
    if free:
        member, group = _parted(columns, field, free, member, group)
        member, group = _several(columns, field, member, group)
    return Groups(member, group, _names(columns, field, member, group))


def _several(columns: pa.Table, field: str, member: Codes, group: Codes) -> tuple[Codes, Codes]:
    """The members of those groups that have several values of the field, counted from 0 on."""
    value = codes(columns[field])[member]
    several = distinct_per_group(group, value, int(group.max(initial=-1)) + 1) > 1
    kept = several[group]
    return member[kept], together([group[kept]], int(kept.sum()))


def _parted(
    columns: pa.Table, field: str, free: Sequence[str], member: Codes, group: Codes
) -> tuple[Codes, Codes]:
    """Parts by their companions those groups in which a value comes with several of them."""
    value = codes(columns[field])[member]
    companions = together([codes(columns[name]) for name in free], len(columns))[member]
    n_groups = int(group.max(initial=-1)) + 1
    pairs = together([group, value], len(group))
    per_pair = distinct_per_group(pairs, companions, int(pairs.max(initial=-1)) + 1)
    crowded = np.zeros(n_groups, dtype=bool)
    crowded[group[per_pair[pairs] > 1]] = True
    whole = ~crowded[group]
    members, numbers = [member[whole]], [group[whole]]
    rows = columns.select(free).to_pylist() if crowded.any() else []
    by_group: dict[int, list[int]] = defaultdict(list)
    for number, place in zip(group[~whole].tolist(), member[~whole].tolist(), strict=True):
        by_group[number].append(place)
    for places in by_group.values():
        for part in _matching(places, rows):
            members.append(np.array(part))
            numbers.append(np.full(len(part), n_groups))
            n_groups += 1
    return np.concatenate(members), np.concatenate(numbers)


def _matching(places: list[int], rows: list[dict[str, object]]) -> list[list[int]]:
    """For each full set of companions the places that have it, NULL standing for any value."""
    sets: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for place in places:
        sets[tuple(rows[place].values())].append(place)
    return [
        [place for other, found in sets.items() if _is_within(other, one) for place in found]
        for one in sets
        if not any(other != one and _is_within(one, other) for other in sets)
    ]


def _is_within(loose: tuple[object, ...], full: tuple[object, ...]) -> bool:
    return all(a is None or a == b for a, b in zip(loose, full, strict=True))


def _names(columns: pa.Table, field: str, member: Codes, group: Codes) -> tuple[str, ...]:
    """16 hex digits for each group, of what its members have in common: equal in every sweep."""
    free = COMPANIONS.get(field, ())
    fixed = [name for name in COLUMN_FIELDS if name != field and name not in free]
    first = np.unique(group, return_index=True)[1]
    shared = columns.select(fixed).take(pa.array(member[first])).to_pylist()
    if free and shared:
        rows = columns.select(free).take(pa.array(member)).to_pylist()
        found: list[set[str]] = [set() for _ in shared]
        for number, row in zip(group.tolist(), rows, strict=True):
            found[number].add(json.dumps(row))
        for one, companions in zip(shared, found, strict=True):
            one["companions"] = sorted(companions)
    return tuple(name_of(field, one) for one in shared)


def name_of(field: str, shared: object) -> str:
    """The name of a group: a hash of its field and of what its members have in common."""
    return hashlib.sha256(json.dumps([field, shared], sort_keys=True).encode()).hexdigest()[:16]


def aliases(rows: Sequence[Row], field: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows that say of a problem the same as one of ``rows`` does, in the words of its neighbours.

    Neighbours differ from it in the field, and in what may be renamed with it. Rows need the fields
    of a problem.

    Yields:
        The place of the row that is said otherwise, and the other way to say it.
    """
    renamed = _RENAMED.get(field, ())
    free = {field, *renamed, *COMPANIONS.get(field, ())}
    fixed = [name for name in COLUMN_FIELDS if name not in free]
    families: dict[tuple[Any, ...], dict[tuple[Any, ...], None]] = {}
    for row in rows if renamed else ():
        its = families.setdefault(tuple(row[name] for name in fixed), {})
        its[tuple(row[name] for name in renamed)] = None
    there = {tuple(row[name] for name in COLUMN_FIELDS) for row in rows if renamed}
    for place, row in enumerate(rows if renamed else ()):
        for family in families[tuple(row[name] for name in fixed)]:
            other = {**row, **dict(zip(renamed, family, strict=True))}
            if not _may_be_same(row, other) or not _same(row, other):
                continue
            if tuple(other[name] for name in COLUMN_FIELDS) not in there:
                yield place, other


def _may_be_same(row: Row, other: Row) -> bool:
    """What costs little to ask of many columns."""
    lacks = row["activation"] is None or row["seed"] is None
    at_base = row["parameterization"] == "standard" and other["base_width"] == row["width"]
    return bool(lacks or at_base)


def _same(row: Row, other: Row) -> bool:
    """Whether two rows name one problem; not where one names none of this version."""
    said = ({name: r[name] for name in PROBLEM_FIELDS if r[name] is not None} for r in (row, other))
    try:
        one, two = (Problem(**fields) for fields in said)
    except (SpecError, TypeError):
        return False
    return one == two
