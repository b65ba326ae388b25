"""How η_c and what is around it depend on each field: the columns of each group, by its values."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.analysis.columns import spelled
from orchestrator.analysis.grouped import (
    Codes,
    codes,
    distinct_per_group,
    numbers,
    numbers_or_null,
)
from orchestrator.analysis.groups import FIELDS, NAMED, aliases, groups, name_of
from orchestrator.store import DEPENDENCE

_OF_PHASE = (
    *("epsilon", "eta_c", "eta_c_fitted", "edge_ratio", "edge_exponent", "l1_flow", "l1_slope"),
    *("test_loss_best", "eta_best_over_eta_c"),
)


def dependence_table(columns: pa.Table, phase: pa.Table) -> pa.Table:
    """A row per field, group, value and ε, as in :data:`orchestrator.store.DEPENDENCE`.

    ``columns`` is a table of COLUMNS, ``phase`` one of PHASE about the same columns. Rows are in
    the order of fields, groups, ε and values.
    """
    place = pc.index_in(phase["column_id"], value_set=columns["column_id"].combine_chunks())
    place = np.asarray(place.to_numpy(zero_copy_only=False), dtype=np.int64)
    parts = [
        _over_epsilon(columns, phase, place)
        if field == "epsilon"
        else _over_columns(columns, phase, place, field)
        for field in FIELDS
    ]
    return pa.concat_tables(parts)


def _over_columns(columns: pa.Table, phase: pa.Table, place: Codes, field: str) -> pa.Table:
    """Every row of phase of every member of every group of a field."""
    order = np.argsort(place, kind="stable")
    n_rows = np.bincount(place, minlength=len(columns))
    starts = np.concatenate([[0], np.cumsum(n_rows)])[:-1]
    columns, origin = _with_aliases(columns, field)
    n_rows, starts = n_rows[origin], starts[origin]
    found = groups(columns, field)
    repeats = n_rows[found.member]
    ends = np.cumsum(repeats)
    within = np.arange(int(repeats.sum())) - np.repeat(ends - repeats, repeats)
    rows = order[np.repeat(starts[found.member], repeats) + within]
    names = pa.array(found.names, type=pa.string()).take(pa.array(np.repeat(found.group, repeats)))
    of_member = columns.take(pa.array(np.repeat(found.member, repeats)))
    return _table(phase, field, rows, names, of_member[field], of_member["parameterization"])


def _with_aliases(columns: pa.Table, field: str) -> tuple[pa.Table, Codes]:
    """Columns and then those that stand at a value of the field under another name, and which of
    the columns each of these is.
    """
    origin = np.arange(len(columns))
    varies = {"width": "parameterization", "depth": field, "architecture": field}.get(field)
    if varies is None or len(columns[varies].unique()) < 2:
        return columns, origin
    added = list(aliases(columns.to_pylist(), field))
    if not added:
        return columns, origin
    others = pa.Table.from_pylist([row for _, row in added], schema=columns.schema)
    return pa.concat_tables([columns, others]), np.append(origin, [number for number, _ in added])


def _over_epsilon(columns: pa.Table, phase: pa.Table, place: Codes) -> pa.Table:
    """Every row of phase of every column with at least two thresholds."""
    several = distinct_per_group(place, codes(phase["epsilon"]), len(columns)) > 1
    rows = np.flatnonzero(several[place])
    names = [name_of("epsilon", one) for one in columns["column_id"].to_pylist()]
    names = pa.array(names, type=pa.string()).take(pa.array(place[rows]))
    parameterizations = columns["parameterization"].take(pa.array(place[rows]))
    values = phase["epsilon"].take(rows)
    return _table(phase, "epsilon", rows, names, values, parameterizations)


def _table(
    phase: pa.Table,
    field: str,
    rows: Codes,
    names: pa.Array,
    values: pa.ChunkedArray,
    parameterizations: pa.ChunkedArray,
) -> pa.Table:
    taken = phase.select(["column_id", *_OF_PHASE]).take(pa.array(rows))
    named = field in NAMED and field != "seed"
    found = {
        "field": pa.array([field] * len(rows), type=pa.string()),
        "group_id": names,
        "parameterization": parameterizations,
        "value_number": pa.nulls(len(rows), pa.float64()) if named else values.cast(pa.float64()),
        "value_text": _texts(values),
        "s_gf": numbers_or_null(2 / numbers(taken["eta_c"])),
        **{name: taken[name] for name in ("column_id", *_OF_PHASE)},
    }
    table = pa.table([found[name] for name in DEPENDENCE.names], schema=DEPENDENCE)
    keys = ["group_id", "epsilon", "value_number", "value_text", "column_id"]
    return table.sort_by([(name, "ascending") for name in keys])


def _texts(values: pa.ChunkedArray) -> pa.Array:
    encoded = values.combine_chunks().dictionary_encode()
    words = [spelled(one, whole=True) for one in encoded.dictionary.to_pylist()]
    return pa.array(words, type=pa.string()).take(encoded.indices)
