"""A column at a threshold, as figures show it: the trials of GD by η, and the flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.analysis import exclusions_of
from orchestrator.analysis.crossings import CHANCE_CROSSING, INCLUDED, UNCONVERGED, UNMEASURED
from orchestrator.report.labels import PROBLEM

Row = Mapping[str, Any]

MEASURES = ("sharpness", "l1_norm", "test_loss")

EXCLUDED = (CHANCE_CROSSING, UNCONVERGED, UNMEASURED)
"""Why a trial that reached ε is left out of the analysis."""

READ = (
    *("trial_id", "column_id", "kind", *PROBLEM, "eta", "eta_c", "s_gf", "epsilon", "status"),
    *("steps", "train_loss", "test_accuracy", "l2_norm", "sharpness_converged", *MEASURES),
    *("flow_id", "parent_id", "preconditioned_sharpness"),
)
"""The columns of ``trials`` that figures need."""


@dataclass(frozen=True)
class Place:
    """The rows of GD in ascending η, and that of a flow that reached ε.

    Each row has its ``exclusion``, as :func:`with_exclusions` adds it.
    """

    epsilon: float
    gd: tuple[Row, ...]
    flow: Row | None

    @property
    def included(self) -> list[Row]:
        """The trials that count for the analysis."""
        return [row for row in self.gd if row["exclusion"] == INCLUDED]

    @property
    def excluded(self) -> list[Row]:
        """The trials that reached ε and are left out."""
        return [row for row in self.gd if row["exclusion"] in EXCLUDED]

    def level(self, measure: str) -> float | None:
        """The value of the flow."""
        value: float | None = None if self.flow is None else self.flow[measure]
        return value


def with_exclusions(rows: Sequence[Row]) -> list[Row]:
    """All rows of some columns, each with its ``exclusion``: what the analysis makes of GD."""
    found = exclusions_of(rows)
    return [{**row, "exclusion": exclusion} for row, exclusion in zip(rows, found, strict=True)]


def places_of(rows: Sequence[Row]) -> list[Place]:
    """The places of one column by ε in descending order, the order in which trials cross them."""
    places = []
    for epsilon in sorted({row["epsilon"] for row in rows}, reverse=True):
        here = [row for row in rows if row["epsilon"] == epsilon]
        gd = sorted((row for row in here if row["kind"] == "gd"), key=lambda row: row["eta"])
        flows = [row for row in here if row["kind"] == "flow" and row["status"] == "reached"]
        places.append(Place(epsilon, tuple(gd), flows[0] if flows else None))
    return places


def by_threshold(columns: Sequence[Sequence[Row]]) -> dict[float, list[Place]]:
    """The places of several columns, together by ε in descending order."""
    found: dict[float, list[Place]] = {}
    for rows in columns:
        for place in places_of(rows):
            found.setdefault(place.epsilon, []).append(place)
    return dict(sorted(found.items(), reverse=True))


def points(rows: Sequence[Row], measure: str) -> tuple[list[float], list[float]]:
    """The η and the values of one measure, where it was measured."""
    known = [row for row in rows if row[measure] is not None]
    return [row["eta"] for row in known], [row[measure] for row in known]


def ratio(row: Row) -> float | None:
    """η/η_c, where both are known."""
    return row["eta"] / row["eta_c"] if row["eta"] and row["eta_c"] else None


def critical_rate(rows: Sequence[Row]) -> tuple[float, float] | None:
    """The smallest ε whose η_c is known, and that η_c."""
    known = [(row["epsilon"], row["eta_c"]) for row in rows if row["eta_c"] is not None]
    return min(known, default=None)
