"""Whether a trial that failed is tried again: a pure function of its history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

AttemptOutcome = Literal["settled", "failed", "preempted", "lost"]
FailureClass = Literal[
    "out_of_memory", "time_limit", "node_failure", "unfit_node", "numerics", "exception"
]

MOST_TRIES: dict[str | None, int] = {"exception": 2, "out_of_memory": 1, "numerics": 1}
"""How often a trial may end in a failure of a class before it counts as failed. What would end the
same way again is not repeated; an exception gets one more try, for the transient ones. A time limit
and a node that is unfit say nothing about the trial, and never count."""

MOST_DEATHS = 3
"""How often in a row the process of a trial may die within one run. An attempt that was preempted,
or whose run went away, breaks the row: the machine is to blame then, not the trial. For the same
reason the next run counts from zero."""


@dataclass(frozen=True)
class Attempt:
    """One try of a trial that has ended."""

    attempt: int
    outcome: str
    failure_class: str | None


def gives_up(history: Iterable[Attempt], rearmed_after: int = 0, run_began_after: int = 0) -> bool:
    """Whether a trial counts as failed.

    Failures up to attempt ``rearmed_after`` are forgiven, deaths of its process also up to
    ``run_began_after``, the last attempt before the run that asks.
    """
    counted = sorted(
        (attempt for attempt in history if attempt.attempt > rearmed_after),
        key=lambda attempt: attempt.attempt,
    )
    failures = Counter(attempt.failure_class for attempt in counted)
    if any(failures[name] >= most for name, most in MOST_TRIES.items()):
        return True
    last = [a.failure_class for a in counted if a.attempt > run_began_after][-MOST_DEATHS:]
    return last == ["node_failure"] * MOST_DEATHS
