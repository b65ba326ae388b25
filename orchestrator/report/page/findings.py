"""What was found: each statement with its verdict and the numbers that it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.analysis.verdict import FAILS, HOLDS, MOSTLY_HOLDS, UNDECIDED
from orchestrator.store import query

_MARKS = {HOLDS: "✓", MOSTLY_HOLDS: "✓", FAILS: "✗"}
_CLASSES = {HOLDS: "holds", MOSTLY_HOLDS: "mostly", FAILS: "fails"}


@dataclass(frozen=True)
class Finding:
    """A statement; ``mark`` and ``style`` show its verdict beside the word."""

    statement_id: str
    statement: str
    verdict: str
    mark: str
    style: str
    numbers: str
    wanted: str


@dataclass(frozen=True)
class Findings:
    """``decided``: those on which the sweep says something; ``undecided``: the others."""

    decided: list[Finding]
    undecided: list[Finding]


def findings(run: Path) -> Findings:
    """The findings of a run's analysis, in the order of their table."""
    rows = query(run, "SELECT * FROM findings").to_pylist()
    found = [_finding(row) for row in rows]
    return Findings(
        [one for one in found if one.verdict in _MARKS],
        [one for one in found if one.verdict not in _MARKS],
    )


def phases(run: Path) -> dict[tuple[str, float], dict[str, Any]]:
    """The rows of ``phase`` by column_id and ε."""
    rows = query(run, "SELECT * FROM phase").to_pylist()
    return {(row["column_id"], row["epsilon"]): row for row in rows}


def _finding(row: dict[str, Any]) -> Finding:
    verdict = row["verdict"] or UNDECIDED
    return Finding(
        statement_id=row["statement_id"] or "",
        statement=row["statement"] or "",
        verdict=verdict,
        mark=_MARKS.get(verdict, "?"),
        style=_CLASSES.get(verdict, UNDECIDED),
        numbers=row["numbers"] or "",
        wanted=_wanted(row["wanted_low"], row["wanted_high"]),
    )


def _wanted(low: float | None, high: float | None) -> str:
    """The bounds between which a number counts as right, as a clause."""
    if low is None and high is None:
        return ""
    if high is None:
        return f"right: above {low:g}"
    return f"right: up to {high:g}" if low is None else f"right: {low:g} to {high:g}"
