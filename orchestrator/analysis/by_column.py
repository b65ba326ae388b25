"""The rows of ``trials`` as their columns see them: each with its flow, sharpness as that of GD.

GD is at the edge of stability where S = 2/η, another optimiser where η times the largest curvature,
preconditioned where it is adaptive, is another number (:attr:`jobs.spec.Optimizer.edge`). In units
in which that number is 2, one analysis holds for all: the sharpness is 2χ/η, which is S for GD.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.spec import GD, Optimizer
from orchestrator.analysis.grouped import numbers, numbers_or_null
from orchestrator.store import TRAINING_FIELDS, TRIALS

READ = (
    *("trial_id", "column_id", "kind", "status", "flow_id", *TRAINING_FIELDS),
    *("sharpness", "preconditioned_sharpness", "s_gf"),
)
"""What of ``trials`` this needs."""


def by_column(trials: pa.Table) -> pa.Table:
    """The rows, with the flow of each column that another one has computed, in GD's units.

    ``trials`` needs the columns :data:`READ`; others are handed on. Of a flow, the optimiser and
    the start are those of its column. For adaptive optimisers, whose limit for small η is another
    one, a flow says nothing: its ``sharpness`` and ``s_gf`` are NULL there. Trials that had no
    start are left out, as are central flows: they are no runs of GD.
    """
    trials = trials.filter(pc.not_equal(trials["kind"], "central"))
    is_flow = pc.equal(trials["kind"], "flow")
    started = pc.is_valid(trials["start"])
    named = pc.or_(started, pc.fill_null(pc.not_equal(trials["optimizer"], GD.name), False))
    if not pc.any(named).as_py():
        return _filled(trials)
    computed = pc.not_equal(trials["status"], "no_start")
    gd = trials.filter(pc.and_(pc.invert(is_flow), computed))
    first = np.unique(gd["column_id"].to_numpy(zero_copy_only=False), return_index=True)[1]
    columns = gd.select(["column_id", "flow_id", *TRAINING_FIELDS]).take(first).to_pylist()
    return _in_gds_units(
        _filled(pa.concat_tables([gd, _of_columns(trials.filter(is_flow), columns)]))
    )


def rows_by_column(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same of rows of ``trials`` with some of its columns; what they lack is NULL."""
    names = dict.fromkeys([*READ, *(name for row in rows for name in row if name in TRIALS.names)])
    schema = pa.schema([TRIALS.field(name) for name in names])
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    found: list[dict[str, Any]] = by_column(table).to_pylist()
    return found


def is_plain(row: Mapping[str, Any]) -> bool:
    """Whether a row of GD, or of a flow beside it, is of GD itself from θ0."""
    return row["optimizer"] in (None, GD.name) and row["start"] is None


def scale(row: Mapping[str, Any]) -> float:
    """What a sharpness of an optimiser's trial, or of a flow beside it, is multiplied with; NaN of
    a flow beside an adaptive one.
    """
    return _scale(row["optimizer"], row["momentum"], row["kind"])


@functools.cache
def _scale(name: str | None, momentum: float | None, kind: str) -> float:
    if name is None or name == GD.name:
        return 1.0
    optimizer = Optimizer(name=name, momentum=momentum)
    return math.nan if optimizer.is_adaptive and kind == "flow" else GD.edge / optimizer.edge


def _filled(trials: pa.Table) -> pa.Table:
    """With GD where no optimiser is named: once, it was the only one."""
    place = trials.schema.get_field_index("optimizer")
    filled = pc.fill_null(trials["optimizer"], GD.name)
    return trials.set_column(place, trials.schema.field(place), filled)


def _of_columns(flows: pa.Table, columns: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The rows of flows in the columns that computed them, and in those that share them."""
    trained = {one["column_id"]: one for one in columns}
    places: dict[str, list[int]] = defaultdict(list)
    wanted: list[tuple[int, Mapping[str, Any]]] = []
    there = set()
    for place, row in enumerate(flows.select(["trial_id", "column_id"]).to_pylist()):
        places[row["trial_id"]].append(place)
        there.add((row["trial_id"], row["column_id"]))
        wanted.append((place, trained.get(row["column_id"], row)))
    for column in columns:
        if (column["flow_id"], column["column_id"]) not in there:
            wanted += [(place, column) for place in places.get(column["flow_id"], ())]
    found = flows.take([place for place, _ in wanted])
    for name in ("column_id", *TRAINING_FIELDS):
        place, field = flows.schema.get_field_index(name), flows.schema.field(name)
        values = pa.array([column.get(name) for _, column in wanted], type=field.type)
        found = found.set_column(place, field, values)
    return found


def _in_gds_units(trials: pa.Table) -> pa.Table:
    rows = trials.select(["optimizer", "momentum", "kind"]).to_pylist()
    scales = np.array([scale(row) for row in rows])
    other = np.array([row["optimizer"] != GD.name for row in rows])
    is_flow = np.array([row["kind"] == "flow" for row in rows])
    sharpness = np.where(
        is_flow, numbers(trials["sharpness"]), numbers(trials["preconditioned_sharpness"])
    )
    changed = {"sharpness": sharpness * scales, "s_gf": numbers(trials["s_gf"]) * scales}
    if "eta_c" in trials.column_names:
        eta_c = numbers(trials["eta_c"])
        changed["eta_c"] = np.where(is_flow, eta_c / scales, eta_c)
    for name, values in changed.items():
        place, field = trials.schema.get_field_index(name), trials.schema.field(name)
        kept = numbers_or_null(np.where(other, values, numbers(trials[name])))
        trials = trials.set_column(place, field, kept)
    return trials
