"""What a run directory stands for at one moment, as one immutable value, moved on by events."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from jobs.spec import StateName, Trial
from orchestrator.plan.column_plan import ColumnPlan
from orchestrator.plan.column_state import ColumnCounts, ColumnState, Counts
from orchestrator.plan.history import NO_HISTORY, UNKNOWN_COLUMN, Attempt, History
from orchestrator.plan.layout import Layout
from orchestrator.plan.placing import placed, with_flows
from orchestrator.plan.rounds import with_next_rates
from orchestrator.plan.settled_trials import NOTHING_SETTLED, SettledTrials, newest
from orchestrator.plan.states import Codes, Result, State, states_of
from orchestrator.sweep import Column

OF_TRIALS = ("results", "attempts", "seconds", "reached", "sharpness", "test_loss")


@dataclass(frozen=True)
class RunningAttempt:
    """An attempt that runs, with its mark in the run directory where that was read."""

    attempt: int
    mark: Any = None


@dataclass(frozen=True, eq=False)
class RunState:
    """What a run directory stands for.

    It is made by :meth:`of`, for a directory in which nothing has happened, and then moved on by
    events: what the tables hold is taken in by the same :meth:`settled` and :meth:`tried` as what
    happens while a run works. Whichever way it came about, it is the same.

    Attributes:
        layout: the trials by number.
        plans: of each column, the summary of its flow and what follows from that.
        results: of each trial, a :class:`Result`.
        attempts: of each trial, the attempt that settled it; 0 for none.
        seconds: of each trial, what that attempt took.
        reached, sharpness, test_loss: of each trial, what it found at its smallest ε.
        finished: of each column, when its newest result came; µs since the epoch, 0 for none.
        states: of each trial, its :class:`State`.
        counts: of each column, how many trials are in each state.
        unplaced: settled trials that are of no column.
        history: the attempts of trials that are not settled.
        running: the attempts that run, by the trial's number.
        handed_out: the last attempt of each trial that this run has handed out, by the trial's
            number; it may not have got as far as the record, and has its number all the same.
        unplaced_running: of each column, running GD trials whose η is not known here yet.
        leases: those that are alive, by the place of their column in the sweep.
    """

    layout: Layout
    plans: tuple[ColumnPlan, ...]
    results: Codes
    attempts: npt.NDArray[np.int64]
    seconds: npt.NDArray[np.float64]
    reached: npt.NDArray[np.bool_]
    sharpness: npt.NDArray[np.float64]
    test_loss: npt.NDArray[np.float64]
    finished: npt.NDArray[np.int64]
    states: Codes
    counts: npt.NDArray[np.int64]
    unplaced: SettledTrials = NOTHING_SETTLED
    history: History = NO_HISTORY
    running: Mapping[int, RunningAttempt] = field(default_factory=dict)
    handed_out: Mapping[int, int] = field(default_factory=dict)
    unplaced_running: Mapping[int, int] = field(default_factory=dict)
    leases: Mapping[int, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, columns: Sequence[Column]) -> RunState:
        """Nothing has happened yet."""
        layout = Layout(tuple(columns))
        n, c = layout.n_trials, len(layout.columns)
        counts = np.zeros((c, len(State)), dtype=np.int64)
        counts[:, State.TO_DO] = [1 + column.n_rates for column in columns] - layout.flowless
        counts[:, State.ABSENT] = layout.flowless
        states = np.full(n, State.TO_DO, np.uint8)
        states[layout.first[:-1][layout.flowless]] = State.ABSENT
        for i, column in enumerate(columns):
            if column.refine is not None:  # places that further rates may have
                states[layout.slot(i)][1 + column.n_rates :] = State.ABSENT
                counts[i, State.ABSENT] += column.refine.most
        return cls(
            layout=layout,
            plans=tuple(ColumnPlan(column) for column in layout.columns),
            results=np.zeros(n, np.uint8),
            attempts=np.zeros(n, np.int64),
            seconds=np.zeros(n),
            reached=np.zeros(n, bool),
            sharpness=np.full(n, np.nan),
            test_loss=np.full(n, np.nan),
            finished=np.zeros(c, np.int64),
            states=states,
            counts=counts,
        )

    # What has happened.

    def settled(self, trials: SettledTrials) -> RunState:
        """Trials have their rows in the tables. Of each the newest attempt counts.

        A flow that settled before keeps the learning rates that it gave; whoever finds that a newer
        attempt of it says something else reads all tables again.
        """
        if not len(trials):
            return self
        plans, begun = with_flows(self.layout, self.plans, trials)
        # What was of no column's learning rates before its flow was known may be now.
        again = bool(begun) and len(self.unplaced) > 0
        rows = newest([self.unplaced, trials]) if again else trials
        to_do = self.counts[:, State.TO_DO] > 0
        targets, at = placed(self.layout, plans, rows, begun, to_do)
        left = np.ones(len(rows), dtype=bool)
        left[at] = False
        at_last = np.argsort(rows.attempt[at], kind="stable")
        targets, at = targets[at_last], at[at_last]
        new = rows.attempt[at] >= self.attempts[targets]
        targets, at = targets[new], at[new]
        arrays = {name: getattr(self, name).copy() for name in OF_TRIALS}
        found = np.where(rows.diverged[at], Result.DIVERGED, Result.STABLE)
        arrays["results"][targets] = np.where(rows.no_start[at], Result.NO_START, found)
        arrays["attempts"][targets] = rows.attempt[at]
        for name in OF_TRIALS[2:]:
            arrays[name][targets] = getattr(rows, name)[at]
        columns = np.searchsorted(self.layout.first, targets, "right") - 1
        finished = self.finished.copy()
        np.maximum.at(finished, columns, rows.finished_at[at])
        changed = sorted({*np.unique(columns).tolist(), *self.layout.related(begun)})
        moved = dataclasses.replace(
            self,
            plans=plans,
            **arrays,
            finished=finished,
            unplaced=newest([NOTHING_SETTLED if again else self.unplaced, rows.take(left)]),
            running=_without(self.running, targets.tolist()),
            handed_out=_without(self.handed_out, targets.tolist()),
            unplaced_running=_without(self.unplaced_running, begun),
        )
        return with_next_rates(moved.restated(changed), changed)

    def tried(self, attempts: Iterable[tuple[str, str | None, Attempt]]) -> RunState:
        """Attempts are on record, given with trial_id and column_id: some failed or were lost or
        preempted. Those of settled trials change nothing.
        """
        history, changed = self.history.with_attempts(attempts)
        return dataclasses.replace(self, history=history).restated(self.columns_of(changed))

    def failed(self, trial_id: str, column_id: str, attempt: Attempt) -> RunState:
        """An attempt failed or was lost; its history says whether the trial is tried again."""
        return self.tried([(trial_id, column_id, attempt)]).stopped(trial_id, column_id)

    def started(self, trial_id: str, column_id: str, attempt: RunningAttempt) -> RunState:
        """An attempt of a trial that is known runs. One that is settled stays so."""
        number = self.number(trial_id, column_id)
        if number is None or self.results[number] != Result.NONE:
            return self
        moved = dataclasses.replace(
            self,
            running={**self.running, number: attempt},
            handed_out={**self.handed_out, number: attempt.attempt},
        )
        return moved.restated([self.layout.column_of(number)])

    def stopped(self, trial_id: str, column_id: str) -> RunState:
        """A trial runs no longer; without a result it may start again."""
        number = self.number(trial_id, column_id)
        if number is None or number not in self.running:
            return self
        moved = dataclasses.replace(self, running=_without(self.running, [number]))
        return moved.restated([self.layout.column_of(number)])

    def rearmed(self, rearmed_after: Mapping[str, int]) -> RunState:
        """Failures of trials are forgiven up to an attempt; of all other trials none is."""
        before = self.history.rearmed_after
        if rearmed_after == before:
            return self
        changed = {name for name, _ in rearmed_after.items() ^ before.items()}
        names = {c for c, its in self.history.attempts.items() if not changed.isdisjoint(its)}
        history = dataclasses.replace(self.history, rearmed_after=dict(rearmed_after))
        return dataclasses.replace(self, history=history).restated(self.columns_of(names))

    def begun(self) -> RunState:
        """A run begins: the deaths of trials' processes before do not count as failures."""
        moved = dataclasses.replace(self, history=self.history.begun())
        return moved.restated(self.columns_of(self.history.attempts))

    def working(self, attempts: Iterable[tuple[str, str, RunningAttempt]]) -> RunState:
        """These attempts run, given with trial_id and column_id, and no others."""
        before = {self.layout.column_of(number) for number in self.running}
        running: dict[int, RunningAttempt] = {}
        unplaced: dict[int, int] = {}
        for trial_id, column_id, attempt in attempts:
            number, i = self.number(trial_id, column_id), self.layout.index.get(column_id)
            if number is not None and self.results[number] == Result.NONE:
                running[number] = attempt
            elif number is None and i is not None:
                unplaced[i] = unplaced.get(i, 0) + 1
        after = {self.layout.column_of(number) for number in running}
        moved = dataclasses.replace(self, running=running, unplaced_running=unplaced)
        return moved.restated(sorted(before | after))

    # What can be asked.

    @property
    def columns(self) -> tuple[Column, ...]:
        """What the sweep asks for."""
        return self.layout.columns

    def column(self, column_id: str) -> ColumnState:
        """One column, by its column_id."""
        return self.column_at(self.layout.index[column_id])

    def column_at(self, i: int) -> ColumnState:
        """One column, by its place in the sweep."""
        its, early = self.layout.slot(i), self.unplaced_running.get(i, 0)
        waits = self.of_parents(self.states, [i])[0] in (State.TO_DO, State.RUNNING)
        return ColumnState(self.plans[i], self.states[its], self.results[its], early, waits)

    def __iter__(self) -> Iterator[ColumnState]:
        return map(self.column_at, range(len(self.plans)))

    @property
    def complete(self) -> npt.NDArray[np.bool_]:
        """Of each column, whether nothing is left to run."""
        done: npt.NDArray[np.bool_] = self.counts[:, [State.TO_DO, State.RUNNING]].sum(axis=1) == 0
        return done

    @property
    def flawed(self) -> npt.NDArray[np.bool_]:
        """Of each column, whether trials failed or are blocked."""
        bad: npt.NDArray[np.bool_] = self.counts[:, [State.FAILED, State.BLOCKED]].sum(axis=1) > 0
        return bad

    @property
    def active(self) -> npt.NDArray[np.bool_]:
        """Of each column, whether a run works on it and something is left to run."""
        active = self.counts[:, State.RUNNING] > 0
        active[[*self.leases, *self.unplaced_running]] = True
        return active & ~self.complete

    @property
    def waiting(self) -> npt.NDArray[np.bool_]:
        """Of each column, whether nothing can start before another column's flow or trial ends."""
        without = np.array([plan.flow is None for plan in self.plans], dtype=bool)
        found: npt.NDArray[np.bool_] = self.layout.flowless & without
        children = [i for i in self.layout.parents if self.layout.flowless[i] or not without[i]]
        if children:
            states = self.of_parents(self.states, children)
            found[children] |= (states == State.TO_DO) | (states == State.RUNNING)
        return found

    def starts_at(self, trial: Trial, column_id: str) -> tuple[StateName, ...]:
        """The states of a trial at which trials of other columns begin."""
        if (i := self.layout.index.get(column_id)) is None:
            return ()
        children = (self.plans[child] for child in self.layout.children.get(i, ()))
        states = (
            plan.column.start.state
            for plan in children
            if plan.column.start is not None and plan.parent == trial
        )
        return tuple(dict.fromkeys(states))

    @property
    def total_columns(self) -> ColumnCounts:
        """All columns by state."""
        complete, flawed, active = self.complete, self.flawed, self.active
        return ColumnCounts(
            total=len(complete),
            complete=int((complete & ~flawed).sum()),
            running=int(active.sum()),
            waiting=int((~complete & ~active).sum()),
            failed=int((complete & flawed).sum()),
        )

    @property
    def total(self) -> Counts:
        """All trials by state."""
        to_do = self.counts[:, State.TO_DO]
        early = sum(min(n, int(to_do[i])) for i, n in self.unplaced_running.items())
        return Counts.of(self.counts.sum(axis=0).tolist(), early)

    def number(self, trial_id: str, column_id: str) -> int | None:
        """The number of a trial; None of one that is not known."""
        i = self.layout.index.get(column_id)
        place = None if i is None else self.plans[i].places.get(trial_id)
        return None if i is None or place is None else int(self.layout.first[i]) + place

    def named(self, number: int) -> tuple[str, str]:
        """The trial_id and the column_id of a trial that is known."""
        i = self.layout.column_of(number)
        trial = self.plans[i].trials[number - int(self.layout.first[i])]
        return trial.trial_id, self.columns[i].column_id

    def last_on_record(self, trial_id: str, column_id: str) -> int:
        """The number of a trial's last attempt that is on record; 0 for none."""
        attempts = self.history.of(trial_id, self._sharing(column_id))
        number = self.number(trial_id, column_id)
        settled = 0 if number is None else int(self.attempts[number])
        return max(settled, attempts[-1].attempt if attempts else 0)

    def last_attempt(self, trial_id: str, column_id: str) -> int:
        """The number of a trial's last attempt, on record or handed out; 0 for none."""
        number = self.number(trial_id, column_id)
        handed_out = 0 if number is None else self.handed_out.get(number, 0)
        return max(self.last_on_record(trial_id, column_id), handed_out)

    def suspect(self, trial_id: str, column_id: str) -> bool:
        """Whether the last attempt of a trial in this run failed, or ended with its process."""
        return self.history.suspect(trial_id, self._sharing(column_id))

    def contradicts(self, trials: SettledTrials) -> bool:
        """Whether a flow has been computed again since it was taken in, and says something else."""
        at = np.flatnonzero(trials.is_flow)
        columns = self.layout.find(trials.column[at])
        for name, i in zip(trials.trial[at].tolist(), columns.tolist(), strict=True):
            known = None if i < 0 else self.plans[i].flow
            if known is not None and known != trials.flows[name]:
                return True
        return False

    @property
    def older(self) -> int:
        """Trials of a version that named trials otherwise, which do not count.

        Their rows have no digest of their data, and are of columns that the sweep does not have.
        """
        foreign = self.layout.find(self.unplaced.column) < 0
        return int((~self.unplaced.digested & foreign).sum())

    def begins_with(self, beginning: str) -> Iterator[str]:
        """The trials that are known or were tried whose trial_id begins so."""
        for names in (*(plan.places for plan in self.plans), *self.history.attempts.values()):
            yield from (name for name in names if name.startswith(beginning))

    def blocked_places(self) -> list[int]:
        """The places in the sweep of the columns of which GD trials cannot be laid out."""
        places: list[int] = np.flatnonzero(self.counts[:, State.BLOCKED]).tolist()
        return places

    def blocked_columns(self) -> Iterator[ColumnState]:
        """The columns of which GD trials cannot be laid out."""
        return map(self.column_at, self.blocked_places())

    def failures(self) -> Iterator[tuple[ColumnState, Trial]]:
        """The trials that failed and are not tried again."""
        for i in np.flatnonzero(self.counts[:, State.FAILED]).tolist():
            column = self.column_at(i)
            yield from ((column, trial) for trial, state in column.trials if state == State.FAILED)

    # How events are worked out.

    def _sharing(self, column_id: str) -> list[str]:
        """A column and those that share its trials, by column_id."""
        related = self.layout.related([self.layout.index[column_id]])
        return [self.columns[i].column_id for i in related]

    def columns_of(self, column_ids: Iterable[str]) -> list[int]:
        """The columns that attempts under these column_ids are of; all for unknown ones."""
        names = set(column_ids)
        if UNKNOWN_COLUMN in names:
            return list(range(len(self.plans)))
        known = [self.layout.index[name] for name in names if name in self.layout.index]
        return sorted(self.layout.related(known))

    def restated(self, columns: Sequence[int]) -> RunState:
        """With the states of the trials of some columns by what is known now."""
        if not len(columns):
            return self
        columns = self.layout.descendants(columns)
        states, counts = self.states.copy(), self.counts.copy()
        failed, running = np.zeros_like(states, dtype=bool), np.zeros_like(states, dtype=bool)
        failed[self._failures(columns)] = True
        running[list(self.running)] = True
        chosen = np.asarray(columns, dtype=np.int64)
        generations = self.layout.generation[chosen]
        for generation in range(int(generations.max()) + 1):  # states depend on those of parents
            for handling, its, numbers in self.layout.alike(chosen[generations == generation]):
                states[numbers] = new = states_of(
                    self.results[numbers],
                    failed[numbers],
                    running[numbers],
                    self.layout.flowless[its],
                    self.of_parents(states, its.tolist()),
                    *handling.laid_out([self.plans[i] for i in its.tolist()]),
                    handling.stop_after_divergences,
                )
                counts[its] = np.stack([(new == state).sum(axis=1) for state in State], axis=1)
        return dataclasses.replace(self, states=states, counts=counts)

    def of_parents(self, states: Codes, columns: Sequence[int]) -> Codes:
        """The state of the trial from which each of some columns starts; SETTLED for none."""
        parents = self.layout.parents
        found = np.full(len(columns), State.SETTLED, dtype=np.uint8)
        for place, i in enumerate(columns if parents else ()):
            if (above := parents.get(i)) is not None:
                found[place] = self._of_parent(states, i, above)
        return found

    def _of_parent(self, states: Codes, i: int, above: int) -> int:
        parent, its = self.plans[i].parent, self.layout.slot(above)
        place = None if parent is None else self.plans[above].places.get(parent.trial_id)
        if place is not None:
            return int(states[its][place])
        of_column = states[its][1:]
        same = of_column[0] if (of_column == of_column[0]).all() else State.TO_DO
        return int(same if same in (State.BLOCKED, State.SKIPPED) else State.TO_DO)

    def _failures(self, columns: Sequence[int]) -> list[int]:
        """The numbers of those trials of some columns that are not tried again."""
        if not self.history.attempts:
            return []
        found = []
        for i in columns:
            sharing = self._sharing(self.columns[i].column_id)
            for trial_id in self.history.trials(sharing):
                if self.history.gives_up(trial_id, sharing):
                    place = self.plans[i].places.get(trial_id)
                    found += [] if place is None else [int(self.layout.first[i]) + place]
        return found


def _without(known: Mapping[int, Any], numbers: Iterable[int]) -> Mapping[int, Any]:
    """A mapping without these numbers; itself where it has none of them."""
    if not known or known.keys().isdisjoint(gone := set(numbers)):
        return known
    return {number: value for number, value in known.items() if number not in gone}
