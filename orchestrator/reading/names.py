"""The tables that a run can be asked for, by name."""

from __future__ import annotations

import difflib

import pyarrow as pa

from orchestrator.store import ANALYSIS, TABLES

SCHEMAS: dict[str, pa.Schema] = {**TABLES, **ANALYSIS}
"""The columns of each table: first those that trials write, then those of the analysis."""


class UnknownTableError(ValueError):
    """A name that is no table's; says which name is nearest."""


def schema_of(table: str) -> pa.Schema:
    """The columns of a table.

    Raises:
        UnknownTableError: there is no such table.
    """
    if table in SCHEMAS:
        return SCHEMAS[table]
    near = difflib.get_close_matches(table, SCHEMAS, n=1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    raise UnknownTableError(f"table is {table!r}; it must be one of {', '.join(SCHEMAS)}{meant}")


def check_columns(table: str, columns: list[str]) -> None:
    """Make sure that a table has these columns.

    Raises:
        ValueError: it lacks one; says which name is nearest.
    """
    names = schema_of(table).names
    for column in columns:
        if column not in names:
            near = difflib.get_close_matches(column, names, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"column of {table} is {column!r}; it must be one of {', '.join(names)}{meant}"
            )
