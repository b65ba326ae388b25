"""The rows of one column as what a figure of it shows: a series per threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.analysis import settled
from orchestrator.report.words import PROBLEM

Row = Mapping[str, Any]

MEASURES = ("sharpness", "l1_norm", "test_loss")

READ = (
    *("trial_id", "column_id", "kind", *PROBLEM, "eta", "eta_c", "epsilon", "status"),
    *("steps", "train_loss", "test_accuracy", "l2_norm", "sharpness_converged", *MEASURES),
)
"""The columns of ``trials`` that figures need."""


@dataclass(frozen=True)
class Series:
    """What is known at one threshold.

    ``settled`` are the rows of GD that reached ε, and ``flow`` is that of a flow which did;
    ``diverged`` and ``short`` are the η of GD that did not, by status. All ascend in η.
    """

    epsilon: float
    settled: tuple[Row, ...]
    flow: Row | None
    diverged: tuple[float, ...]
    short: tuple[float, ...]

    def points(self, measure: str) -> tuple[list[float], list[float]]:
        """The η and the values of one measure, where it was measured."""
        rows = [row for row in self.settled if row[measure] is not None]
        return [row["eta"] for row in rows], [row[measure] for row in rows]

    def uncertain(self) -> tuple[list[float], list[float]]:
        """The η and the sharpnesses that did not converge."""
        rows = [row for row in self.settled if row["sharpness"] is not None]
        doubtful = [row for row in rows if not row["sharpness_converged"]]
        return [row["eta"] for row in doubtful], [row["sharpness"] for row in doubtful]

    def level(self, measure: str) -> float | None:
        """The value of the flow."""
        value: float | None = None if self.flow is None else self.flow[measure]
        return value

    def rates(self) -> list[float]:
        """All η, however the runs ended."""
        return [*(row["eta"] for row in self.settled), *self.diverged, *self.short]


def series_by_epsilon(rows: Sequence[Row]) -> list[Series]:
    """A series per threshold, in descending order, the order in which runs cross them."""
    thresholds = sorted({row["epsilon"] for row in rows}, reverse=True)
    return [
        _series(epsilon, [r for r in rows if r["epsilon"] == epsilon]) for epsilon in thresholds
    ]


def _series(epsilon: float, rows: Sequence[Row]) -> Series:
    gd = sorted((row for row in rows if row["kind"] == "gd"), key=lambda row: row["eta"])
    flows = [row for row in rows if row["kind"] == "flow" and row["status"] == "reached"]
    return Series(
        epsilon=epsilon,
        settled=tuple(row for row in gd if row["status"] == "reached"),
        flow=flows[0] if flows else None,
        diverged=tuple(row["eta"] for row in gd if row["status"] == "diverged"),
        short=tuple(row["eta"] for row in gd if row["status"] == "max_steps"),
    )


def critical_rate(rows: Sequence[Row]) -> tuple[float, float] | None:
    """The smallest ε whose η_c is known, and that η_c."""
    known = [(row["epsilon"], row["eta_c"]) for row in rows if row["eta_c"] is not None]
    return min(known, default=None)


def at_rest(series: Series) -> list[Row]:
    """The settled rows whose sharpness is known and no accident, in ascending order of η.

    The rule is that of the analysis, but a sharpness that did not converge is shown.
    """
    known = [row for row in series.settled if row["sharpness"] is not None and row["sharpness"] > 0]
    predicted = next((row["eta_c"] for row in known if row["eta_c"]), None)
    kept = settled([row["eta"] for row in known], [row["sharpness"] for row in known], predicted)
    return [row for row, keep in zip(known, kept, strict=True) if keep]
