"""What a run directory stands for at one moment, as one immutable value, moved on by events."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from jobs.spec import Trial
from orchestrator.plan.column_plan import STABLE_LIMIT, ColumnPlan
from orchestrator.plan.layout import Handling, Layout
from orchestrator.plan.retry import Attempt, gives_up
from orchestrator.plan.settled_trials import NOTHING_SETTLED, SettledTrials, as_number, newest
from orchestrator.plan.states import Codes, Result, State, may_start, states_of
from orchestrator.sweep import Column, Unit

NONE: Mapping[Any, Any] = MappingProxyType({})

UNKNOWN_COLUMN = ""
"""Of attempts that were recorded before attempts named their columns."""


@dataclass(frozen=True)
class Counts:
    """How many trials are in which state. ``blocked`` ones cannot begin, for their flow failed or
    gives no learning rates; ``to_do`` has those whose η is not known yet.
    """

    settled: int = 0
    running: int = 0
    failed: int = 0
    blocked: int = 0
    skipped: int = 0
    to_do: int = 0

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
        """Those that run, or may run yet."""
        return self.running + self.to_do

    @property
    def unfinished(self) -> int:
        """Those that have no rows, though no rule skips them."""
        return self.left + self.failed + self.blocked


@dataclass(frozen=True)
class ColumnState:
    """One column of a :class:`RunState`: its trials by place, the flow at 0, then GD by η."""

    plan: ColumnPlan
    states: Codes
    results: Codes
    early: int

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
        found = np.bincount(self.states, minlength=len(State)).tolist()
        return _counts(found, self.early)

    @property
    def blocked(self) -> str | None:
        """Why no GD trial can be laid out, if that is so."""
        return "its flow failed" if self.states[0] == State.FAILED else self.plan.blocked

    @property
    def complete(self) -> bool:
        """Whether nothing is left to run: every trial is settled, failed, skipped or blocked."""
        return not ((self.states == State.TO_DO) | (self.states == State.RUNNING)).any()

    @property
    def flawless(self) -> bool:
        """Whether every trial has its rows, or was skipped by the rule."""
        bad = (self.states == State.FAILED) | (self.states == State.BLOCKED)
        return self.complete and not bad.any() and self.blocked is None

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
        if self.blocked:
            return ()
        stop = self.column.stop_after_divergences
        places = may_start(self.states, self.results, self.plan.first_above, stop)
        return tuple(self.plan.trials[place] for place in places.tolist())


@dataclass(frozen=True)
class RunningAttempt:
    """An attempt that runs, with its mark in the run directory where that was read."""

    attempt: int
    mark: Any = None


Tried = Mapping[str, Mapping[str, tuple[Attempt, ...]]]
"""The attempts on record of trials that are not settled: by column_id, then by trial_id."""


@dataclass(frozen=True, eq=False)
class RunState:
    """What a run directory stands for.

    It is made by :meth:`of`, for a directory in which nothing has happened, and then moved on by
    events: what the tables hold is taken in by the same :meth:`settled` and :meth:`tried` as what
    happens while a run works. Whichever way it came about, it is the same.

    Attributes:
        layout: the trials by number.
        plans: of each column, what its flow says and what follows from that.
        results: of each trial, a :class:`Result`.
        attempts: of each trial, the attempt that settled it; 0 for none.
        seconds: of each trial, what that attempt took.
        finished: of each column, when its newest result came; µs since the epoch, 0 for none.
        states: of each trial, its :class:`State`.
        counts: of each column, how many trials are in each state.
        others: settled trials that are of no column.
        history: the attempts of trials that are not settled.
        forgiven: the attempt up to which failures of a trial do not count, by trial_id.
        begun_after: the last attempt of a trial before this run, by trial_id: deaths of its process
            up to it do not count.
        running: the attempts that run, by the trial's number.
        handed_out: the last attempt of each trial that this run has handed out, by the trial's
            number; it may not have got as far as the record, and has its number all the same.
        early: of each column, running GD trials whose η is not known here yet.
        leases: those that are alive, by the place of their column in the sweep.
    """

    layout: Layout
    plans: tuple[ColumnPlan, ...]
    results: Codes
    attempts: npt.NDArray[np.int64]
    seconds: npt.NDArray[np.float64]
    finished: npt.NDArray[np.int64]
    states: Codes
    counts: npt.NDArray[np.int64]
    others: SettledTrials = NOTHING_SETTLED
    history: Tried = field(default_factory=dict)
    forgiven: Mapping[str, int] = field(default_factory=dict)
    begun_after: Mapping[str, int] = field(default_factory=dict)
    running: Mapping[int, RunningAttempt] = field(default_factory=dict)
    handed_out: Mapping[int, int] = field(default_factory=dict)
    early: Mapping[int, int] = field(default_factory=dict)
    leases: Mapping[int, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, columns: Sequence[Column]) -> RunState:
        """Nothing has happened yet."""
        layout = Layout(tuple(columns))
        n, c = layout.n_trials, len(layout.columns)
        counts = np.zeros((c, len(State)), dtype=np.int64)
        counts[:, State.TO_DO] = np.diff(layout.first)
        return cls(
            layout=layout,
            plans=tuple(ColumnPlan(column) for column in layout.columns),
            results=np.zeros(n, np.uint8),
            attempts=np.zeros(n, np.int64),
            seconds=np.zeros(n),
            finished=np.zeros(c, np.int64),
            states=np.full(n, State.TO_DO, np.uint8),
            counts=counts,
        )

    # What has happened.

    def settled(self, outcomes: SettledTrials) -> RunState:
        """Trials have their rows in the tables. Of each the newest attempt counts.

        A flow that settled before keeps the learning rates that it gave; whoever finds that a newer
        attempt of it says something else reads the tables afresh.
        """
        if not len(outcomes):
            return self
        plans, begun = self._with_flows(outcomes)
        # What was of no column's learning rates before its flow was known may be now.
        again = bool(begun) and len(self.others) > 0
        rows = newest([self.others, outcomes]) if again else outcomes
        targets, at = self._numbers(plans, rows, begun)
        placed = np.zeros(len(rows), dtype=bool)
        placed[at] = True
        left = rows.take(~placed)
        others = left if again else newest([self.others, left])
        at_last = np.argsort(rows.attempt[at], kind="stable")
        targets, at = targets[at_last], at[at_last]
        new = rows.attempt[at] >= self.attempts[targets]
        targets, at = targets[new], at[new]
        results, attempts, seconds = self.results.copy(), self.attempts.copy(), self.seconds.copy()
        results[targets] = np.where(rows.diverged[at], Result.DIVERGED, Result.STABLE)
        attempts[targets], seconds[targets] = rows.attempt[at], rows.seconds[at]
        columns = np.searchsorted(self.layout.first, targets, "right") - 1
        finished = self.finished.copy()
        np.maximum.at(finished, columns, rows.finished_at[at])
        changed = sorted({*np.unique(columns).tolist(), *self.layout.related(begun)})
        moved = dataclasses.replace(
            self,
            plans=plans,
            results=results,
            attempts=attempts,
            seconds=seconds,
            finished=finished,
            others=others,
            running=_without(self.running, targets.tolist()),
            handed_out=_without(self.handed_out, targets.tolist()),
            early=_without(self.early, begun),
        )
        return moved._restated(changed)

    def tried(self, attempts: Iterable[tuple[str, str | None, Attempt]]) -> RunState:
        """Attempts of trials are on record, given with trial_id and column_id: some failed or were
        lost or preempted. Those of settled trials change nothing.
        """
        history = dict(self.history)
        fresh: set[str] = set()
        for trial_id, column_id, attempt in attempts:
            name = column_id or UNKNOWN_COLUMN
            if name not in fresh:
                history[name] = dict(history.get(name, NONE))
                fresh.add(name)
            others = [a for a in history[name].get(trial_id, ()) if a.attempt != attempt.attempt]
            together = sorted((*others, attempt), key=lambda one: one.attempt)
            history[name][trial_id] = tuple(together)  # type: ignore[index]
        return dataclasses.replace(self, history=history)._restated(self._columns_of(fresh))

    def failed(self, trial_id: str, column_id: str, attempt: Attempt) -> RunState:
        """An attempt failed; whether the trial is tried again follows from its history."""
        return self.tried([(trial_id, column_id, attempt)]).stopped(trial_id, column_id)

    def lost(self, trial_id: str, column_id: str, attempt: Attempt) -> RunState:
        """An attempt ended with its process."""
        return self.failed(trial_id, column_id, attempt)

    def started(self, trial_id: str, column_id: str, work: RunningAttempt) -> RunState:
        """An attempt of a trial that is known runs. One that is settled stays so."""
        number = self._number(trial_id, column_id)
        if number is None or self.results[number] != Result.NONE:
            return self
        moved = dataclasses.replace(
            self,
            running={**self.running, number: work},
            handed_out={**self.handed_out, number: work.attempt},
        )
        return moved._restated([self.layout.column_of(number)])

    def stopped(self, trial_id: str, column_id: str) -> RunState:
        """A trial runs no longer; without a result it may start again."""
        number = self._number(trial_id, column_id)
        if number is None or number not in self.running:
            return self
        moved = dataclasses.replace(self, running=_without(self.running, [number]))
        return moved._restated([self.layout.column_of(number)])

    def rearmed(self, forgiven: Mapping[str, int]) -> RunState:
        """Failures of trials are forgiven up to an attempt; these are all that are."""
        if forgiven == self.forgiven:
            return self
        changed = {name for name, _ in forgiven.items() ^ self.forgiven.items()}
        names = {c for c, trials in self.history.items() if not changed.isdisjoint(trials)}
        moved = dataclasses.replace(self, forgiven=dict(forgiven))
        return moved._restated(self._columns_of(names))

    def begun(self) -> RunState:
        """A run begins: the deaths of trials' processes before do not count as failures."""
        last = {
            trial_id: tried[-1].attempt
            for trials in self.history.values()
            for trial_id, tried in trials.items()
        }
        moved = dataclasses.replace(self, begun_after=last)
        return moved._restated(self._columns_of(self.history))

    def extended(self, columns: Sequence[Column]) -> RunState:
        """The sweep has become these columns: more, or with other learning rates or handling.

        What is known of trials stays known; what is of no column any more is kept apart.
        """
        moved = dataclasses.replace(
            RunState.of(columns),
            history=self.history,
            forgiven=self.forgiven,
            begun_after=self.begun_after,
        )
        pairs = [(i, moved._same_work(column)) for i, column in enumerate(self.columns)]
        kept = {i: j for i, j in pairs if j is not None}
        moved = moved._as_in(self, kept)
        known = [self.others, *(self._outcomes_of(i) for i, j in pairs if j is None)]
        moved = moved.settled(newest(known))._restated(range(len(moved.plans)))
        return moved.with_work_of(self)

    def with_work_of(self, other: RunState) -> RunState:
        """With what another state knows of who works on what, and since when."""
        moved = dataclasses.replace(self, begun_after=other.begun_after, forgiven=other.forgiven)
        works = [(*other.named(number), work) for number, work in other.running.items()]
        leases = ((other.columns[i].column_id, lease) for i, lease in other.leases.items())
        index = moved.layout.index
        kept = {index[name]: lease for name, lease in leases if name in index}
        handed_out = {}
        for number, attempt in other.handed_out.items():
            here = moved._number(*other.named(number))
            if here is not None and moved.results[here] == Result.NONE:
                handed_out[here] = attempt
        moved = dataclasses.replace(moved, leases=kept, handed_out=handed_out).working(works)
        return moved._restated(moved._columns_of(moved.history))

    def working(self, works: Iterable[tuple[str, str, RunningAttempt]]) -> RunState:
        """These attempts run, given with trial_id and column_id, and no others."""
        before = {self.layout.column_of(number) for number in self.running}
        running: dict[int, RunningAttempt] = {}
        early: dict[int, int] = {}
        for trial_id, column_id, work in works:
            i = self.layout.index.get(column_id)
            if i is None:
                continue
            place = self.plans[i].places.get(trial_id)
            if place is None:
                early[i] = early.get(i, 0) + 1
            elif self.results[number := int(self.layout.first[i]) + place] == Result.NONE:
                running[number] = work
        after = {self.layout.column_of(number) for number in running}
        moved = dataclasses.replace(self, running=running, early=early)
        return moved._restated(sorted(before | after))

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
        its = self.layout.slot(i)
        return ColumnState(self.plans[i], self.states[its], self.results[its], self.early.get(i, 0))

    def __iter__(self) -> Iterator[ColumnState]:
        return map(self.column_at, range(len(self.plans)))

    @property
    def complete(self) -> npt.NDArray[np.bool_]:
        """Of each column, whether nothing is left to run."""
        done: npt.NDArray[np.bool_] = self.counts[:, [State.TO_DO, State.RUNNING]].sum(axis=1) == 0
        return done

    @property
    def total(self) -> Counts:
        """All trials by state."""
        early = sum(min(n, int(self.counts[i, State.TO_DO])) for i, n in self.early.items())
        return _counts(self.counts.sum(axis=0).tolist(), early)

    def last_on_record(self, trial_id: str, column_id: str) -> int:
        """The number of a trial's last attempt that is on record; 0 for none."""
        last = max((one.attempt for one in self._history(trial_id, column_id)), default=0)
        number = self._number(trial_id, column_id)
        return last if number is None else max(last, int(self.attempts[number]))

    def last_attempt(self, trial_id: str, column_id: str) -> int:
        """The number of a trial's last attempt, on record or handed out; 0 for none."""
        number = self._number(trial_id, column_id)
        handed_out = 0 if number is None else self.handed_out.get(number, 0)
        return max(self.last_on_record(trial_id, column_id), handed_out)

    def runs(self, trial_id: str, column_id: str) -> bool:
        """Whether an attempt of a trial runs."""
        return self._number(trial_id, column_id) in self.running

    def contradicts(self, outcomes: SettledTrials) -> bool:
        """Whether a flow has been computed again since it was taken in, and says something else."""
        at = np.flatnonzero(outcomes.is_flow)
        columns = self.layout.find(outcomes.column[at])
        for name, i in zip(outcomes.trial[at].tolist(), columns.tolist(), strict=True):
            known = None if i < 0 else self.plans[i].flow
            if known is not None and known != outcomes.flows[name]:
                return True
        return False

    def named(self, number: int) -> tuple[str, str]:
        """The trial_id and the column_id of a trial that is known."""
        i = self.layout.column_of(number)
        trial = self.plans[i].trials[number - int(self.layout.first[i])]
        return trial.trial_id, self.columns[i].column_id

    @property
    def older(self) -> int:
        """Trials of a version that named trials otherwise, which do not count.

        Their rows have no digest of their data, and are of columns that the sweep does not have.
        """
        return int((~self.others.digested & (self.layout.find(self.others.column) < 0)).sum())

    def suspect(self, trial_id: str, column_id: str) -> bool:
        """Whether the last attempt of a trial in this run failed, or ended with its process.

        On an unfit node any trial fails.
        """
        tried = self._history(trial_id, column_id)
        return (
            bool(tried)
            and tried[-1].failure_class not in (None, "unfit_node")
            and tried[-1].attempt > self.begun_after.get(trial_id, 0)
        )

    def begins_with(self, beginning: str) -> Iterator[str]:
        """The trials that are known or were tried whose trial_id begins so."""
        for plan in self.plans:
            yield from (name for name in plan.places if name.startswith(beginning))
        for trials in self.history.values():
            yield from (name for name in trials if name.startswith(beginning))

    def blocked_columns(self) -> Iterator[ColumnState]:
        """The columns of which GD trials cannot be laid out."""
        return map(self.column_at, np.flatnonzero(self.counts[:, State.BLOCKED]).tolist())

    def failures(self) -> Iterator[tuple[ColumnState, Trial]]:
        """The trials that failed and are not tried again."""
        for i in np.flatnonzero(self.counts[:, State.FAILED]).tolist():
            column = self.column_at(i)
            for trial, state in column.trials:
                if state == State.FAILED:
                    yield column, trial

    # How events are worked out.

    def _number(self, trial_id: str, column_id: str) -> int | None:
        """The number of a trial; None of one that is not known."""
        i = self.layout.index.get(column_id)
        place = None if i is None else self.plans[i].places.get(trial_id)
        return None if i is None or place is None else int(self.layout.first[i]) + place

    def _history(self, trial_id: str, column_id: str) -> tuple[Attempt, ...]:
        """The attempts of a trial on record, by whichever of its columns they were made."""
        i = self.layout.index[column_id]
        names = [self.layout.columns[r].column_id for r in self.layout.related([i])]
        found = [
            attempt
            for name in (*names, UNKNOWN_COLUMN)
            for attempt in self.history.get(name, NONE).get(trial_id, ())
        ]
        return tuple(sorted(found, key=lambda one: one.attempt))

    def _columns_of(self, names: Iterable[str]) -> list[int]:
        """The columns that attempts under these column_ids are of; all for unknown ones."""
        names = set(names)
        if UNKNOWN_COLUMN in names:
            return list(range(len(self.plans)))
        known = [self.layout.index[name] for name in names if name in self.layout.index]
        return sorted(self.layout.related(known))

    def _with_flows(self, outcomes: SettledTrials) -> tuple[tuple[ColumnPlan, ...], list[int]]:
        """The plans with the flows among outcomes, and the columns whose flow is new."""
        at = np.flatnonzero(outcomes.is_flow)
        if not len(at):
            return self.plans, []
        plans, begun = list(self.plans), []
        columns = self.layout.find(outcomes.column[at])
        for name, i in zip(outcomes.trial[at].tolist(), columns.tolist(), strict=True):
            if i >= 0 and plans[i].flow is None:
                plans[i] = ColumnPlan(plans[i].column, outcomes.flows[name])
                begun.append(i)
        return tuple(plans), begun

    def _numbers(
        self, plans: Sequence[ColumnPlan], rows: SettledTrials, begun: Sequence[int]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Which trials the rows are of: pairs of a number and the row."""
        columns = self.layout.find(rows.column)
        flows = np.flatnonzero(rows.is_flow & (columns >= 0))
        numbers, at = [self.layout.first[columns[flows]]], [flows]
        descents = np.flatnonzero(~rows.is_flow & (columns >= 0))
        own = columns[descents]
        if relatives := self.layout.relatives:
            groups = [relatives.get(i, (i,)) for i in own.tolist()]
            descents = np.repeat(descents, [len(group) for group in groups])
            own = np.array([i for group in groups for i in group], dtype=np.int64)
        found = self._places(plans, own, rows.eta[descents])
        numbers.append(self.layout.first[own][found > 0] + found[found > 0])
        at.append(descents[found > 0])
        strangers = np.flatnonzero(~rows.is_flow & (columns < 0))
        if len(strangers):
            more_numbers, more_at = self._by_name(plans, rows, strangers, begun)
            numbers.append(more_numbers)
            at.append(more_at)
        return np.concatenate(numbers), np.concatenate(at)

    def _places(
        self,
        plans: Sequence[ColumnPlan],
        columns: npt.NDArray[np.int64],
        etas: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.int64]:
        """The place of GD at each η in its column; 0 where the column has none such."""
        found = np.zeros(len(columns), dtype=np.int64)
        kinds, kind_of = self.layout.handling
        of_rows = kind_of[columns]
        for kind in np.unique(of_rows).tolist():
            at = np.flatnonzero(of_rows == kind)
            multiples = kinds[kind].multiples
            if multiples is None:
                for row in at.tolist():
                    laid_out = list(plans[int(columns[row])].learning_rates)
                    found[row] = 1 + laid_out.index(etas[row]) if etas[row] in laid_out else 0
                continue
            its_columns, inverse = np.unique(columns[at], return_inverse=True)
            unit = kinds[kind].etas[0].unit
            scales = np.array([_scale(plans[i], unit) for i in its_columns.tolist()])
            scale, eta = scales[inverse], etas[at]
            near = np.searchsorted(multiples, eta / scale)
            for shift in (-1, 0, 1):
                place = np.clip(near + shift, 0, len(multiples) - 1)
                hit = multiples[place] * scale == eta
                found[at[hit]] = 1 + place[hit]
        return found

    def _by_name(
        self,
        plans: Sequence[ColumnPlan],
        rows: SettledTrials,
        strangers: npt.NDArray[np.int64],
        begun: Sequence[int],
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Trials whose names are those of rows of columns that the sweep does not have."""
        order = strangers[np.argsort(rows.trial[strangers])]
        ordered = rows.trial[order]
        to_do = np.flatnonzero(self.counts[:, State.TO_DO]).tolist()
        numbers: list[int] = []
        at: list[int] = []
        for i in sorted({*begun, *(i for i in to_do if plans[i].flow is not None)}):
            names = plans[i].names[1:]
            near = np.minimum(np.searchsorted(ordered, names), len(ordered) - 1)
            for place in np.flatnonzero(ordered[near] == names).tolist():
                numbers.append(int(self.layout.first[i]) + 1 + place)
                at.append(int(order[near[place]]))
        return np.array(numbers, dtype=np.int64), np.array(at, dtype=np.int64)

    def _same_work(self, column: Column) -> int | None:
        """The column that has the same trials in the same places as one of another sweep."""
        i = self.layout.index.get(column.column_id)
        return None if i is None or self.columns[i].etas != column.etas else i

    def _as_in(self, other: RunState, kept: Mapping[int, int]) -> RunState:
        """With what another state knows of columns, given by its places and those here."""
        plans = list(self.plans)
        names = ("results", "attempts", "seconds")
        arrays = {name: getattr(self, name).copy() for name in names}
        finished = self.finished.copy()
        for i, j in kept.items():
            plans[j] = ColumnPlan(self.columns[j], other.plans[i].flow)
            finished[j] = other.finished[i]
            for name in names:
                arrays[name][self.layout.slot(j)] = getattr(other, name)[other.layout.slot(i)]
        return dataclasses.replace(self, plans=tuple(plans), finished=finished, **arrays)

    def _outcomes_of(self, i: int) -> SettledTrials:
        """What is settled of a column, as if it were read from the tables."""
        plan, its = self.plans[i], self.layout.slot(i)
        places = np.flatnonzero(self.results[its] != Result.NONE)
        names, flow = plan.names, plan.flow
        return SettledTrials(
            trial=names[places],
            column=np.full(len(places), as_number(plan.column.column_id), dtype=np.uint64),
            is_flow=places == 0,
            eta=np.array([np.nan, *plan.learning_rates])[places],
            attempt=self.attempts[its][places],
            diverged=self.results[its][places] == Result.DIVERGED,
            seconds=self.seconds[its][places],
            finished_at=np.full(len(places), self.finished[i]),
            digested=np.ones(len(places), dtype=bool),
            flows={} if flow is None else {int(names[0]): flow},
        )

    def _restated(self, columns: Sequence[int]) -> RunState:
        """With the states of the trials of some columns by what is known now."""
        if not len(columns):
            return self
        states, counts = self.states.copy(), self.counts.copy()
        failed, running = np.zeros_like(states, dtype=bool), np.zeros_like(states, dtype=bool)
        failed[self._failures(columns)] = True
        running[list(self.running)] = True
        chosen = np.asarray(columns, dtype=np.int64)
        kinds, kind_of = self.layout.handling
        for kind in np.unique(kind_of[chosen]).tolist():
            handling, its = kinds[kind], chosen[kind_of[chosen] == kind]
            size = int(self.layout.first[its[0] + 1] - self.layout.first[its[0]])
            numbers = self.layout.first[its][:, None] + np.arange(size)
            laid_out, blocked, known, first_above = self._laid_out(handling, its)
            new = states_of(
                self.results[numbers],
                failed[numbers],
                running[numbers],
                laid_out=laid_out,
                blocked=blocked,
                known=known,
                first_above=first_above,
                stop_after_divergences=handling.stop_after_divergences,
            )
            states[numbers] = new
            counts[its] = np.stack([(new == state).sum(axis=1) for state in State], axis=1)
        return dataclasses.replace(self, states=states, counts=counts)

    def _laid_out(
        self, handling: Handling, columns: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[Any], ...]:
        """Of columns with one handling: whether their learning rates are known, whether the flow's
        result gives none, how many there are, and the place of the first above 2 η_c.
        """
        plans = [self.plans[i] for i in columns.tolist()]
        begun = np.array([plan.flow is not None for plan in plans])
        if handling.multiples is None:
            blocked = np.array([plan.blocked is not None for plan in plans])
            known = np.array([len(plan.learning_rates) for plan in plans])
            first_above = np.array([plan.first_above for plan in plans])
            return begun & ~blocked, blocked, known, first_above
        scales = np.array([_scale(plan, handling.etas[0].unit) for plan in plans])
        blocked = begun & np.isnan(scales)
        limits = STABLE_LIMIT * np.array([plan.critical_rate or 0.0 for plan in plans])
        below = handling.multiples * scales[:, None] <= limits[:, None]
        known = np.full(len(plans), len(handling.multiples))
        return begun & ~blocked, blocked, known, 1 + below.sum(axis=1)

    def _failures(self, columns: Sequence[int]) -> list[int]:
        """The numbers of those trials of some columns that are not tried again."""
        if not self.history:
            return []
        found = []
        unknown = self.history.get(UNKNOWN_COLUMN, NONE)
        for i in columns:
            names = [self.columns[r].column_id for r in self.layout.related([i])]
            tried = {name for n in names for name in self.history.get(n, NONE)} | unknown.keys()
            for trial_id in tried:
                history = self._history(trial_id, self.columns[i].column_id)
                forgiven, before = self.forgiven.get(trial_id, 0), self.begun_after.get(trial_id, 0)
                if gives_up(history, forgiven, before):
                    place = self.plans[i].places.get(trial_id)
                    found += [] if place is None else [int(self.layout.first[i]) + place]
        return found


def _scale(plan: ColumnPlan, unit: Unit) -> float:
    """η of a multiple 1 of a unit; NaN where it is not known."""
    if unit == "absolute":
        return 1.0
    scale = plan.critical_rate if unit == "eta_c" else plan.initial_rate
    return np.nan if scale is None else scale


def _counts(by_state: Sequence[int], early: int) -> Counts:
    """Of the numbers of trials by :class:`State`, so many of which run but are not known yet."""
    early = min(early, by_state[State.TO_DO])
    return Counts(
        settled=by_state[State.SETTLED],
        running=by_state[State.RUNNING] + early,
        failed=by_state[State.FAILED],
        skipped=by_state[State.SKIPPED],
        blocked=by_state[State.BLOCKED],
        to_do=by_state[State.TO_DO] - early,
    )


def _without(known: Mapping[int, Any], names: Iterable[int]) -> Mapping[int, Any]:
    gone = known.keys() & set(names) if known else ()
    return {name: value for name, value in known.items() if name not in gone} if gone else known
