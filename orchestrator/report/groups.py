"""Which columns belong together: those that differ in the seed alone, or in one field besides."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from orchestrator.report.labels import PROBLEM

Column = Mapping[str, Any]

_BESIDES = ("base_width", "normalization", "subset", "dtype")
"""Fields of a problem that a title does not name."""

FIELDS = (
    *("n_train", "width", "depth", "init_scale", "activation", "loss", "parameterization"),
    *("architecture", "dataset"),
)
"""What a sweep varies, the fields with an order first."""


def in_order(columns: Iterable[Column]) -> list[Column]:
    """Columns in the order of their problems, what is not known first."""
    return sorted(
        columns,
        key=lambda column: [
            (column[name] is not None, column[name] or 0) for name in (*PROBLEM, "column_id")
        ],
    )


def families(columns: Sequence[Column]) -> list[list[Column]]:
    """Columns that differ in the seed alone, in the order of their first ones."""
    return groups(columns, {"seed"})


def groups(columns: Sequence[Column], free: Collection[str]) -> list[list[Column]]:
    """Columns whose problems agree in all but the free fields, in the order of their first ones."""
    fixed = [name for name in (*PROBLEM, *_BESIDES) if name not in free]
    found: dict[tuple[Any, ...], list[Column]] = {}
    for column in columns:
        found.setdefault(tuple(column[name] for name in fixed), []).append(column)
    return list(found.values())


def representative(found: Sequence[list[Column]], most: int) -> list[list[Column]]:
    """At most so many families, in their order, that show as many values of all fields as they can.

    One after the other, the family is taken that has the most values which those before it lack;
    where all lack none, the first that is left.
    """
    left, taken = list(range(len(found))), list[int]()
    seen: set[tuple[str, Any]] = set()
    having = [{(field, family[0][field]) for field in FIELDS} for family in found]
    while left and len(taken) < most:
        best = max(left, key=lambda number: (len(having[number] - seen), -number))
        taken.append(best)
        left.remove(best)
        seen |= having[best]
    return [found[number] for number in sorted(taken)]


def values(columns: Iterable[Column], field: str) -> list[Any]:
    """The values that a field has, in ascending order, what is not known last."""
    known = {column[field] for column in columns}
    return [*sorted(known - {None}), *({None} & known)]


def varying(columns: Sequence[Column]) -> list[str]:
    """The fields in which not all columns agree."""
    return [name for name in FIELDS if len(values(columns, name)) > 1]
