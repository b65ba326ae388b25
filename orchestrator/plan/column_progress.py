"""Where a column stands: which of its trials may start now, and which are settled."""

from __future__ import annotations

import bisect
from collections.abc import Collection, Mapping
from enum import Enum

from jobs.spec import Trial
from orchestrator.plan.cost import descent_gradients, flow_gradients
from orchestrator.plan.facts import FlowFacts, SettledTrial
from orchestrator.sweep import AskedRate, Column

STABLE_LIMIT = 2.0
"""In units of η_c: below it, ``stop_after_divergences`` never applies, so that the bulk of a grid
runs in parallel without waiting for its neighbours."""


class State(Enum):
    """Of one trial of a column."""

    SETTLED = "settled"
    RUNNING = "running"
    FAILED = "failed"
    TO_DO = "to do"
    SKIPPED = "skipped"


class ColumnProgress:
    """The trials of one column: the flow first, and then GD at every learning rate.

    ``stop_after_divergences: k`` skips the learning rates above k neighbouring ones that diverged,
    counting only those above 2 η_c. A trial that could still be skipped is not started, so which
    trials run does not depend on how many run at once.
    """

    def __init__(
        self, column: Column, settled: Mapping[str, SettledTrial], failed: Collection[str] = ()
    ) -> None:
        self.column = column
        self.flow_trial = column.flow()
        self.flow: FlowFacts | None = None
        self._settled: dict[str, SettledTrial] = {}
        self._failed: set[str] = set()
        self._running: set[str] = set()
        self._descents: tuple[Trial, ...] = ()
        self._asked: dict[float, AskedRate] = {}
        self._first_above = 0
        self._states: dict[str, State] | None = None
        self.refresh(settled, failed)

    @property
    def column_id(self) -> str:
        """The column's name."""
        return self.column.column_id

    @property
    def critical_rate(self) -> float | None:
        """η_c of the smallest threshold, which lays the grid; None unless the flow reached it."""
        if self.flow is None:
            return None
        return self.flow.critical_rate(self.column.protocol.epsilons[-1])

    @property
    def blocked(self) -> str | None:
        """Why no GD trial can be laid out, if that is so."""
        if self.flow_trial.trial_id in self._failed:
            return "its flow failed"
        if self.flow is not None and self.critical_rate is None and self.column.needs("eta_c"):
            epsilon = self.column.protocol.epsilons[-1]
            return (
                f"its flow did not reach loss {epsilon:g} within stop.max_steps = "
                f"{self.column.protocol.max_steps}, so η_c is unknown; raise stop.max_steps or "
                "stop.epsilon, or give eta.values with unit: absolute"
            )
        if (
            self.flow is not None
            and self.flow.initial_rate is None
            and self.column.needs("init_sharpness")
        ):
            return (
                "its flow found no sharpness above 0 at the initial point, which is the unit of "
                "the learning rates; give eta.values with unit: absolute"
            )
        return None

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The trials known so far: the flow, and GD by ascending η once η_c is known."""
        return (self.flow_trial, *self._descents)

    @property
    def settled_seconds(self) -> float:
        """What its settled trials took."""
        return sum(settled.wall_s for settled in self._settled.values())

    @property
    def has_failures(self) -> bool:
        """Whether a trial failed and is not tried again."""
        return bool(self._failed)

    def forgiven(self, failed: Collection[str]) -> bool:
        """Whether a trial that failed here is not among those that count as failed now."""
        return not self._failed.issubset(failed)

    @property
    def unknown(self) -> int:
        """GD trials whose η is not known yet."""
        return self.column.n_rates if self.flow is None else 0

    def refresh(self, settled: Mapping[str, SettledTrial], failed: Collection[str] = ()) -> None:
        """Take in what the tables say now."""
        if self.flow is None and self.flow_trial.trial_id in settled:
            self.settle(settled[self.flow_trial.trial_id])
        for trial in self.trials:
            name = trial.trial_id
            if name in settled and name not in self._settled:
                self.settle(settled[name])
            elif name in failed and name not in settled:
                self.fail(name)

    def as_column(
        self, column: Column, settled: Mapping[str, SettledTrial], failed: Collection[str] = ()
    ) -> ColumnProgress:
        """The column with other learning rates, or handled otherwise; what runs goes on."""
        other = ColumnProgress(column, settled, failed)
        for name in self._running - other._settled.keys():
            other.start(name)
        return other

    def start(self, trial_id: str) -> None:
        """Note that a trial runs."""
        self._states = None
        self._running.add(trial_id)

    def settle(self, settled: SettledTrial) -> None:
        """Note that a trial's rows are in the tables."""
        self._states = None
        self._running.discard(settled.trial_id)
        self._failed.discard(settled.trial_id)
        self._settled[settled.trial_id] = settled
        if settled.trial_id == self.flow_trial.trial_id:
            self.flow = FlowFacts.of(settled)
            if not self.blocked:
                rates = self.column.learning_rates(self.critical_rate, self.flow.initial_rate)
                self._asked = rates
                self._descents = tuple(self.column.gd(rate) for rate in rates)
                limit = STABLE_LIMIT * (self.critical_rate or 0.0)
                self._first_above = bisect.bisect_right(list(rates), limit)

    def fail(self, trial_id: str) -> None:
        """Note that a trial failed and is not tried again."""
        self._states = None
        self._running.discard(trial_id)
        self._failed.add(trial_id)

    def release(self, trial_id: str) -> None:
        """Note that a trial stopped running without a result and may start again."""
        self._states = None
        self._running.discard(trial_id)

    def ready(self) -> list[Trial]:
        """The trials that may start now, the one with the most predicted gradients first."""
        if self.flow is None:
            flow = self.flow_trial
            waiting = flow.trial_id in self._running or flow.trial_id in self._failed
            return [] if waiting else [flow]
        known = self._settled.keys() | self._running | self._failed
        certain = self._descents[: self._first_after("diverged", "unknown")]
        return [trial for trial in certain if trial.trial_id not in known]

    def asked_rate(self, trial: Trial) -> AskedRate | None:
        """What the sweep file asks for where the trial stands; None for a flow."""
        return None if trial.learning_rate is None else self._asked[trial.learning_rate]

    def gradients_of(self, trial: Trial) -> float:
        """The predicted cost of a trial, in gradients."""
        if trial.learning_rate is None:
            return flow_gradients(self.column)
        return descent_gradients(self.column, trial.learning_rate, self.flow)

    def states(self) -> Mapping[str, State]:
        """Where each known trial stands, by its trial_id."""
        if self._states is None:  # asked for all columns again and again, while few change
            self._states = self._find_states()
        return self._states

    def _find_states(self) -> dict[str, State]:
        states: dict[str, State] = {}
        first_skipped = 1 + self._first_after("diverged")
        for index, trial in enumerate(self.trials):
            name = trial.trial_id
            if name in self._settled:
                states[name] = State.SETTLED
            elif name in self._running:
                states[name] = State.RUNNING
            elif name in self._failed:
                states[name] = State.FAILED
            else:
                states[name] = State.SKIPPED if index >= first_skipped else State.TO_DO
        return states

    @property
    def complete(self) -> bool:
        """Whether nothing is left to run: every trial is settled, failed or skipped."""
        if self.blocked:
            return True
        if self.flow is None:
            return False
        return not {State.RUNNING, State.TO_DO} & set(self.states().values())

    @property
    def flawless(self) -> bool:
        """Whether every trial has its rows, or was skipped by the rule."""
        return self.complete and not self._failed and self.blocked is None

    def _first_after(self, *kinds: str) -> int:
        """Index of the first GD trial above enough neighbours that are all of these kinds."""
        needed = self.column.stop_after_divergences
        if needed is None:
            return len(self._descents)
        length = 0
        for index in range(self._first_above, len(self._descents)):
            if length >= needed:
                return index
            length = length + 1 if self._kind(self._descents[index]) in kinds else 0
        return len(self._descents)

    def _kind(self, trial: Trial) -> str:
        settled = self._settled.get(trial.trial_id)
        if settled is not None:
            return "diverged" if settled.diverged else "stable"
        return "failed" if trial.trial_id in self._failed else "unknown"
