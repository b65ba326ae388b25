"""The status of a run directory, read from its tables, leases and marks; nothing is written."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from jobs.spec import Trial
from orchestrator.ledger.attempts import Row
from orchestrator.ledger.gradient_seconds import read_gradient_seconds
from orchestrator.ledger.leases import Lease, read_leases
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.marks import Mark, read_marks
from orchestrator.ledger.process import ProcessIdentity
from orchestrator.live import read_live
from orchestrator.plan import ColumnState, Counts, RunningAttempt, RunState, seconds_to_go
from orchestrator.plan.rounds import refined_so_far
from orchestrator.run_directory import sweep_of
from orchestrator.store import Store
from orchestrator.sweep.labels import column_labels


@dataclass(frozen=True)
class ColumnStatus:
    """One column. Ages in seconds; None where nothing of the kind was seen. ``refined`` says what
    its rounds of rates have found.
    """

    column_id: str
    label: str
    trials: Counts
    blocked: str | None
    refined: str | None
    leased_by: str | None
    heartbeat_s: float | None
    last_result_s: float | None


class ColumnStatuses(Sequence[ColumnStatus]):
    """The columns of a run directory; each is worked out when it is asked for."""

    def __init__(self, state: RunState) -> None:
        self._state, self._now = state, time.time()

    def __len__(self) -> int:
        return len(self._state.columns)

    @overload
    def __getitem__(self, at: int) -> ColumnStatus: ...
    @overload
    def __getitem__(self, at: slice) -> list[ColumnStatus]: ...
    def __getitem__(self, at: int | slice) -> ColumnStatus | list[ColumnStatus]:
        if isinstance(at, slice):
            return [self._status(i) for i in range(len(self))[at]]
        return self._status(range(len(self))[at])

    def refining(self) -> Iterator[ColumnStatus]:
        """Those whose rates refine themselves."""
        columns = enumerate(self._state.columns)
        return (self._status(i) for i, column in columns if column.refine is not None)

    def blocked(self) -> Iterator[ColumnStatus]:
        """Those of which trials are blocked."""
        return map(self._status, self._state.blocked_places())

    @functools.cached_property
    def _labels(self) -> Mapping[str, str]:
        return column_labels(self._state.columns)

    def _status(self, i: int) -> ColumnStatus:
        column, finished = self._state.column_at(i), int(self._state.finished[i])
        counts = column.counts
        return ColumnStatus(
            column_id=column.column_id,
            label=self._labels[column.column_id],
            trials=counts,
            blocked=column.blocked if counts.blocked else None,
            refined=refined_so_far(self._state, i),
            last_result_s=max(self._now - finished / 1e6, 0.0) if finished else None,
            **_holder(self._state.leases.get(i)),
        )


@dataclass(frozen=True)
class RunStatus:
    """A run directory of a sweep.

    ``remaining_s`` is predicted, of one worker; None before anything was timed that it
    could rest on. ``older`` is how many trials there are besides that do not count, see
    :attr:`orchestrator.plan.RunState.older`.
    """

    sweep: str
    columns: ColumnStatuses
    trials: Counts
    remaining_s: float | None
    slurm_jobs: tuple[str, ...]
    damaged: tuple[str, ...]
    older: int


def read_status(run: Path) -> RunStatus:
    """Read the status of a run directory.

    Raises:
        SweepError: it is no run directory.
    """
    sweep, ledger = sweep_of(run), Ledger(run)
    leases = list(read_leases(run))
    state = with_work(ledger.read(sweep.columns), leases, marks_at_work(run, leases))
    return RunStatus(
        sweep=sweep.name,
        columns=ColumnStatuses(state),
        trials=state.total,
        remaining_s=seconds_to_go(state, steps_done(run, state), read_gradient_seconds(run)),
        slurm_jobs=tuple(sorted({c.slurm_job_id for c in leases if c.slurm_job_id})),
        damaged=tuple(str(path) for path in ledger.store.damaged()),
        older=state.older,
    )


def with_work(state: RunState, leases: Iterable[Lease], marks: Iterable[Mark]) -> RunState:
    """A state with who works on what: leases that are alive, and the attempts that run."""
    index = state.layout.index
    alive = [lease for lease in leases if not lease.stale and lease.column_id in index]
    by_place = {index[lease.column_id]: lease for lease in alive}
    works = ((m.trial_id, m.column_id, RunningAttempt(m.attempt, m)) for m in marks)
    return dataclasses.replace(state, leases=by_place).working(works)


def steps_done(run: Path, state: RunState) -> dict[str, int]:
    """The steps of the attempts that run, as far as their processes say them."""
    marks: Iterable[Mark] = (work.mark for work in state.running.values())
    run_now = {(mark.trial_id, mark.attempt, mark.owner) for mark in marks}
    return {
        trial.trial_id: trial.step
        for process in read_live(run)
        for trial in process.trials
        if (trial.trial_id, trial.attempt, process.owner) in run_now
    }


def marks_at_work(run: Path, leases: Iterable[Lease]) -> list[Mark]:
    """The attempts that run: those that are marked and not over.

    Of a process that cannot be seen from here, they are over when its column's lease is stale.
    """
    by_column = {lease.column_id: lease for lease in leases}
    dead: dict[ProcessIdentity, bool | None] = {}
    found = []
    for mark in read_marks(run):
        if mark.owner not in dead:  # asked once: a process may have many trials
            dead[mark.owner] = mark.owner.is_dead()
        over, lease = dead[mark.owner], by_column.get(mark.column_id)
        if over is None:
            over = lease is None or lease.stale
        if not over:
            found.append(mark)
    return found


def describe_trials(store: Store, trials: Iterable[tuple[ColumnState, Trial]]) -> list[Row]:
    """Trials with their problem, η and last attempt."""
    trials = list(trials)
    wanted = {trial.trial_id for _, trial in trials}
    last: dict[str, Row] = {}
    for row in sorted(store.rows("attempts"), key=lambda row: int(row["attempt"])):
        if row["trial_id"] in wanted:
            last[row["trial_id"]] = row
    return [_described(column, trial, last.get(trial.trial_id, {})) for column, trial in trials]


def _described(column: ColumnState, trial: Trial, attempt: Mapping[str, Any]) -> Row:
    eta, eta_c = trial.learning_rate, column.plan.critical_rate
    return {
        "trial_id": trial.trial_id,
        "column_id": column.column_id,
        "kind": trial.kind,
        **dataclasses.asdict(column.column.problem),
        **column.column.optimizer.columns,
        "eta": eta,
        "eta_over_final_eta_c": eta / eta_c if eta and eta_c else None,
        **{name: attempt.get(name) for name in _OF_ATTEMPT},
    }


_OF_ATTEMPT = ("attempt", "outcome", "failure_class", "error", "hostname", "slurm_job_id")


def _holder(lease: Lease | None) -> dict[str, Any]:
    if lease is None:
        return {"leased_by": None, "heartbeat_s": None}
    job = f", job {lease.slurm_job_id}" if lease.slurm_job_id else ""
    owner = f"{lease.owner.hostname} (process {lease.owner.pid}{job})"
    return {"leased_by": owner, "heartbeat_s": lease.age}
