"""The state of the trials of one column, and how many trials are in which state."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jobs.spec import Trial
from orchestrator.plan.column_plan import ColumnPlan
from orchestrator.plan.states import Codes, State, may_start
from orchestrator.sweep import Column


@dataclass(frozen=True)
class Counts:
    """The number of trials in each state; ``to_do`` has those whose η is not known yet."""

    settled: int = 0
    running: int = 0
    failed: int = 0
    blocked: int = 0
    skipped: int = 0
    to_do: int = 0

    @classmethod
    def of(cls, by_state: Sequence[int], unplaced_running: int) -> Counts:
        """The counts of numbers by :class:`State`; some trials run before their η is known here."""
        moved = min(unplaced_running, by_state[State.TO_DO])
        return cls(
            settled=by_state[State.SETTLED],
            running=by_state[State.RUNNING] + moved,
            failed=by_state[State.FAILED],
            blocked=by_state[State.BLOCKED],
            skipped=by_state[State.SKIPPED],
            to_do=by_state[State.TO_DO] - moved,
        )

    @property
    def total(self) -> int:
        """All trials that the sweep asks for."""
        return sum(getattr(self, f.name) for f in dataclasses.fields(self))

    @property
    def wanted(self) -> int:
        """All but those that a rule skips."""
        return self.total - self.skipped

    @property
    def left(self) -> int:
        """Those that run, or may still run."""
        return self.running + self.to_do

    @property
    def unfinished(self) -> int:
        """Those that have no rows, though no rule skips them."""
        return self.left + self.failed + self.blocked


@dataclass(frozen=True)
class ColumnCounts:
    """How many columns are in which state: ``complete`` ones have nothing left to run and no
    failures, ``failed`` ones nothing left to run, and trials that failed or are blocked.
    """

    total: int
    complete: int
    running: int
    waiting: int
    failed: int


@dataclass(frozen=True)
class ColumnState:
    """One column of a run state: its trials by place, the flow at 0, then GD by ascending η.

    GD ``waits`` as long as the trial from which it starts has no result.
    """

    plan: ColumnPlan
    states: Codes
    results: Codes
    unplaced_running: int
    waits: bool = False

    @property
    def column(self) -> Column:
        """What the sweep asks for."""
        return self.plan.column

    @property
    def column_id(self) -> str:
        """The column's name."""
        return self.plan.column.column_id

    @property
    def counts(self) -> Counts:
        """Its trials by state."""
        by_state = np.bincount(self.states, minlength=len(State)).tolist()
        return Counts.of(by_state, self.unplaced_running)

    @property
    def blocked(self) -> str | None:
        """Why no GD trial can be laid out, if that is so."""
        if self.states[0] == State.FAILED:
            return "its flow failed"
        if self.plan.flow is None and (self.states == State.BLOCKED).any():
            return "its flow, which is another column's too, failed"
        if self.plan.blocked is None and (self.states == State.BLOCKED).any():
            return "the trial from which it starts failed or is blocked"
        return self.plan.blocked

    @property
    def complete(self) -> bool:
        """Whether nothing is left to run: every trial is settled, failed, skipped or blocked."""
        return not ((self.states == State.TO_DO) | (self.states == State.RUNNING)).any()

    @property
    def trials(self) -> Iterator[tuple[Trial, State]]:
        """The trials that are known, each with its state."""
        for place, trial in enumerate(self.plan.trials):
            yield trial, State(int(self.states[place]))

    def state_of(self, trial_id: str) -> State:
        """The state of a trial that is known."""
        return State(int(self.states[self.plan.places[trial_id]]))

    @functools.cached_property
    def ready(self) -> tuple[Trial, ...]:
        """The trials that may start now, by η."""
        if self.plan.flow is None:
            return self.plan.trials if self.states[0] == State.TO_DO else ()
        if self.blocked or self.waits:
            return ()
        stop = self.column.stop_after_divergences
        plan = self.plan
        places = may_start(self.states, self.results, plan.n_asked, plan.first_above, stop)
        return tuple(self.plan.trials[place] for place in places.tolist())
