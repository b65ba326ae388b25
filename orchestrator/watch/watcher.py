"""Looks at a run directory again and again, and reads only what has changed."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from orchestrator.ledger import Ledger, Mark, read_claims
from orchestrator.ledger.labels import column_labels, short_labels
from orchestrator.ledger.marks import read_rearmed
from orchestrator.ledger.process import ProcessIdentity
from orchestrator.ledger.status import marks_at_work
from orchestrator.ledger.timed import read_timed
from orchestrator.live import LiveTrial, read_live
from orchestrator.plan import ColumnProgress, State, seconds_to_go
from orchestrator.run_directory import SWEEP, sweep_of
from orchestrator.store import Identity, identity
from orchestrator.sweep import Column, Sweep
from orchestrator.watch.changes import Changes
from orchestrator.watch.failures import Attempts
from orchestrator.watch.jobs import JobWatch
from orchestrator.watch.view import ColumnLine, Columns, RunningTrial, Trials, View

Live = Mapping[tuple[str, int, ProcessIdentity], tuple[LiveTrial, float]]

LONG_SECONDS, PAUSE = 0.5, 10
"""Where a look at the tables takes longer, as at tens of thousands of files, there are so many
times as many seconds between two of them."""


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
        self._jobs = JobWatch(run, self._sweep.name, clock)
        self._progress: dict[str, ColumnProgress] = {}
        self._failed: set[str] = set()
        self._settled = 0

    def look(self, *, wait: bool = False) -> View:
        """Where the run stands now; ``wait`` for SLURM's answer about its jobs if it is asked.

        Raises:
            StoreError: the tables cannot be read.
        """
        if identity(self._run / SWEEP) != self._sweep_file:
            self._sweep = self._load_sweep()
        self._read_tables()
        claims = {claim.column_id: claim for claim in read_claims(self._run)}
        marks = marks_at_work(self._run, claims, self._ledger.settled)
        held = {name for name, claim in claims.items() if not claim.stale}
        live = _live(self._run)
        counts = self._count(marks)
        columns = self._columns_of(counts, held)
        began = [mark.started_at for mark in marks]
        since = self._attempts.since
        return View(
            name=self._sweep.name,
            folder=self._run.resolve().name,
            now=time.time(),
            since=min([*began, *([] if since is None else [since])], default=None),
            until=self._attempts.until,
            columns=columns,
            trials=_sum(counts.values()),
            remaining_s=self._remaining(live),
            processes=len({mark.owner for mark in marks}),
            held=bool(held or marks),
            lines=self._lines(counts, held),
            running=self._running(marks, live),
            failures=self._attempts.failures(self._ledger.settled, self._ledger.failed),
            jobs=self._jobs.look(wait=wait),
        )

    def close(self) -> None:
        """End watching."""
        self._jobs.close()

    def _load_sweep(self) -> Sweep:
        self._sweep_file = identity(self._run / SWEEP)
        sweep = sweep_of(self._run)
        self._columns: Sequence[Column] = sweep.columns
        self._places = {column.column_id: i for i, column in enumerate(self._columns)}
        self._labels = column_labels(self._columns)
        self._short = short_labels(self._columns)
        self._progress = {}
        return sweep

    def _read_tables(self) -> None:
        """Read what is new in the tables, but not all the time where that takes long."""
        if time.monotonic() < self._read_again_at and self._progress:
            return
        rearmed = read_rearmed(self._run)
        if not (self._tables.seen() or rearmed != self._rearmed or not self._progress):
            return
        before = time.process_time()
        try:
            self._ledger.refresh()
            self._refresh_progress()
        except BaseException:
            self._tables.forget()  # what changed is still to be read
            raise
        self._rearmed = rearmed
        seconds = time.process_time() - before
        if seconds > LONG_SECONDS:
            self._read_again_at = time.monotonic() + PAUSE * seconds

    def _refresh_progress(self) -> None:
        """Bring the columns up to date; anew where a failure was forgiven or rows are gone."""
        settled, failed = self._ledger.settled, self._ledger.failed
        forgiven = self._failed - failed
        if len(settled) < self._settled:
            self._progress = {}
        self._failed, self._settled = set(failed), len(settled)
        for column in self._columns:
            progress = self._progress.get(column.column_id)
            if progress is None or (forgiven and progress.has_failures):
                self._progress[column.column_id] = ColumnProgress(column, settled, failed)
            elif not progress.complete:
                progress.refresh(settled, failed)

    def _count(self, marks: Sequence[Mark]) -> dict[str, Trials]:
        """The trials of each column by their state."""
        running = Counter(mark.column_id for mark in marks)
        counts = {}
        for name, progress in self._progress.items():
            states = Counter(progress.states().values())
            to_do = states[State.TO_DO] + (0 if progress.blocked else progress.unknown)
            runs = min(running[name], to_do)
            counts[name] = Trials(
                settled=states[State.SETTLED],
                running=runs,
                to_do=to_do - runs,
                failed=states[State.FAILED],
                skipped=states[State.SKIPPED],
            )
        return counts

    def _columns_of(self, counts: Mapping[str, Trials], held: set[str]) -> Columns:
        found: Counter[str] = Counter()
        for name, trials in counts.items():
            progress = self._progress[name]
            if progress.complete:
                found["complete" if progress.flawless else "failed"] += 1
            else:
                found["running" if trials.running or name in held else "waiting"] += 1
        kinds = ("complete", "running", "waiting", "failed")
        return Columns(len(counts), *(found[kind] for kind in kinds))

    def _lines(self, counts: Mapping[str, Trials], held: set[str]) -> tuple[ColumnLine, ...]:
        lines = [
            ColumnLine(name, self._labels[name], trials, self._progress[name].blocked)
            for name, trials in counts.items()
            if trials.running
            or trials.failed
            or self._progress[name].blocked
            or (name in held and not self._progress[name].complete)
        ]
        return tuple(sorted(lines, key=lambda line: (line.trials.running == 0, line.trials.failed)))

    def _running(self, marks: Sequence[Mark], live: Live) -> tuple[RunningTrial, ...]:
        """The trials that run, by their column and η; those that start, which have none, last."""
        found = []
        by_column: dict[str, list[Mark]] = defaultdict(list)
        for mark in marks:
            by_column[mark.column_id].append(mark)
        for name in sorted(by_column.keys() & self._progress.keys(), key=self._places.__getitem__):
            progress = self._progress[name]
            known = {trial.trial_id: trial for trial in progress.trials}
            eta_c = progress.critical_rate
            of_column = []
            for mark in by_column[name]:
                trial = known.get(mark.trial_id)
                eta = None if trial is None else trial.learning_rate
                said, age = live.get((mark.trial_id, mark.attempt, mark.owner), (None, None))
                of_column.append(
                    RunningTrial(
                        trial_id=mark.trial_id,
                        column=self._short[name],
                        kind="gd" if trial is None else trial.kind,
                        learning_rate=eta,
                        eta_over_eta_c=eta / eta_c if eta and eta_c else None,
                        step=None if said is None else said.step,
                        loss=None if said is None else said.loss,
                        sharpness=() if said is None else said.sharpness,
                        age_s=age,
                    )
                )
            found += sorted(of_column, key=lambda one: (one.learning_rate or 0.0, one.trial_id))
        return tuple(found)

    def _remaining(self, live: Live) -> float | None:
        """The predicted seconds of one process to the end; None before anything was timed."""
        done = {name: said.step for (name, _, _), (said, _) in live.items()}
        return seconds_to_go(self._progress.values(), done, read_timed(self._run))


def _live(run: Path) -> Live:
    return {
        (trial.trial_id, trial.attempt, process.owner): (trial, process.age)
        for process in read_live(run)
        for trial in process.trials
    }


def _sum(counts: Iterable[Trials]) -> Trials:
    counts = list(counts)
    names = ("settled", "running", "to_do", "failed", "skipped")
    return Trials(*(sum(getattr(one, name) for one in counts) for name in names))
