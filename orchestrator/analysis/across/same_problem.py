"""Columns that stand at a place of an axis under another name.

At the base width ``ntk`` and ``mup`` are the standard parameterization, a linear model has no
width, and other networks have no activation or no seed: one problem has one name. Among the widths
of ``mup``, the depths of a network of some width, and the architectures of some activation, such a
column has its place all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jobs.spec import Problem, SpecError
from orchestrator.analysis.across.groups import COMPANIONS
from orchestrator.store import PROBLEM_FIELDS

Row = Mapping[str, Any]

_RENAMED = {
    "width": ("parameterization", "base_width"),
    "depth": ("width", "activation", "parameterization", "base_width"),
    "architecture": ("activation", "seed"),
}
"""By axis, the fields that the name of a problem there may lack or have another value of."""


def stand_ins(rows: Sequence[Row], field: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows that say of a problem the same as one of ``rows`` does, in the words of its neighbours.

    Neighbours differ from it in the field, and in what may be renamed with it. Rows need the fields
    of a problem.

    Yields:
        The place of the row that is said otherwise, and the other way to say it.
    """
    renamed = _RENAMED.get(field, ())
    free = {field, *renamed, *COMPANIONS.get(field, ())}
    fixed = [name for name in PROBLEM_FIELDS if name not in free]
    families: dict[tuple[Any, ...], dict[tuple[Any, ...], None]] = {}
    for row in rows if renamed else ():
        its = families.setdefault(tuple(row[name] for name in fixed), {})
        its[tuple(row[name] for name in renamed)] = None
    there = {tuple(row[name] for name in PROBLEM_FIELDS) for row in rows if renamed}
    for place, row in enumerate(rows if renamed else ()):
        for family in families[tuple(row[name] for name in fixed)]:
            other = {**row, **dict(zip(renamed, family, strict=True))}
            if not _may_be_same(row, other) or not _same(row, other):
                continue
            if tuple(other[name] for name in PROBLEM_FIELDS) not in there:
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
