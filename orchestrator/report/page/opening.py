"""What a page opens with: one column's transition, and the statements that matter most."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.report.draw import as_bytes
from orchestrator.report.figures.transition import transition_of
from orchestrator.report.page.findings import Finding, Findings
from orchestrator.report.tables import Tables
from orchestrator.report.words import in_one_line, title

MATTER = ("kink", "edge_above", "valley", "norm_rises", "flat_below", "norm_flat")
"""Statements, the most telling first: where S bends, what it is above, what that is good for."""

MOST_STATEMENTS = 3


@dataclass(frozen=True)
class Opening:
    """``picture`` is a drawing of the ``column`` as a data URI; ``words`` say what it shows."""

    column: str
    picture: str
    words: str
    caption: str
    statements: Sequence[Finding]


def opening(
    tables: Tables, phases: Mapping[tuple[str, float], Mapping[str, Any]], found: Findings
) -> Opening | None:
    """The opening of a page; None where no trial of GD has settled."""
    column_id = most_telling(phases)
    column = next((c for c in tables.columns if c["column_id"] == column_id), None)
    if column is None:
        return None
    drawn = transition_of(tables, column)
    by_id = {one.statement_id: one for one in found.decided}
    encoded = base64.b64encode(as_bytes(drawn, "svg")).decode()
    return Opening(
        column=in_one_line(title(column)),
        picture=f"data:image/svg+xml;base64,{encoded}",
        words=drawn.alternative,
        caption=drawn.caption,
        statements=[by_id[name] for name in MATTER if name in by_id][:MOST_STATEMENTS],
    )


def most_telling(phases: Mapping[tuple[str, float], Mapping[str, Any]]) -> str | None:
    """The column whose transition is best known, at whichever threshold.

    Of the most numbers that describe it; among equals the one of the most runs that count, then
    that with the narrowest interval of the fitted η_c, and then the first by name.
    """

    def rank(row: Mapping[str, Any]) -> tuple[float, ...]:
        low, high = row["eta_c_fitted_low"], row["eta_c_fitted_high"]
        width = high / low if low and high else float("inf")
        bends = row["transition"] is True
        return -sum(row[name] is not None for name in _TELLING) - bends, -row["n_settled"], width

    rows = [row for row in phases.values() if row["n_gd"]]
    best = min(rows, key=lambda row: (*rank(row), row["column_id"]), default=None)
    return None if best is None else best["column_id"]


_TELLING = ("eta_c", "eta_c_fitted", "edge_ratio", "edge_exponent", "flat_spread", "l1_rises")
