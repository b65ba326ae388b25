"""What a statement found, and a number of each place held against bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.verdict import UNDECIDED, share_in_words, verdict
from orchestrator.claims.evidence import At, Evidence


@dataclass(frozen=True)
class Finding:
    """The verdict on a statement, and the numbers that it rests on."""

    verdict: str
    numbers: str


def undecided(why: str) -> Finding:
    """No place decides the statement."""
    return Finding(UNDECIDED, why)


def tallied(right: int, decided: int, asked: int, numbers: str, besides: str = "") -> Finding:
    """The verdict by the places that decide a statement, of those that were asked.

    >>> tallied(1, 1, 4, "slope 1.2").numbers
    'slope 1.2; right in 1 of 1 (100 %), 3 undecided'
    """
    left = f", {asked - decided} undecided" if asked > decided else ""
    share = f"right in {right} of {decided} ({share_in_words(right, decided)}){left}"
    return Finding(verdict(right, decided), f"{numbers}; {share}{besides}")


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


def as_numbers(values: Iterable[float | bool | None]) -> NDArray[np.float64]:
    """Numbers and verdicts of places, NaN where there is none."""
    return np.array([np.nan if value is None else float(value) for value in values])


def judged(values: NDArray[np.float64], right: NDArray[np.float64], what: str) -> Finding:
    """The verdict where ``right`` says of each place whether it bears the statement out."""
    decided = np.isfinite(right)
    if not decided.any():
        return undecided(f"no column has enough data for {what}")
    found = values[decided & np.isfinite(values)].tolist()
    spread = f" {min(found):.4g} to {max(found):.4g}" if len(found) > 1 else ""
    spread = f" {found[0]:.4g}" if len(found) == 1 else spread
    n, asked = int(decided.sum()), len(right)
    return tallied(int((right[decided] > 0).sum()), n, asked, f"{what}{spread}")


def _within(values: list[float | None], low: float, high: float, what: str) -> Finding:
    found = as_numbers(values)
    inside = np.where((low <= found) & (found <= high), 1.0, 0.0)
    return judged(found, np.where(np.isnan(found), np.nan, inside), what)
