"""Reads a run directory again and again, each time only what has changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from orchestrator.ledger import Ledger, Mark, read_leases
from orchestrator.ledger.gradient_seconds import read_gradient_seconds
from orchestrator.ledger.marks import read_rearmed
from orchestrator.ledger.process import ProcessIdentity
from orchestrator.ledger.status import marks_at_work, with_work
from orchestrator.live import LiveTrial, read_live
from orchestrator.plan import RunState, extended, seconds_to_go
from orchestrator.run_directory import SWEEP, sweep_of
from orchestrator.store import Identity, identity
from orchestrator.sweep import Sweep
from orchestrator.sweep.labels import column_labels, short_labels
from orchestrator.watch.failures import Attempts
from orchestrator.watch.jobs import JobWatch
from orchestrator.watch.view import ColumnLine, RunningTrial, View

Live = Mapping[tuple[str, int, ProcessIdentity], tuple[LiveTrial, float]]

LONG_SECONDS, PAUSE = 0.5, 10
"""Where reading the tables takes longer, as with tens of thousands of files, the next reading waits
for this multiple of the time it took."""

QUIET_NS = 2_000_000_000
"""Younger times may hide a second change: file systems count in ticks, some in whole seconds."""


class Watcher:
    """Watches a run directory, which it never writes to, as ``eos status`` would see it.

    Args:
        run: the run directory.
        clock: seconds of a clock that never goes back; when SLURM is asked goes by it.

    Raises:
        SweepError: it is no run directory.
    """

    def __init__(self, run: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._run = run
        self._sweep_file: Identity | None = None
        self._tables = Changes([run / "trials", run / "attempts"])
        self._rearmed: dict[str, int] = {}
        self._read_again_at = 0.0
        self._sweep = self._load_sweep()
        self._attempts = Attempts()
        self._ledger = Ledger(run, listener=self._attempts)
        self._state: RunState | None = None
        self._jobs = JobWatch(run, self._sweep.name, clock)

    def view(self, *, wait: bool = False) -> View:
        """Where the run stands now; ``wait`` for SLURM's answer about its jobs if it is asked.

        Raises:
            StoreError: the tables cannot be read.
        """
        if identity(self._run / SWEEP) != self._sweep_file:
            self._sweep = self._load_sweep()
            if self._state is not None:
                self._state = extended(self._state, self._sweep.columns)
        leases = list(read_leases(self._run))
        marks = marks_at_work(self._run, leases)
        self._state = state = with_work(self._read_tables(), leases, marks)
        marks = [mark for mark in marks if not self._ledger.has_settled(mark.trial_id)]
        live: Live = {
            (trial.trial_id, trial.attempt, process.owner): (trial, process.age)
            for process in read_live(self._run)
            for trial in process.trials
        }
        steps = {name: said.step for (name, _, _), (said, _) in live.items()}
        began = [mark.started_at for mark in marks]
        since = self._attempts.since
        failed = {trial.trial_id for _, trial in state.failures()}
        return View(
            name=self._sweep.name,
            folder=self._run.resolve().name,
            now=time.time(),
            since=min([*began, *([] if since is None else [since])], default=None),
            until=self._attempts.until,
            columns=state.total_columns,
            trials=state.total,
            remaining_s=seconds_to_go(state, steps, read_gradient_seconds(self._run)),
            processes=len({mark.owner for mark in marks}),
            active=bool(state.leases or marks),
            lines=self._lines(state),
            running=self._running(state, marks, live),
            failures=self._attempts.failures(self._ledger.has_settled, failed),
            jobs=self._jobs.jobs(wait=wait),
        )

    def close(self) -> None:
        """End watching."""
        self._jobs.close()

    def _load_sweep(self) -> Sweep:
        self._sweep_file = identity(self._run / SWEEP)
        sweep = sweep_of(self._run)
        self._labels = column_labels(sweep.columns)
        self._short = short_labels(sweep.columns)
        return sweep

    def _read_tables(self) -> RunState:
        """Read what is new in the tables, but not all the time where that takes long."""
        state = self._state
        if state is not None and time.monotonic() < self._read_again_at:
            return state
        rearmed = read_rearmed(self._run)
        if not (self._tables.seen() or rearmed != self._rearmed or state is None):
            return state
        before = time.process_time()
        try:
            if state is None:
                state = self._ledger.read(self._sweep.columns)
            else:
                state = self._ledger.catch_up(state)
        except BaseException:
            self._tables.forget()  # what changed is still to be read
            raise
        self._rearmed = rearmed
        seconds = time.process_time() - before
        if seconds > LONG_SECONDS:
            self._read_again_at = time.monotonic() + PAUSE * seconds
        return state

    def _lines(self, state: RunState) -> tuple[ColumnLine, ...]:
        lines = []
        for i in np.flatnonzero(state.active | state.flawed).tolist():
            column = state.column_at(i)
            name = column.column_id
            lines.append(ColumnLine(name, self._labels[name], column.counts, column.blocked))
        return tuple(sorted(lines, key=lambda line: (line.trials.running == 0, line.trials.failed)))

    def _running(self, state: RunState, marks: list[Mark], live: Live) -> tuple[RunningTrial, ...]:
        """The trials that run, in the order of their columns, and by η within one."""
        found = []
        for mark in marks:
            i = state.layout.index.get(mark.column_id)
            if i is None:
                continue
            plan = state.plans[i]
            place, eta_c = plan.places.get(mark.trial_id), plan.critical_rate
            trial = None if place is None else plan.trials[place]
            eta = None if trial is None else trial.learning_rate
            said, age = live.get((mark.trial_id, mark.attempt, mark.owner), (None, None))
            running = RunningTrial(
                trial_id=mark.trial_id,
                column=self._short[mark.column_id],
                kind="gd" if trial is None else trial.kind,
                learning_rate=eta,
                eta_over_final_eta_c=eta / eta_c if eta and eta_c else None,
                step=None if said is None else said.step,
                loss=None if said is None else said.loss,
                sharpness=() if said is None else said.sharpness,
                age_s=age,
                edge=plan.column.optimizer.edge,
            )
            found.append((i, eta or 0.0, mark.trial_id, running))
        return tuple(running for *_, running in sorted(found, key=lambda one: one[:3]))


class Changes:
    """Remembers when these paths last changed. A folder changes when a file in it comes or goes."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._times: tuple[int, ...] = ()
        self._quiet = False

    def seen(self) -> bool:
        """Whether a reader must read again, also in doubt; true at first.

        Call it before reading: what changes meanwhile is seen the next time.
        """
        times = tuple(map(_changed_at, self._paths))
        changed = times != self._times or not self._quiet
        self._times = times
        self._quiet = time.time_ns() - max(times) > QUIET_NS
        return changed

    def forget(self) -> None:
        """Report the last change again, because it could not be read."""
        self._times = ()


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
