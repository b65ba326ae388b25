"""Whether a trial that failed is tried again: a pure function of its history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["settled", "failed", "preempted", "lost"]
FailureClass = Literal["out_of_memory", "time_limit", "node_failure", "numerics", "exception"]

MOST_TRIES: dict[str | None, int] = {
    "node_failure": 3,
    "exception": 2,
    "out_of_memory": 1,
    "numerics": 1,
}
"""How often a trial may end in a failure of a class before it counts as failed. What would end the
same way again is not repeated; an exception gets one more try, for the transient ones. A time limit
and an attempt whose whole run went away say nothing about the trial, and never count."""


@dataclass(frozen=True)
class Attempt:
    """One try of a trial that has ended."""

    attempt: int
    outcome: str
    failure_class: str | None


def gives_up(history: Iterable[Attempt], rearmed_after: int = 0) -> bool:
    """Whether a trial counts as failed, after the attempts numbered above ``rearmed_after``."""
    failures = Counter(
        attempt.failure_class
        for attempt in history
        if attempt.attempt > rearmed_after and attempt.outcome in ("failed", "lost")
    )
    return any(failures[name] >= most for name, most in MOST_TRIES.items())
