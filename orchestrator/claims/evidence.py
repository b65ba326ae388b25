"""What a run directory has on the columns of one experiment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.analysis import PhaseRow, analyze
from orchestrator.store import Store
from orchestrator.sweep import Column, Sweep

Row = dict[str, Any]

_TRIALS = [
    *("column_id", "trial_id", "kind", "epsilon", "status", "steps"),
    *("s_gf", "eta", "eta_c", "eta_over_eta_c"),
    *("test_loss", "sharpness", "sharpness_converged", "max_sharpness", "l1_norm"),
    *("distance_from_init", "distance_from_flow"),
]
_MEASURES = ["column_id", "trial_id", "epsilon", "point", "measure", "layer", "rank", "value"]


@dataclass(frozen=True)
class At:
    """One column at one threshold: its line of ``phase``, its flow and its GD by ascending η.

    Of GD it has the runs that count for the analysis: none that hit the threshold by accident.
    """

    column: Column
    phase: PhaseRow
    flow: Row | None
    gd: tuple[Row, ...]
    measures: tuple[Row, ...]

    def measured(self, name: str, point: str = "end") -> list[tuple[float, float]]:
        """η/η_c and the value of a further measure of the whole network, by ascending η."""
        values = {
            row["trial_id"]: row["value"]
            for row in self.measures
            if (row["measure"], row["point"], row["layer"]) == (name, point, None)
            and row["value"] is not None
        }
        return [
            (row["eta_over_eta_c"], values[row["trial_id"]])
            for row in self.gd
            if row["trial_id"] in values and row["eta_over_eta_c"] is not None
        ]


@dataclass(frozen=True)
class Evidence:
    """What there is on an experiment: every column of it at every threshold."""

    every: tuple[At, ...]

    def about(self, sweep: Sweep) -> Evidence:
        """What of it is about the columns of a sweep."""
        names = {column.column_id for column in sweep.columns}
        return Evidence(tuple(at for at in self.every if at.phase.column_id in names))

    def last(self) -> list[At | None]:
        """Each column at the smallest threshold that its flow reached, or None for it."""
        best: dict[str, At | None] = {}
        for one in self.every:
            known = best.setdefault(one.phase.column_id, None)
            if one.flow is not None and (known is None or one.phase.epsilon < known.phase.epsilon):
                best[one.phase.column_id] = one
        return list(best.values())


def gather(run: Path, sweep: Sweep) -> Evidence:
    """The evidence of a run directory on the columns of a sweep; its analysis is computed again.

    The tables are read once: :meth:`Evidence.about` parts what they say by experiment.

    Raises:
        FileNotFoundError: there is no such run directory.
    """
    columns = {column.column_id: column for column in sweep.columns}
    analysis = analyze(run)
    phases = [row for row in analysis.phases if row.column_id in columns]
    excluded = {
        (row["trial_id"], row["epsilon"]) for row in analysis.tables["excluded"].to_pylist()
    }
    store = Store(run)
    trials = _by_place(store.table("trials", _TRIALS).to_pylist())
    measures = _by_place(store.table("measures", _MEASURES).to_pylist())
    found = []
    for phase in phases:
        place = phase.column_id, phase.epsilon
        here = trials.get(place, [])
        gd = [
            row
            for row in here
            if row["kind"] == "gd" and (row["trial_id"], row["epsilon"]) not in excluded
        ]
        flows = [row for row in here if row["kind"] == "flow" and row["status"] == "reached"]
        found.append(
            At(
                columns[phase.column_id],
                phase,
                next(iter(flows), None),
                tuple(sorted(gd, key=lambda row: float(row["eta"]))),
                tuple(measures.get(place, [])),
            )
        )
    return Evidence(tuple(found))


def _by_place(rows: list[Row]) -> dict[tuple[str, float], list[Row]]:
    found: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        found.setdefault((row["column_id"], row["epsilon"]), []).append(row)
    return found
