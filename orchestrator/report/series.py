"""The rows of one column as what a figure of it shows: a series per threshold, and its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]

PROBLEM = (
    *("dataset", "n_train", "architecture", "depth", "width", "activation", "loss"),
    *("parameterization", "init_scale", "seed"),
)
"""The columns of ``trials`` that describe a problem, in the order in which a title names them."""

MEASURES = ("sharpness", "l1_norm", "test_loss")

READ = (
    *("column_id", "kind", *PROBLEM, "eta", "eta_c", "epsilon", "status"),
    *("sharpness_converged", *MEASURES),
)
"""The columns of ``trials`` that a figure needs."""

_LONGEST = 60


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


def title(row: Row) -> str:
    """The problem in two lines, as plain text: nothing that a name contains is markup."""
    words = {name: _word(row[name]) for name in PROBLEM}
    return (
        "{dataset}, n = {n_train}  ·  {architecture} {depth}×{width} {activation}  ·  {loss} loss\n"
        "{parameterization} parameterization, init scale {init_scale}, seed {seed}"
    ).format(**words)


def _word(value: object) -> str:
    if value is None:
        return "?"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    text = "".join(character if character.isprintable() else " " for character in text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
