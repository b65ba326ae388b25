"""What runs next: leases columns, hands out their trials in order, and books what comes back."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jobs.spec import Trial
from orchestrator.cluster import Node
from orchestrator.engine.data_read import Data, Read
from orchestrator.engine.gate import Gate
from orchestrator.engine.packing import pack_size
from orchestrator.engine.places import Places, UnfitNodeError
from orchestrator.engine.snapshot import Snapshot
from orchestrator.engine.work import Assignment, Provenance, Report, Running, Work
from orchestrator.first_line import first_line
from orchestrator.ledger import (
    Leases,
    Ledger,
    Mark,
    attempt_row,
    commit_attempt,
    read_marks,
    utc,
    wait_for_death,
)
from orchestrator.plan import (
    Attempt,
    Batching,
    ColumnState,
    FailureClass,
    GradientSeconds,
    Ready,
    RunningAttempt,
    RunState,
    State,
    first_work,
    predict,
    seconds_to_go,
)
from orchestrator.sweep import Column, Resources

START_SECONDS = 5.0
"""What it takes to start another worker. Where all that is left takes less, those at work do it."""

LOOK_SECONDS = 5.0
"""Between two looks at what the sweep has become, while there is work."""

REPORTS_PER_SECOND = 50
"""Of all running trials together; Tune's controller handles ten times as many."""


Candidate = tuple[ColumnState, Trial, float]
"""A trial that may start: its column, and its predicted seconds."""


@dataclass
class Feed:
    """Hands out :class:`Work` until every column that this run can lease is complete.

    ``state`` is where the run directory stands, as far as it was seen.
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
    data: Mapping[Data, Read] = field(default_factory=dict)
    gradient_seconds: GradientSeconds = field(default_factory=dict)
    batching: Batching = field(default_factory=Batching)
    warn: Callable[[str], None] = print
    may_begin: Callable[[], bool] = lambda: True
    grown: Callable[[], Sequence[Column] | None] = lambda: None
    halted: str | None = field(init=False, default=None)
    stranded: str | None = field(init=False, default=None)
    places: Places = field(init=False, default_factory=Places)
    gate: Gate = field(init=False, default_factory=Gate)
    _running: dict[str, Running | None] = field(init=False, default_factory=dict)
    _works: int = field(init=False, default=0)
    _workers: int = field(init=False, default=0)
    _scarce_since: float | None = field(init=False, default=None)
    _looked_at: float = field(init=False, default=-LOOK_SECONDS)

    @property
    def columns(self) -> tuple[Column, ...]:
        """What this run can lease."""
        return self.state.columns

    def complete(self) -> bool:
        """Whether nothing is left to run, here or elsewhere."""
        return bool(self.state.complete.all())

    def grow(self, *, now: bool = False) -> bool:
        """Take in what the sweep has become since the last look; whether that is more.

        Unless it must be known ``now``, a look of a moment ago will do, and failed trials that were
        given another chance meanwhile can wait.
        """
        if not now and time.monotonic() - self._looked_at < LOOK_SECONDS:
            return False
        self._looked_at = time.monotonic()
        before = self.state
        # What was known and is left to others now is still counted.
        known = {column.column_id: column for column in self.columns}
        together = tuple({**known, **{c.column_id: c for c in self.grown() or ()}}.values())
        changed = together != self.columns
        if changed or now:
            self.look_around()
        if changed:
            self.state = self.state.extended(together)
            if self.places.nodes:
                self._count_slots()
            return True
        return now and bool((before.complete & ~self.state.complete).any())

    def next_work(self) -> Work | None:
        """What a worker is to run next, or None when nothing can start now."""
        self.grow()
        if self.halted is not None or not self.may_begin():
            return None
        ready = self._ready()
        if not ready and self._lease_more():
            ready = self._ready()
        if not ready:
            return None
        if not (ready := self._placeable(ready)):
            return None
        slots = self._slots_for(ready)
        if slots <= self._works < self.slots:
            return None
        resources = ready[0][0].column.resources
        memory = self._memory(resources)
        work = Work(
            run=self.run,
            assignments=tuple(
                self._assign(column, trial, pack_size(trial, resources, memory, self.batching))
                for column, trial in self._choose(ready, memory, slots)
            ),
            resources=resources,
            provenance=self.provenance,
            stop_file=self.stop_file,
            report_seconds=max(1.0, self.slots / REPORTS_PER_SECOND),
            memory=memory,
            logged=self.logged,
            data=self.data,
            avoided=tuple(self.places.unfit),
        )
        self._works += 1
        self._workers = min(max(self._workers, self._works), self.slots)
        self._scarce_since = None
        return work

    def use(self, nodes: tuple[Node, ...]) -> None:
        """Hand out works for these nodes, as many at once as trials of the smallest kind fit."""
        self.places.nodes = nodes
        self._count_slots()

    def avoid(self, error: UnfitNodeError) -> None:
        """Hand out nothing more for a node on which a trial failed for the node."""
        if self.places.avoid(error):
            self._count_slots()
            self.warn(f"{error}; it gets no more trials")

    def take_report(self, work: Work, report: Report) -> None:
        """Book what an actor says after a slice of work."""
        self.halted = self.halted or report.halt
        for warning in report.warnings:
            self.warn(warning)
        self.state = self.state.settled(report.settled)
        columns = {a.trial.trial_id: a.column_id for a in work.assignments}
        if report.failed:
            self.look_around()
            for trial_id in report.failed:
                self._judge(trial_id, columns[trial_id])
        for trial_id, column_id in columns.items():
            if trial_id in self._running and not self.state.runs(trial_id, column_id):
                del self._running[trial_id]
        self._running.update(dict.fromkeys(columns.keys() & self._running.keys()))
        self._running.update({running.trial_id: running for running in report.running})
        self._release_complete()

    def take_end(self, work: Work, error: str | None) -> None:
        """Book the end of a work; with an error, its process died without a last word."""
        self._works -= 1
        if error is not None:
            self._take_death(work, error)
        for assignment in work.assignments:
            self._running.pop(assignment.trial.trial_id, None)
            self.state = self.state.stopped(assignment.trial.trial_id, assignment.column_id)
        self._release_complete()

    def _take_death(self, work: Work, error: str) -> None:
        """Put the attempts that ended with their process on record."""
        columns = {a.trial.trial_id: a.column_id for a in work.assignments}
        marks = list(read_marks(self.run, columns))
        wait_for_death(marks)
        self.look_around()
        lost = self._close(marks, error)
        tried = {
            assignment.trial.trial_id
            for assignment in work.assignments
            if self.state.last_on_record(assignment.trial.trial_id, assignment.column_id)
            >= assignment.attempt
        }
        if not tried:
            # It died before it could mark what it took up: that counts against the first.
            lost = [self._book_death(work.assignments[0], error)]
        for trial_id in lost:
            self.warn(f"the process of trial {trial_id} died: {first_line(error)}")
        for trial_id in tried | set(lost):
            # Some may have failed, said so, and taken their process with them.
            self._judge(trial_id, columns[trial_id])

    def at_work(self) -> bool:
        """Whether a process has a trial in hand, as far as can be told from here."""
        marks = read_marks(self.run, list(self._running))
        return any(mark.owner.is_dead() is not True for mark in marks)

    def take_loss(self, error: str) -> None:
        """Book the attempts that ended with a server of Ray or a node, for all to be tried again.

        Their processes are gone; of those on other nodes, the next run finds out.
        """
        marks = read_marks(self.run, list(self._running))
        self._close([m for m in marks if m.owner.is_dead() is True], error)

    def look_around(self) -> None:
        """Take in what other runs have settled meanwhile."""
        self.state = self.ledger.catch_up(self.state)

    def _close(self, marks: Sequence[Mark], error: str | None = None) -> list[str]:
        """Put attempts whose processes are gone on record; the trials whose attempt was lost."""
        failure_class: FailureClass | None = None if error is None else "node_failure"
        self.state, lost = self.ledger.close(self.state, marks, failure_class, error)
        return lost

    def lease_more(self) -> bool:
        """Lease a column that has something to do; whether there is something to start now."""
        return bool(self._ready()) or self._lease_more()

    def snapshot(self) -> Snapshot:
        """Where the run stands."""
        return Snapshot(
            columns=len(self.columns),
            columns_complete=int(self.state.complete.sum()),
            trials=self.state.total,
            running=tuple(running for running in self._running.values() if running is not None),
            remaining_s=self._remaining_seconds(),
        )

    def _count_slots(self) -> None:
        kinds = {column.resources for column in self.columns}
        self.slots = max([1, *(self.places.fitting(resources) for resources in kinds)])

    def _placeable(self, ready: list[Candidate]) -> list[Candidate]:
        """Those of the trials for which fit nodes are left; says once why there are none."""
        if not self.places.unfit:
            return ready
        placeable = [item for item in ready if self.places.fitting(item[0].column.resources)]
        if not placeable and not self._works and self.stranded is None:
            self.stranded = f"no fit node is left for the trials that remain: {self.places.why()}"
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
        """All slots; or those that have a worker already, where no other would be worth its start.

        Predictions may be wrong: nothing waits longer for this than another worker takes to start.
        """
        timed = all(column.plan.flow is not None for column, _, _ in ready)
        if not timed or sum(item[2] for item in ready) > START_SECONDS:
            return self.slots
        now = time.monotonic()
        if self._scarce_since is None:
            self._scarce_since = now
        return self.slots if now - self._scarce_since > START_SECONDS else max(self._workers, 1)

    def _choose(
        self, ready: Sequence[Candidate], memory: int | None, slots: int
    ) -> list[tuple[ColumnState, Trial]]:
        """The trials of the next work: the first that is ready, and what goes with it.

        A flow goes by itself, and so does a trial that failed or whose process died: so that one
        which kills its process is found out, and those that were beside it go on.
        """
        first, trial, _ = ready[0]
        if trial.kind == "flow" or self.state.suspect(trial.trial_id, first.column_id):
            return [(first, trial)]
        resources = first.column.resources
        alike = [
            Ready((c, t), seconds, c.column_id, pack_size(t, resources, memory, self.batching))
            for c, t, seconds in ready
            if t.kind == "gd"
            and c.column.resources == resources
            and not self.state.suspect(t.trial_id, c.column_id)
        ]
        # While every slot has its work, the next one is for whichever becomes free.
        free = max(slots - self._works, 0) or slots
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

    def _lease_more(self) -> bool:
        for column_id in self.leases.in_turn(self._open_columns()):
            if not self.leases.acquire(column_id):
                continue
            self.look_around()
            marks = self._marks_of(self.state.column(column_id))
            wait_for_death(marks)
            self.look_around()
            self._close([mark for mark in marks if mark.owner.is_dead() is not False])
            for mark in marks:  # one that goes on all the same has its number
                attempt = Attempt(mark.attempt, "lost", None)
                if self.state.last_on_record(mark.trial_id, column_id) < mark.attempt:
                    self.state = self.state.lost(mark.trial_id, column_id, attempt)
            if self.state.column(column_id).ready:
                return True
            self._release_complete()
        return False

    def _open_columns(self) -> list[str]:
        """The columns that are not complete and not held by this run, the longest first: one that
        begins last keeps all jobs but its own waiting.
        """
        seconds = predict(self.state, gradient_seconds=self.gradient_seconds).seconds
        open_ones = np.flatnonzero(~self.state.complete)
        by_length = open_ones[np.argsort(-seconds[open_ones], kind="stable")]
        columns, held = self.columns, self.leases.columns
        names = (columns[i].column_id for i in by_length.tolist())
        return [name for name in names if name not in held]

    def _marks_of(self, column: ColumnState) -> list[Mark]:
        """The marks of a column. Those of a thousand jobs are many: only its own are looked at.

        But where a flow was tried and is not there, its column may have trials that are not known.
        """
        plan, name = column.plan, column.column_id
        unsure = plan.flow is None and self.state.last_attempt(plan.trials[0].trial_id, name)
        marks = read_marks(self.run, None if unsure else list(plan.places))
        return [mark for mark in marks if mark.column_id == name]

    def _assign(self, column: ColumnState, trial: Trial, pack_size: int) -> Assignment:
        name, plan = trial.trial_id, column.plan
        attempt = 1 + self.state.last_attempt(name, column.column_id)
        self._running[name] = None
        self.state = self.state.started(name, column.column_id, RunningAttempt(attempt))
        asked = plan.asked_rate(trial)
        return Assignment(trial, column.column_id, attempt, plan.flow, pack_size, asked)

    def _book_death(self, assignment: Assignment, error: str) -> str:
        name, now = assignment.trial.trial_id, utc(time.time())
        commit_attempt(
            self.run,
            attempt_row(
                name,
                assignment.column_id,
                assignment.attempt,
                "lost",
                hostname=socket.gethostname(),
                started_at=now,
                finished_at=now,
                slurm_job_id=self.provenance.slurm_job_id,
                restart_count=self.provenance.restart_count,
                failure_class="node_failure",
                error=error,
            ),
        )
        self.look_around()
        return name

    def _judge(self, trial_id: str, column_id: str) -> None:
        """A failed trial is tried again, unless its history says that this is of no use."""
        self.state = self.state.stopped(trial_id, column_id)
        if self.state.column(column_id).state_of(trial_id) == State.FAILED:
            self.warn(f"trial {trial_id} failed and is not tried again in this run")

    def _release_complete(self) -> None:
        index, complete = self.state.layout.index, self.state.complete
        for column_id in self.leases.columns:
            if column_id in index and complete[index[column_id]]:
                self.leases.release(column_id)

    def _remaining_seconds(self) -> float | None:
        """The predicted time to go; None before anything was timed that it could rest on."""
        done = {name: running.step for name, running in self._running.items() if running}
        total = seconds_to_go(self.state, done, self.gradient_seconds)
        return None if total is None else total / max(self.slots, 1)
