"""The rows of one column as what a figure of it shows: a series per threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.analysis import exclusions_of
from orchestrator.analysis.crossings import (
    CHANCE_CROSSING,
    DIVERGED,
    INCLUDED,
    SHORT,
    UNCONVERGED,
    UNMEASURED,
)
from orchestrator.report.labels import PROBLEM

Row = Mapping[str, Any]

MEASURES = ("sharpness", "l1_norm", "test_loss")

EXCLUDED = (CHANCE_CROSSING, UNCONVERGED, UNMEASURED)
"""The fates of runs that reached ε and do not count for the analysis."""

READ = (
    *("trial_id", "column_id", "kind", *PROBLEM, "eta", "eta_c", "s_gf", "epsilon", "status"),
    *("steps", "train_loss", "test_accuracy", "l2_norm", "sharpness_converged", *MEASURES),
)
"""The columns of ``trials`` that figures need."""


@dataclass(frozen=True)
class Place:
    """What is known at one threshold: the rows of GD in ascending η, and of a flow that reached it.

    Each row has its ``fate``, as :func:`with_fates` adds it.
    """

    epsilon: float
    gd: tuple[Row, ...]
    flow: Row | None

    @property
    def settled(self) -> list[Row]:
        """The runs that count for the analysis."""
        return self.of(INCLUDED)

    @property
    def excluded(self) -> list[Row]:
        """The runs that reached ε and do not count."""
        return self.of(*EXCLUDED)

    @property
    def diverged(self) -> list[Row]:
        """The runs that diverged before ε."""
        return self.of(DIVERGED)

    @property
    def short(self) -> list[Row]:
        """The runs that ended before ε."""
        return self.of(SHORT)

    def of(self, *fates: str) -> list[Row]:
        """The runs of some fates."""
        return [row for row in self.gd if row["fate"] in fates]

    def level(self, measure: str) -> float | None:
        """The value of the flow."""
        value: float | None = None if self.flow is None else self.flow[measure]
        return value

    def rates(self) -> list[float]:
        """All η, however the runs ended."""
        return [row["eta"] for row in self.gd]


def with_fates(rows: Sequence[Row]) -> list[Row]:
    """All rows of some columns, each with its ``fate``: of GD what the analysis makes of it."""
    fates = exclusions_of(rows)
    return [{**row, "fate": fate} for row, fate in zip(rows, fates, strict=True)]


def points(rows: Sequence[Row], measure: str) -> tuple[list[float], list[float]]:
    """The η and the values of one measure, where it was measured."""
    known = [row for row in rows if row[measure] is not None]
    return [row["eta"] for row in known], [row[measure] for row in known]


def places_of(rows: Sequence[Row]) -> list[Place]:
    """A series per threshold, in descending order, the order in which runs cross them."""
    thresholds = sorted({row["epsilon"] for row in rows}, reverse=True)
    return [
        _series(epsilon, [r for r in rows if r["epsilon"] == epsilon]) for epsilon in thresholds
    ]


def _series(epsilon: float, rows: Sequence[Row]) -> Place:
    gd = sorted((row for row in rows if row["kind"] == "gd"), key=lambda row: row["eta"])
    flows = [row for row in rows if row["kind"] == "flow" and row["status"] == "reached"]
    return Place(epsilon, tuple(gd), flows[0] if flows else None)


def critical_rate(rows: Sequence[Row]) -> tuple[float, float] | None:
    """The smallest ε whose η_c is known, and that η_c."""
    known = [(row["epsilon"], row["eta_c"]) for row in rows if row["eta_c"] is not None]
    return min(known, default=None)
