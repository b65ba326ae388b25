"""The attempts of trials that are not settled, and whether a trial that failed is tried again."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

AttemptOutcome = Literal["settled", "failed", "preempted", "lost"]
FailureClass = Literal[
    "out_of_memory", "time_limit", "node_failure", "unfit_node", "numerics", "exception"
]

MOST_TRIES: dict[str | None, int] = {"exception": 2, "out_of_memory": 1, "numerics": 1}
"""How often a trial may end in a failure of a class before it counts as failed. What would end the
same way again is not repeated; an exception gets one more try, because some are transient. A time
limit and an unfit node say nothing about the trial, and never count."""

MOST_DEATHS = 3
"""How often in a row the process of a trial may die within one run. An attempt that was preempted,
or whose run went away, breaks the row: the machine is to blame then, not the trial. For the same
reason the next run counts from zero."""

UNKNOWN_COLUMN = ""
"""The column of attempts that were recorded before attempts named their columns."""


@dataclass(frozen=True)
class Attempt:
    """One attempt of a trial that has ended."""

    attempt: int
    outcome: str
    failure_class: str | None


@dataclass(frozen=True)
class History:
    """The attempts on record of trials that are not settled, and which of them count.

    Attributes:
        attempts: those of each trial in order, by column_id and trial_id.
        rearmed_after: the attempt up to which failures of a trial are forgiven, by trial_id.
        run_began_after: the last attempt of a trial before this run, by trial_id; deaths of its
            process up to that one do not count.
    """

    attempts: Mapping[str, Mapping[str, tuple[Attempt, ...]]] = field(default_factory=dict)
    rearmed_after: Mapping[str, int] = field(default_factory=dict)
    run_began_after: Mapping[str, int] = field(default_factory=dict)

    def with_attempts(
        self, attempts: Iterable[tuple[str, str | None, Attempt]]
    ) -> tuple[History, set[str]]:
        """The history with further attempts, given with trial_id and column_id, and the column_ids
        under which there is something new.
        """
        known = dict(self.attempts)
        changed: dict[str, dict[str, tuple[Attempt, ...]]] = {}
        for trial_id, column_id, attempt in attempts:
            name = column_id or UNKNOWN_COLUMN
            if name not in changed:
                known[name] = changed[name] = dict(known.get(name, {}))
            before = changed[name].get(trial_id, ())
            others = [one for one in before if one.attempt != attempt.attempt]
            changed[name][trial_id] = _in_order([*others, attempt])
        return dataclasses.replace(self, attempts=known), set(changed)

    def begun(self) -> History:
        """The history when a run begins: earlier deaths of processes do not count."""
        last = {
            trial_id: attempts[-1].attempt
            for trials in self.attempts.values()
            for trial_id, attempts in trials.items()
        }
        return dataclasses.replace(self, run_began_after=last)

    def of(self, trial_id: str, column_ids: Iterable[str]) -> tuple[Attempt, ...]:
        """The attempts of a trial that were made by any of these columns, in order."""
        return _in_order(
            attempt
            for name in (*column_ids, UNKNOWN_COLUMN)
            for attempt in self.attempts.get(name, {}).get(trial_id, ())
        )

    def trials(self, column_ids: Iterable[str]) -> set[str]:
        """The trials with attempts by any of these columns, or by unknown ones."""
        names = (*column_ids, UNKNOWN_COLUMN)
        return {trial_id for name in names for trial_id in self.attempts.get(name, {})}

    def gives_up(self, trial_id: str, column_ids: Iterable[str]) -> bool:
        """Whether a trial counts as failed."""
        rearmed = self.rearmed_after.get(trial_id, 0)
        began = self.run_began_after.get(trial_id, 0)
        return gives_up(self.of(trial_id, column_ids), rearmed, began)

    def suspect(self, trial_id: str, column_ids: Iterable[str]) -> bool:
        """Whether the last attempt of a trial in this run failed, or ended with its process.

        On an unfit node any trial fails.
        """
        attempts = self.of(trial_id, column_ids)
        return (
            bool(attempts)
            and attempts[-1].failure_class not in (None, "unfit_node")
            and attempts[-1].attempt > self.run_began_after.get(trial_id, 0)
        )


NO_HISTORY = History()


def gives_up(attempts: Iterable[Attempt], rearmed_after: int = 0, run_began_after: int = 0) -> bool:
    """Whether a trial counts as failed.

    Failures up to attempt ``rearmed_after`` are forgiven, deaths of its process also up to
    ``run_began_after``, the last attempt before the run that asks.
    """
    counted = [one for one in _in_order(attempts) if one.attempt > rearmed_after]
    failures = Counter(one.failure_class for one in counted)
    if any(failures[name] >= most for name, most in MOST_TRIES.items()):
        return True
    last = [one.failure_class for one in counted if one.attempt > run_began_after][-MOST_DEATHS:]
    return last == ["node_failure"] * MOST_DEATHS


def _in_order(attempts: Iterable[Attempt]) -> tuple[Attempt, ...]:
    return tuple(sorted(attempts, key=lambda one: one.attempt))
