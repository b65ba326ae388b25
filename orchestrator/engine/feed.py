"""What runs next: claims columns, hands out their trials in order, and books what comes back."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
    Claims,
    Ledger,
    Mark,
    attempt_row,
    commit_attempt,
    read_marks,
    utc,
    wait_for_death,
)
from orchestrator.plan import (
    Batching,
    ColumnProgress,
    Ready,
    State,
    Timed,
    first_work,
    seconds_per_gradient,
    seconds_to_go,
)
from orchestrator.sweep import Column, Resources

START_SECONDS = 5.0
"""What it takes to start another worker. Where all that is left takes less, those at work do it."""

LOOK_SECONDS = 5.0
"""Between two looks at what the sweep has become, while there is work."""

REPORTS_PER_SECOND = 50
"""Of all running trials together; Tune's controller handles ten times as many."""


@dataclass
class Feed:
    """Hands out :class:`Work` until every column that this run can claim is complete."""

    run: Path
    columns: Sequence[Column]
    claims: Claims
    ledger: Ledger
    provenance: Provenance
    stop_file: Path
    slots: int = 1
    memory_per_cpu: int | None = None
    logged: bool = False
    data: Mapping[Data, Read] = field(default_factory=dict)
    timed: Timed = field(default_factory=dict)
    batching: Batching = field(default_factory=Batching)
    warn: Callable[[str], None] = print
    may_begin: Callable[[], bool] = lambda: True
    grown: Callable[[], Sequence[Column] | None] = lambda: None
    progress: dict[str, ColumnProgress] = field(init=False)
    halted: str | None = field(init=False, default=None)
    stranded: str | None = field(init=False, default=None)
    places: Places = field(init=False, default_factory=Places)
    gate: Gate = field(init=False, default_factory=Gate)
    _running: dict[str, Running | None] = field(init=False, default_factory=dict)
    _attempts: dict[str, int] = field(init=False, default_factory=dict)
    _works: int = field(init=False, default=0)
    _workers: int = field(init=False, default=0)
    _scarce_since: float | None = field(init=False, default=None)
    _looked_at: float = field(init=False, default=-LOOK_SECONDS)

    def __post_init__(self) -> None:
        self.progress = {
            column.column_id: ColumnProgress(column, self.ledger.settled, self.ledger.failed)
            for column in self.columns
        }

    def complete(self) -> bool:
        """Whether nothing is left to run, here or elsewhere."""
        return all(column.complete for column in self.progress.values())

    def grow(self, *, now: bool = False) -> bool:
        """Take in what the sweep has become since the last look; whether that is more.

        Unless it must be known ``now``, a look of a moment ago will do, and failed trials that were
        given another chance meanwhile can wait.
        """
        if not now and time.monotonic() - self._looked_at < LOOK_SECONDS:
            return False
        self._looked_at = time.monotonic()
        columns = {column.column_id: column for column in self.grown() or ()}
        changed = [
            column
            for name, column in columns.items()
            if name not in self.progress or self.progress[name].column != column
        ]
        if changed or now:
            self.ledger.refresh()
        settled, failed = self.ledger.settled, self.ledger.failed
        if now:
            changed += [
                progress.column
                for name, progress in self.progress.items()
                if name not in columns and progress.forgiven(failed)
            ]
        for column in changed:
            known = self.progress.get(column.column_id)
            self.progress[column.column_id] = (
                ColumnProgress(column, settled, failed)
                if known is None
                else known.as_column(column, settled, failed)
            )
        if changed:
            self.columns = tuple(progress.column for progress in self.progress.values())
            if self.places.nodes:
                self._count_slots()
        return bool(changed)

    def next_work(self) -> Work | None:
        """What a worker is to run next, or None when nothing can start now."""
        self.grow()
        if self.halted is not None or not self.may_begin():
            return None
        ready = self._ready()
        if not ready and self._claim_more():
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
                self._assign(progress, trial, pack_size(trial, resources, memory, self.batching))
                for progress, trial in self._choose(ready, memory, slots)
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
        by_trial = {a.trial.trial_id: self.progress[a.column_id] for a in work.assignments}
        for settled in report.settled:
            by_trial[settled.trial_id].settle(settled)
            self._running.pop(settled.trial_id, None)
        for trial_id in report.failed:
            self._running.pop(trial_id, None)
        if report.failed:
            self.ledger.refresh()
            for trial_id in report.failed:
                self._judge(by_trial[trial_id], trial_id)
        self._running.update(dict.fromkeys(by_trial.keys() & self._running.keys()))
        self._running.update({running.trial_id: running for running in report.running})
        self._release_complete()

    def take_end(self, work: Work, error: str | None) -> None:
        """Book the end of a work; with an error, its process died without a last word."""
        self._works -= 1
        names = {a.trial.trial_id for a in work.assignments}
        if error is not None:
            marks = list(read_marks(self.run, names))
            wait_for_death(marks)
            self.ledger.refresh()
            lost = self.ledger.close(marks, "node_failure", error)
            tried = {
                assignment.trial.trial_id
                for assignment in work.assignments
                if self.ledger.attempts(assignment.trial.trial_id) >= assignment.attempt
            }
            if not tried:
                # It died before it could mark what it took up: that counts against the first.
                lost = [self._book_death(work.assignments[0], error)]
            for assignment in work.assignments:
                progress, name = self.progress[assignment.column_id], assignment.trial.trial_id
                if name in self.ledger.settled:
                    progress.settle(self.ledger.settled[name])
                elif name in tried - set(lost):
                    self._judge(progress, name)  # it failed, said so, and took its process with it
                elif name in lost:
                    self.warn(f"the process of trial {name} died: {first_line(error)}")
                    self._judge(progress, name)
        for assignment in work.assignments:
            self._running.pop(assignment.trial.trial_id, None)
            self.progress[assignment.column_id].release(assignment.trial.trial_id)
        self._release_complete()

    def at_work(self) -> bool:
        """Whether a process has a trial in hand, as far as can be told from here."""
        marks = read_marks(self.run, list(self._running))
        return any(mark.owner.is_dead() is not True for mark in marks)

    def take_loss(self, error: str) -> None:
        """Book the attempts that ended with a server of Ray or a node, for all to be tried again.

        Their processes are gone; of those on other nodes, the next run finds out.
        """
        marks = read_marks(self.run, list(self._running))
        self.ledger.close((m for m in marks if m.owner.is_dead() is True), "node_failure", error)

    def look_around(self) -> None:
        """Take in what other runs have settled meanwhile."""
        self.ledger.refresh()
        for progress in self.progress.values():
            if not progress.flawless:
                progress.refresh(self.ledger.settled, self.ledger.failed)

    def claim_more(self) -> bool:
        """Claim a column that has something to do; whether there is something to start now."""
        return bool(self._ready()) or self._claim_more()

    def snapshot(self) -> Snapshot:
        """Where the run stands."""
        states = [state for p in self.progress.values() for state in p.states().values()]
        unknown = sum(p.unknown for p in self.progress.values() if not p.blocked)
        return Snapshot(
            columns=len(self.progress),
            columns_complete=sum(p.complete for p in self.progress.values()),
            trials=len(states) + unknown - states.count(State.SKIPPED),
            settled=states.count(State.SETTLED),
            failed=states.count(State.FAILED),
            to_do=states.count(State.TO_DO) + unknown,
            running=tuple(running for running in self._running.values() if running is not None),
            remaining_s=self._remaining_seconds(),
        )

    def _count_slots(self) -> None:
        kinds = {column.resources for column in self.columns}
        self.slots = max([1, *(self.places.fitting(resources) for resources in kinds)])

    def _placeable(
        self, ready: list[tuple[ColumnProgress, Trial, float]]
    ) -> list[tuple[ColumnProgress, Trial, float]]:
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

    def _slots_for(self, ready: Sequence[tuple[ColumnProgress, Trial, float]]) -> int:
        """All slots; or those that have a worker already, where no other would be worth its start.

        Predictions may be wrong: nothing waits longer for this than another worker takes to start.
        """
        timed = all(progress.flow is not None for progress, _, _ in ready)
        if not timed or sum(item[2] for item in ready) > START_SECONDS:
            return self.slots
        now = time.monotonic()
        if self._scarce_since is None:
            self._scarce_since = now
        return self.slots if now - self._scarce_since > START_SECONDS else max(self._workers, 1)

    def _choose(
        self, ready: Sequence[tuple[ColumnProgress, Trial, float]], memory: int | None, slots: int
    ) -> list[tuple[ColumnProgress, Trial]]:
        """The trials of the next work: the first that is ready, and what goes with it.

        A flow goes by itself, and so does a trial that failed or whose process died: so that one
        which kills its process is found out, and those that were beside it go on.
        """
        first, trial, _ = ready[0]
        if trial.kind == "flow" or self.ledger.suspect(trial.trial_id):
            return [(first, trial)]
        resources = first.column.resources
        alike = [
            Ready((c, t), seconds, c.column_id, pack_size(t, resources, memory, self.batching))
            for c, t, seconds in ready
            if t.kind == "gd"
            and c.column.resources == resources
            and not self.ledger.suspect(t.trial_id)
        ]
        # While every slot has its work, the next one is for whichever becomes free.
        free = max(slots - self._works, 0) or slots
        return first_work(alike, slots, free, self.batching.work_seconds)

    def _ready(self) -> list[tuple[ColumnProgress, Trial, float]]:
        """Flows first, then the trial that is predicted to take longest."""
        ready = [
            (progress, trial, progress.gradients_of(trial) * seconds_per_gradient(progress))
            for column_id in self.claims.held
            if column_id in self.progress
            for progress in [self.progress[column_id]]
            for trial in progress.ready()
        ]
        return sorted(ready, key=lambda item: (item[1].kind != "flow", -item[2], item[1].trial_id))

    def _claim_more(self) -> bool:
        open_ones = [
            column_id
            for column_id, progress in self.progress.items()
            if not progress.complete and column_id not in self.claims.held
        ]
        for column_id in self.claims.in_turn(open_ones):
            if not self.claims.take(column_id):
                continue
            progress = self.progress[column_id]
            self.ledger.refresh()
            progress.refresh(self.ledger.settled, self.ledger.failed)
            marks = self._marks_of(progress)
            wait_for_death(marks)
            self.ledger.refresh()
            self.ledger.close(mark for mark in marks if mark.owner.is_dead() is not False)
            self._attempts.update({mark.trial_id: mark.attempt for mark in marks})
            progress.refresh(self.ledger.settled, self.ledger.failed)
            if progress.ready():
                return True
            self._release_complete()
        return False

    def _marks_of(self, progress: ColumnProgress) -> list[Mark]:
        """The marks of a column. Those of a thousand jobs are many: only its own are looked at.

        But where a flow was tried and is not there, its column may have trials that are not known.
        """
        unsure = progress.flow is None and self.ledger.attempts(progress.flow_trial.trial_id)
        names = None if unsure else [trial.trial_id for trial in progress.trials]
        return [m for m in read_marks(self.run, names) if m.column_id == progress.column_id]

    def _assign(self, progress: ColumnProgress, trial: Trial, pack_size: int) -> Assignment:
        name = trial.trial_id
        attempt = 1 + max(self.ledger.attempts(name), self._attempts.get(name, 0))
        self._attempts[name] = attempt
        self._running[name] = None
        progress.start(name)
        asked = progress.asked_rate(trial)
        return Assignment(trial, progress.column_id, attempt, progress.flow, pack_size, asked)

    def _book_death(self, assignment: Assignment, error: str) -> str:
        name, now = assignment.trial.trial_id, utc(time.time())
        commit_attempt(
            self.run,
            attempt_row(
                name,
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
        self.ledger.refresh()
        return name

    def _judge(self, progress: ColumnProgress, trial_id: str) -> None:
        """A failed trial is tried again, unless its history says that this is of no use."""
        if trial_id in self.ledger.failed:
            self.warn(f"trial {trial_id} failed and is not tried again in this run")
            progress.fail(trial_id)
        else:
            progress.release(trial_id)

    def _release_complete(self) -> None:
        for column_id in self.claims.held:
            if column_id in self.progress and self.progress[column_id].complete:
                self.claims.release(column_id)

    def _remaining_seconds(self) -> float | None:
        """The predicted time to go; None before anything was timed that it could rest on."""
        done = {name: running.step for name, running in self._running.items() if running}
        total = seconds_to_go(self.progress.values(), done, self.timed)
        return None if total is None else total / max(self.slots, 1)
