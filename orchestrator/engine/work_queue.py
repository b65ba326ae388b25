"""The work queue: leases columns, hands out their trials in order, takes in what comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jobs.spec import Trial
from orchestrator.cluster import Node
from orchestrator.engine.capacity import NodePool, UnfitNodeError, batch_size, may_batch
from orchestrator.engine.under_way import UnderWay
from orchestrator.engine.work import Assignment, Provenance, Report, TrialProgress, Work
from orchestrator.first_line import first_line
from orchestrator.ledger import (
    Leases,
    Ledger,
    Mark,
    read_marks,
    wait_for_death,
)
from orchestrator.ledger.data_digests import DataDigest, DataKey
from orchestrator.ledger.process import ProcessIdentity
from orchestrator.plan import (
    Attempt,
    Batching,
    ColumnCounts,
    ColumnState,
    Counts,
    FailureClass,
    GradientSeconds,
    Ready,
    RunningAttempt,
    RunState,
    State,
    extended,
    first_work,
    predict,
    seconds_to_go,
)
from orchestrator.sweep import Column, Resources

START_SECONDS = 5.0
"""How long another worker takes to start; it is not started for work that takes less in all."""

SWEEP_SECONDS = 5.0
"""Between two checks for additions to the sweep, while there is work."""

CLOSE_SECONDS = 5.0
"""How long :meth:`WorkQueue.close` waits for a call that is under way."""

REPORTS_PER_SECOND = 50
"""Of all running trials together; Tune's controller handles ten times as many."""

Candidate = tuple[ColumnState, Trial, float]
"""A trial that may start: its column, and its predicted seconds."""


class QueueClosedError(BaseException):
    """Raised in an abandoned thread that calls a closed queue, to end its caller."""


@dataclass(frozen=True)
class Snapshot:
    """The progress of a run at one moment. Times in seconds."""

    columns: ColumnCounts
    trials: Counts
    running: tuple[TrialProgress, ...]
    remaining_s: float | None


@dataclass
class WorkQueue:
    """Hands out :class:`Work` until every column that this run can lease is complete.

    ``state`` is the state of the run directory as far as it was read.
    """

    run: Path
    state: RunState
    leases: Leases
    ledger: Ledger
    provenance: Provenance
    stop_file: Path
    slots: int = 1
    memory_per_cpu: int | None = None
    logged: bool = False
    data: Mapping[DataKey, DataDigest] = field(default_factory=dict)
    gradient_seconds: GradientSeconds = field(default_factory=dict)
    batching: Batching = field(default_factory=Batching)
    warn: Callable[[str], None] = print
    may_begin: Callable[[], bool] = lambda: True
    grown: Callable[[], Sequence[Column] | None] = lambda: None
    halted: str | None = field(init=False, default=None)
    stranded: str | None = field(init=False, default=None)
    nodes: NodePool = field(init=False, default_factory=NodePool)
    _progress: dict[str, TrialProgress] = field(init=False, default_factory=dict)
    _works: UnderWay = field(init=False)
    _scarce_since: float | None = field(init=False, default=None)
    _sweep_read_at: float = field(init=False, default=-SWEEP_SECONDS)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)
    _closed: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        hold_file = self.stop_file.with_name(self.stop_file.name.replace("stop", "hold", 1))
        self._works = UnderWay(hold_file)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Held by the thread that hands out works and takes in their ends.

        Raises:
            QueueClosedError: the queue is closed.
        """
        with self._lock:
            if self._closed:
                raise QueueClosedError
            yield

    def close(self) -> None:
        """Admit no other thread from now on, and wait for the one that is within."""
        self._closed = True
        if self._lock.acquire(timeout=CLOSE_SECONDS):
            self._lock.release()

    @property
    def columns(self) -> tuple[Column, ...]:
        """What this run can lease."""
        return self.state.columns

    def complete(self) -> bool:
        """Whether nothing is left to run, here or elsewhere."""
        return bool(self.state.complete.all())

    def extend(self, *, now: bool = False) -> bool:
        """Take in additions to the sweep; whether there is more to do.

        Unless ``now``, this reads the sweep only every SWEEP_SECONDS, and re-armed trials can wait.
        """
        if not now and time.monotonic() - self._sweep_read_at < SWEEP_SECONDS:
            return False
        self._sweep_read_at = time.monotonic()
        before = self.state
        # Columns that were known and are left to other runs now still count.
        known = {column.column_id: column for column in self.columns}
        together = tuple({**known, **{c.column_id: c for c in self.grown() or ()}}.values())
        changed = together != self.columns
        if changed or now:
            self.catch_up()
        if changed:
            self.state = extended(self.state, together)
            if self.nodes.nodes:
                self._count_slots()
            return True
        return now and bool((before.complete & ~self.state.complete).any())

    def next_work(self) -> Work | None:
        """What a worker is to run next, or None when nothing can start now."""
        self.extend(now=self.complete())  # else Tune would have to start once more
        if self.halted is not None or not self.may_begin():
            return None
        ready = self._ready()
        while self._wants_more(ready) and self._lease_more():
            ready = self._ready()
        if not ready or not (ready := self._placeable(ready)):
            return None
        slots, resources = self._slots_for(ready), ready[0][0].column.resources
        if slots <= len(self._works) < self.slots:
            return None
        # One more than there is room for, so that whoever ends finds it.
        room = self.nodes.slots(resources) if self.nodes.nodes else self.slots
        if self._works.of(resources) > room:
            return None
        memory = self._memory(resources)
        work = Work(
            run=self.run,
            assignments=tuple(
                self._assign(column, trial, batch_size(trial, resources, memory, self.batching))
                for column, trial in self._choose(ready, memory, slots)
            ),
            resources=resources,
            provenance=self.provenance,
            stop_file=self.stop_file,
            hold_file=self._works.hold_file,
            report_seconds=max(1.0, self.slots / REPORTS_PER_SECOND),
            memory=memory,
            logged=self.logged,
            data=self.data,
            avoided=tuple(self.nodes.unfit),
        )
        self._works.begin(work, self.slots)
        self._scarce_since = None
        return work

    def use(self, nodes: tuple[Node, ...]) -> None:
        """Hand out works for these nodes, as many at once as trials of the smallest kind fit."""
        self.nodes.nodes = nodes
        self._count_slots()

    def avoid(self, error: UnfitNodeError) -> None:
        """Hand out nothing more for a node that made a trial fail."""
        if self.nodes.exclude(error):
            self._count_slots()
            self.warn(f"{error}; it gets no more trials")

    def take_report(self, work: Work, report: Report) -> None:
        """Take in what a worker reports after a slice of work."""
        self._works.reported(work)
        self.halted = self.halted or report.halt
        for warning in report.warnings:
            self.warn(warning)
        self.state = self.state.settled(report.settled)
        if report.failed:
            self.catch_up()
            for trial_id in report.failed:
                self._judge(trial_id, work.columns[trial_id])
        self._show_progress(work, report.running)
        self._release_complete()

    def take_end(self, work: Work, error: str | None) -> None:
        """Take in the end of a work; with an error, its process died without a last report."""
        self._works.ended(work, died=error is not None)
        if error is not None:
            self._take_death(work, error)
        self._show_progress(work, ())
        for trial_id, column_id in work.columns.items():
            self.state = self.state.stopped(trial_id, column_id)
        self._release_complete()

    def _show_progress(self, work: Work, running: Sequence[TrialProgress]) -> None:
        new = {one.trial_id: one for one in running}
        for trial_id in work.columns.keys() - new.keys():
            self._progress.pop(trial_id, None)
        self._progress.update(new)

    def _take_death(self, work: Work, error: str) -> None:
        """Put the attempts that ended with their process on record."""
        marks = list(read_marks(self.run, work.columns))
        wait_for_death(marks)
        self.catch_up()
        lost = self._close(marks, error)
        tried = {
            assignment.trial.trial_id
            for assignment in work.assignments
            if self.state.last_on_record(assignment.trial.trial_id, assignment.column_id)
            >= assignment.attempt
        }
        if not tried:
            # It died before it could mark a trial: that counts against the first.
            first, origin = work.assignments[0], self.provenance
            mark = Mark(
                first.trial.trial_id,
                first.column_id,
                first.attempt,
                ProcessIdentity.own(),
                time.time(),
                origin.slurm_job_id,
                origin.restart_count,
            )
            lost = self._close([mark], error)
        for trial_id in lost:
            self.warn(f"the process of trial {trial_id} died: {first_line(error)}")
        for trial_id in tried | set(lost):
            # Some may have failed, reported that, and taken their process with them.
            self._judge(trial_id, work.columns[trial_id])

    def is_computing(self) -> bool:
        """Whether a process of this run still computes a trial, as far as is known here."""
        return any(mark.owner.is_dead() is not True for mark in self._running_marks())

    def take_loss(self, error: str) -> None:
        """Record the attempts that ended with a server of Ray or a node; all are tried again.

        Their processes are gone; those on other nodes are recorded by the next run.
        """
        self._close([mark for mark in self._running_marks() if mark.owner.is_dead() is True], error)

    def _running_marks(self) -> list[Mark]:
        names = [self.state.named(number)[0] for number in self.state.running]
        return list(read_marks(self.run, names))

    def catch_up(self) -> None:
        """Take in what other runs have settled meanwhile."""
        self.state = self.ledger.catch_up(self.state)

    def _close(self, marks: Sequence[Mark], error: str | None = None) -> list[str]:
        """Record attempts whose processes are gone; returns the trials whose attempt was lost."""
        failure_class: FailureClass | None = None if error is None else "node_failure"
        self.state, lost = self.ledger.close(self.state, marks, failure_class, error)
        return lost

    def has_work(self) -> bool:
        """Whether a trial can start now; leases another column where the leased ones have none."""
        return bool(self._ready()) or self._lease_more()

    def snapshot(self) -> Snapshot:
        """The progress of the run; the time left is None before a prediction is possible."""
        steps = {name: running.step for name, running in self._progress.items()}
        seconds = seconds_to_go(self.state, steps, self.gradient_seconds)
        return Snapshot(
            columns=self.state.total_columns,
            trials=self.state.total,
            running=tuple(self._progress.values()),
            remaining_s=None if seconds is None else seconds / max(self.slots, 1),
        )

    def _count_slots(self) -> None:
        kinds = {column.resources for column in self.columns}
        self.slots = max([1, *(self.nodes.slots(resources) for resources in kinds)])

    def _placeable(self, ready: list[Candidate]) -> list[Candidate]:
        """Those of the trials for which fit nodes are left; says once why there are none."""
        if not self.nodes.unfit:
            return ready
        placeable = [item for item in ready if self.nodes.slots(item[0].column.resources)]
        if not placeable and not len(self._works) and self.stranded is None:
            self.stranded = f"no fit node is left for the trials that remain: {self.nodes.why()}"
            self.warn(self.stranded)
        return placeable

    def _memory(self, resources: Resources) -> int | None:
        """Bytes for each process of a trial: what was asked for, or a share by CPUs.

        A process that has a GPU to itself works in the GPU's memory.
        """
        if resources.memory_gib_per_worker is not None:
            return int(resources.memory_gib_per_worker * 2**30)
        if resources.gpus_per_worker or self.memory_per_cpu is None:
            return None
        return resources.cpus_per_worker * self.memory_per_cpu

    def _slots_for(self, ready: Sequence[Candidate]) -> int:
        """All slots; or those that have a worker already, where another would not pay its start.

        Predictions may be wrong: nothing waits longer for this than another worker takes to start.
        """
        timed = all(column.plan.flow is not None for column, _, _ in ready)
        left = sum(item[2] for item in ready)
        if not timed or left > START_SECONDS or left + sum(self._open().values()) > START_SECONDS:
            return self.slots
        now = time.monotonic()
        if self._scarce_since is None:
            self._scarce_since = now
        if now - self._scarce_since > START_SECONDS:
            return self.slots
        return max(self._works.workers, 1)

    def _choose(
        self, ready: Sequence[Candidate], memory: int | None, slots: int
    ) -> list[tuple[ColumnState, Trial]]:
        """The trials of the next work: the first that is ready, and what goes with it.

        A trial that failed or whose process died is handed out alone: the one that kills its
        process is then identified, and the others continue.
        """
        first, trial, _ = ready[0]
        resources = first.column.resources
        if trial.kind == "flow" and may_batch(trial.problem, resources):
            self.batching.expect(resources.device)  # GD follows
        if self.state.suspect(trial.trial_id, first.column_id):
            return [(first, trial)]
        alike = [
            Ready((c, t), seconds, t.batch_key, batch_size(t, resources, memory, self.batching))
            for c, t, seconds in ready
            if t.kind == trial.kind
            and c.column.resources == resources
            and not self.state.suspect(t.trial_id, c.column_id)
        ]
        # While every slot has its work, the next one is for the first that becomes free.
        free = max(slots - len(self._works), 0) or slots
        return first_work(alike, slots, free, self.batching.work_seconds)

    def _ready(self) -> list[Candidate]:
        """Flows first, then the trial that is predicted to take longest."""
        ready = [
            (column, trial, column.plan.seconds_of(trial))
            for column_id in self.leases.columns
            if column_id in self.state.layout.index
            for column in [self.state.column(column_id)]
            for trial in column.ready
        ]
        return sorted(ready, key=lambda item: (item[1].kind != "flow", -item[2], item[1].trial_id))

    def _wants_more(self, ready: Sequence[Candidate]) -> bool:
        """Whether nothing that is leased can start; or what is leased is timed, and so little that
        the slots would wait for each other's works.
        """
        if not ready:
            return True
        enough = self.slots * self.batching.work_seconds
        if sum(seconds for _, _, seconds in ready) >= enough:
            return False
        left = predict(self.state, gradient_seconds=self.gradient_seconds)
        index = self.state.layout.index
        mine = [index[name] for name in self.leases.columns if name in index]
        return bool(left.timed[mine].all()) and float(left.seconds[mine].sum()) < enough

    def _lease_more(self) -> bool:
        for column_id in self.leases.in_turn(list(self._open())):
            if not self.leases.acquire(column_id):
                continue
            self.catch_up()
            marks = self._marks_of(self.state.column(column_id))
            wait_for_death(marks)
            self.catch_up()
            self._close([mark for mark in marks if mark.owner.is_dead() is not False])
            for mark in marks:  # an attempt that still runs keeps its number
                attempt = Attempt(mark.attempt, "lost", None)
                if self.state.last_on_record(mark.trial_id, column_id) < mark.attempt:
                    self.state = self.state.failed(mark.trial_id, column_id, attempt)
            if self.state.column(column_id).ready:
                return True
            self._release_complete()
        return False

    def _open(self) -> dict[str, float]:
        """The columns that are not complete and not leased by this run, with the seconds that they
        are predicted to take, but those that wait for another column. The longest come first: one
        that starts last keeps all other jobs waiting.
        """
        seconds = predict(self.state, gradient_seconds=self.gradient_seconds).seconds
        open_ones = np.flatnonzero(~self.state.complete & ~self.state.waiting)
        by_length = open_ones[np.argsort(-seconds[open_ones], kind="stable")]
        columns, leased = self.columns, self.leases.columns
        named = {columns[i].column_id: float(seconds[i]) for i in by_length.tolist()}
        return {name: left for name, left in named.items() if name not in leased}

    def _marks_of(self, column: ColumnState) -> list[Mark]:
        """The marks of a column, without reading those of other columns: there may be thousands.

        But where a flow was tried and is missing, its column may have trials that are not known.
        """
        plan, name = column.plan, column.column_id
        unsure = plan.flow is None and self.state.last_attempt(plan.trials[0].trial_id, name)
        marks = read_marks(self.run, None if unsure else list(plan.places))
        return [mark for mark in marks if mark.column_id == name]

    def _assign(self, column: ColumnState, trial: Trial, size: int) -> Assignment:
        name, plan = trial.trial_id, column.plan
        attempt = 1 + self.state.last_attempt(name, column.column_id)
        self.state = self.state.started(name, column.column_id, RunningAttempt(attempt))
        asked = plan.asked_rate(trial)
        start = plan.column.start if trial.kind == "gd" else None
        return Assignment(
            trial,
            column.column_id,
            attempt,
            plan.flow,
            size,
            asked,
            None if start is None else start.said,
            self.state.starts_at(trial, column.column_id),
        )

    def _judge(self, trial_id: str, column_id: str) -> None:
        """A failed trial is tried again, unless its history says that it would fail again."""
        self.state = self.state.stopped(trial_id, column_id)
        if self.state.column(column_id).state_of(trial_id) == State.FAILED:
            self.warn(f"trial {trial_id} failed and is not tried again in this run")

    def _release_complete(self) -> None:
        index, complete = self.state.layout.index, self.state.complete
        for column_id in self.leases.columns:
            if column_id in index and complete[index[column_id]]:
                self.leases.release(column_id)
