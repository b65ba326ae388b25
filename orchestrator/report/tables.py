"""What figures and the page read of a run directory, and which of its columns belong together."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.spec import GD
from orchestrator.analysis import Analysis, by_column, compute, is_current, is_plain, scale
from orchestrator.analysis.recommendation import (
    Recommendation,
    recommendations,
    rows_with_flows,
)
from orchestrator.report.labels import PROBLEM
from orchestrator.report.places import READ, Place, Row, with_exclusions
from orchestrator.run_directory import PROBES, why_no_tables
from orchestrator.store import COLUMN_FIELDS, query

Array = NDArray[np.float64]
Column = Mapping[str, Any]
"""A ``column_id`` with the fields of its problem."""

FIELDS = (
    *("n_train", "width", "depth", "init_scale", "activation", "loss", "parameterization"),
    *("architecture", "dataset"),
)
"""What a sweep varies, the fields with an order first."""

_RATES = ("eta", "eta_c", "epsilon")
"""What is drawn on a logarithmic axis, where only what is positive has a place."""

_TRAJECTORY = ("step", "time", "train_loss", "sharpness", "l1_norm", "test_loss")
"""The fields of :class:`Trajectory`."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The recorded steps of a trial in their order; NaN where nothing was measured.

    All arrays have the shape (steps,); ``time`` is that of a flow, η·step for GD.
    """

    step: Array
    time: Array
    train_loss: Array
    sharpness: Array
    l1_norm: Array
    test_loss: Array

    def in_gds_units(self, row: Row) -> Trajectory:
        """With 2χ/η in place of the sharpness, of a trial with these columns of ``trials``."""
        return dataclasses.replace(self, sharpness=self.sharpness * scale(row))


class Tables:
    """The tables of a run, read when a figure asks, each part once.

    At most ``most`` columns, and as many families of columns that differ in the seed alone, have
    figures of their own; see :func:`orchestrator.report.tables.representative`. ``probes`` is the
    run directory of what ``eos predict`` tried; unless given, that in the run.

    Raises:
        FileNotFoundError: there is no such run directory.
    """

    def __init__(self, run: Path, most: int, probes: Path | None = None) -> None:
        self.run = run
        self._most, self._probes = most, probes or run / PROBES
        self._trials: dict[str, list[Row]] = {}

    @cached_property
    def columns(self) -> list[Column]:
        """All columns, in the order of their problems."""
        read = {field: f"any_value({field})" for field in COLUMN_FIELDS}
        read["optimizer"] = f"coalesce({read['optimizer']}, '{GD.name}')"
        fields = ", ".join(f"{value} AS {field}" for field, value in read.items())
        rows = query(
            self.run,
            f"SELECT column_id, {fields} FROM trials WHERE status <> 'no_start' "
            "AND kind <> 'central' GROUP BY column_id",
        )
        return in_order(rows.to_pylist())

    @cached_property
    def families(self) -> list[list[Column]]:
        """The columns, those together that differ in the seed alone."""
        return families(self.columns)

    @cached_property
    def shown(self) -> list[Column]:
        """The columns that have figures of their own: of each family the first seed, then more."""
        ranked = [
            column
            for seeds in itertools.zip_longest(*self.shown_families)
            for column in seeds
            if column is not None
        ]
        chosen = {column["column_id"] for column in ranked[: self._most]}
        return [column for column in self.columns if column["column_id"] in chosen]

    @cached_property
    def shown_families(self) -> list[list[Column]]:
        """The families that have figures of their own."""
        return representative(self.families, self._most)

    @cached_property
    def flows(self) -> dict[str, dict[float, float]]:
        """s_gf of each flow by threshold, in descending order, in the column that computed it."""
        rows = query(
            self.run,
            "SELECT column_id, epsilon, any_value(s_gf) AS s_gf FROM trials WHERE kind = 'flow' "
            "AND status = 'reached' AND s_gf > 0 AND isfinite(s_gf) AND epsilon > 0 "
            "GROUP BY ALL ORDER BY column_id, epsilon DESC",
        )
        found: dict[str, dict[float, float]] = {}
        for row in rows.to_pylist():
            found.setdefault(row["column_id"], {})[row["epsilon"]] = row["s_gf"]
        return found

    @cached_property
    def central(self) -> dict[tuple[str, float], list[Row]]:
        """The central flows that reached each ε, in ascending η, by the trial_id of their flow."""
        rows = query(
            self.run,
            f"SELECT {', '.join(READ)} FROM trials WHERE kind = 'central' AND status = 'reached' "
            "AND eta > 0 AND epsilon > 0 ORDER BY eta",
        )
        found: dict[tuple[str, float], list[Row]] = {}
        for row in rows.to_pylist():
            found.setdefault((row["flow_id"], row["epsilon"]), []).append(_clean(row))
        return found

    def central_of(self, place: Place) -> list[Row]:
        """The central flows at a place of plain GD, in ascending η."""
        flow = place.flow
        if flow is None or not is_plain(flow):
            return []
        return self.central.get((flow["trial_id"], place.epsilon), [])

    @cached_property
    def recommended(self) -> dict[tuple[Any, ...], list[Recommendation]]:
        """What probes say of each column at each ε, in descending order, by its problem."""
        if why_no_tables(self._probes) is not None:
            return {}
        read = dict.fromkeys([*READ, *COLUMN_FIELDS])
        rows = query(self._probes, f"SELECT {', '.join(read)} FROM trials").to_pylist()
        return {
            _problem_of(its[-1]): recommendations([_clean(dict(row)) for row in its])
            for its in rows_with_flows(rows).values()
        }

    def recommended_for(self, column: Column) -> list[Recommendation]:
        """The same of a column; empty where ``eos predict`` tried nothing of it."""
        return self.recommended.get(_problem_of(column), [])

    @cached_property
    def computed(self) -> Analysis | None:
        """The analysis of the trials of now; None where the run has one that is current."""
        return None if is_current(self.run) else compute(self.run)

    def analysed(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table of the analysis, be it written or computed here."""
        if self.computed is None:
            found = query(self.run, f"SELECT * FROM {table}")
        else:
            found = self.computed.tables[table]
        rows: list[dict[str, Any]] = found.to_pylist()
        return rows

    @cached_property
    def phases(self) -> dict[tuple[str, float], Row]:
        """The rows of ``phase`` by column_id and ε."""
        return {(row["column_id"], row["epsilon"]): row for row in self.analysed("phase")}

    def read(self, columns: Iterable[Column]) -> None:
        """Read the trials of some columns at once, where they are not known yet."""
        missing = sorted({one["column_id"] for one in columns} - self._trials.keys())
        if not missing:
            return
        here = f"column_id IN ({_listed(missing)})"
        sql = (
            f"SELECT {', '.join(READ)} FROM trials WHERE {here} "
            f"OR trial_id IN (SELECT flow_id FROM trials WHERE {here})"
        )
        self._trials |= {column_id: [] for column_id in missing}
        found = by_column(query(self.run, sql)).to_pylist()
        rows = (_clean(row) for row in found if row["column_id"] in self._trials)
        for row in with_exclusions([row for row in rows if _is_placed(row)]):
            self._trials[row["column_id"]].append(row)

    def trials(self, column: Column) -> list[Row]:
        """The rows of a column's trials, with the columns in ``places.READ`` and ``exclusion``."""
        self.read([column])
        return self._trials[column["column_id"]]

    def family_trials(self) -> Iterator[tuple[list[Column], list[list[Row]]]]:
        """The families that have figures of their own, each with the trials of its columns."""
        self.read(column for family in self.shown_families for column in family)
        for family in self.shown_families:
            yield family, [self.trials(column) for column in family]

    def trajectories(self, trial_ids: Sequence[str]) -> dict[str, Trajectory]:
        """The trajectories of some trials; those without any are left out.

        The sharpness is the preconditioned one; :meth:`Trajectory.in_gds_units` scales it.
        """
        if not trial_ids:
            return {}
        wanted = _listed(trial_ids)
        read = {name: name for name in _TRAJECTORY}
        read["sharpness"] = "coalesce(preconditioned_sharpness, sharpness) AS sharpness"
        rows = query(
            self.run,
            f"SELECT list_position([{wanted}], trial_id) - 1 AS number, {', '.join(read.values())} "
            f"FROM trajectories WHERE trial_id IN ({wanted}) ORDER BY number, step",
        )
        columns = {
            field: rows.column(field).to_numpy().astype(np.float64)
            for field in ("number", *_TRAJECTORY)
        }
        starts = np.searchsorted(columns["number"], np.arange(len(trial_ids) + 1)).tolist()
        return {
            trial_id: Trajectory(*(columns[field][start:stop] for field in _TRAJECTORY))
            for trial_id, start, stop in zip(trial_ids, starts[:-1], starts[1:], strict=True)
            if start < stop
        }


def _problem_of(column: Column) -> tuple[Any, ...]:
    return tuple(
        column[name] if name != "optimizer" else column[name] or GD.name for name in COLUMN_FIELDS
    )


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
    fixed = [name for name in COLUMN_FIELDS if name not in free]
    found: dict[tuple[Any, ...], list[Column]] = {}
    for column in columns:
        found.setdefault(tuple(column[name] for name in fixed), []).append(column)
    return list(found.values())


def representative(found: Sequence[list[Column]], most: int) -> list[list[Column]]:
    """At most ``most`` families, in their order, that show as many values of fields as they can.

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


def _clean(row: dict[str, Any]) -> Row:
    """A row in which what is no number, or no rate, is not known."""
    return {
        name: None
        if (isinstance(value, float) and not math.isfinite(value))
        or (name in _RATES and value is not None and value <= 0)
        else value
        for name, value in row.items()
    }


def _is_placed(row: Row) -> bool:
    """Whether a row has the threshold, and for GD the rate, against which it is drawn."""
    return row["epsilon"] is not None and (row["kind"] == "flow" or row["eta"] is not None)


def _listed(texts: Iterable[str]) -> str:
    """Texts in SQL."""
    return ", ".join("'" + text.replace("'", "''") + "'" for text in texts)
