"""Choosing among rows in memory with an SQL condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from orchestrator.store.sql import QueryError, sentence


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
