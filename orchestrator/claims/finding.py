"""What a statement found, and a number of each place held against bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.claims.evidence import At, Evidence


@dataclass(frozen=True)
class Finding:
    """Whether a statement holds, None where the data do not decide, and the numbers."""

    holds: bool | None
    numbers: str


def tally(right: int, decided: int, asked: int) -> str:
    """In how many of the places that decide it a statement is right, and how many do not.

    >>> tally(1, 1, 4)
    'right in 1 of 1, 3 undecided'
    """
    undecided = f", {asked - decided} undecided" if asked > decided else ""
    return f"right in {right} of {decided}{undecided}"


def over_every(
    evidence: Evidence, value: Callable[[At], float | None], low: float, high: float, what: str
) -> Finding:
    """Whether a number lies within bounds in every column at every threshold where it is known."""
    return _within([value(at) for at in evidence.every], low, high, what)


def over_last(
    evidence: Evidence, value: Callable[[At], float | None], low: float, high: float, what: str
) -> Finding:
    """The same at the smallest threshold that the flow of a column reached.

    Columns whose flow reached none do not decide.
    """
    return _within([None if at is None else value(at) for at in evidence.last()], low, high, what)


def _within(values: list[float | None], low: float, high: float, what: str) -> Finding:
    found = [number for number in values if number is not None]
    if not found:
        return Finding(None, f"no column has enough data for {what}")
    right = sum(low <= number <= high for number in found)
    spread = f"{min(found):.4g} to {max(found):.4g}" if len(found) > 1 else f"{found[0]:.4g}"
    return Finding(right == len(found), f"{what} {spread}; {tally(right, len(found), len(values))}")
