"""Where a run directory stands: read off its tables, claims and marks, and never written."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator.ledger.attempts import Row
from orchestrator.ledger.claims import Claim, read_claims
from orchestrator.ledger.labels import column_labels
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.marks import Mark, read_marks
from orchestrator.ledger.process import ProcessIdentity
from orchestrator.ledger.timed import read_timed
from orchestrator.live import read_live
from orchestrator.plan import ColumnProgress, State, seconds_to_go
from orchestrator.run_directory import sweep_of
from orchestrator.store import Store
from orchestrator.sweep import Sweep


@dataclass(frozen=True)
class ColumnStatus:
    """One column. Ages in seconds; None where nothing of the kind was seen."""

    column_id: str
    label: str
    settled: int
    running: int
    failed: int
    skipped: int
    to_do: int
    blocked: str | None
    claimed_by: str | None
    heartbeat_s: float | None
    last_result_s: float | None


@dataclass(frozen=True)
class RunStatus:
    """A run directory of a sweep.

    ``remaining_s`` is predicted, of one worker; None before anything was timed that it
    could rest on. ``older`` is how many trials there are besides, of :func:`older_trials`.
    """

    sweep: str
    columns: tuple[ColumnStatus, ...]
    remaining_s: float | None
    slurm_jobs: tuple[str, ...]
    damaged: tuple[str, ...]
    older: int


def read_status(run: Path) -> RunStatus:
    """Look at a run directory.

    Raises:
        SweepError: it is no run directory.
    """
    sweep, ledger = sweep_of(run), Ledger(run)
    claims = {claim.column_id: claim for claim in read_claims(run)}
    marks = marks_at_work(run, claims, ledger.settled)
    running = Counter(mark.column_id for mark in marks)
    rows = ledger.store.table("trials", [*_OF_OLDER, "finished_at"]).to_pylist()
    last, labels = _last_results(rows), column_labels(sweep.columns)
    found = [ColumnProgress(column, ledger.settled, ledger.failed) for column in sweep.columns]
    columns = []
    for progress in found:
        column = progress.column
        states = Counter(progress.states().values())
        to_do = states[State.TO_DO] + (0 if progress.blocked else progress.unknown)
        works = min(running[column.column_id], to_do)
        columns.append(
            ColumnStatus(
                column_id=column.column_id,
                label=labels[column.column_id],
                settled=states[State.SETTLED],
                running=works,
                failed=states[State.FAILED],
                skipped=states[State.SKIPPED],
                to_do=to_do - works,
                blocked=progress.blocked,
                last_result_s=last.get(column.column_id),
                **_holder(claims.get(column.column_id)),
            )
        )
    return RunStatus(
        sweep=sweep.name,
        columns=tuple(columns),
        remaining_s=seconds_to_go(found, _steps_done(run, marks), read_timed(run)),
        slurm_jobs=tuple(sorted({c.slurm_job_id for c in claims.values() if c.slurm_job_id})),
        damaged=tuple(str(path) for path in ledger.store.damaged()),
        older=_count_older(rows, sweep),
    )


_OF_OLDER = ("trial_id", "column_id", "data_digest")


def older_trials(store: Store, sweep: Sweep) -> int:
    """How many trials have rows of a version that named trials otherwise, and do not count.

    Such rows have no digest of their data, and are of columns that the sweep does not have.
    """
    return _count_older(store.table("trials", _OF_OLDER).to_pylist(), sweep)


def _count_older(rows: Iterable[Row], sweep: Sweep) -> int:
    columns = {column.column_id for column in sweep.columns}
    undigested = (row for row in rows if row["data_digest"] is None)
    return len({row["trial_id"] for row in undigested if row["column_id"] not in columns})


def _steps_done(run: Path, marks: Iterable[Mark]) -> dict[str, int]:
    """The steps of the attempts that run, as far as their processes say them."""
    run_now = {(mark.trial_id, mark.attempt, mark.owner) for mark in marks}
    return {
        trial.trial_id: trial.step
        for process in read_live(run)
        for trial in process.trials
        if (trial.trial_id, trial.attempt, process.owner) in run_now
    }


def marks_at_work(run: Path, claims: Mapping[str, Claim], settled: Container[str]) -> list[Mark]:
    """The attempts that run: those that are marked and neither settled nor over.

    Of a process that cannot be seen from here, they are over when its column's claim is stale.
    """
    dead: dict[ProcessIdentity, bool | None] = {}
    found = []
    for mark in read_marks(run):
        if mark.owner not in dead:  # asked once, though it may have many trials in hand
            dead[mark.owner] = mark.owner.is_dead()
        over, claim = dead[mark.owner], claims.get(mark.column_id)
        if over is None:
            over = claim is None or claim.stale
        if not over and mark.trial_id not in settled:
            found.append(mark)
    return found


def attributes(sweep: Sweep, ledger: Ledger, wanted: Collection[str] | None) -> list[Row]:
    """Known trials of a sweep with their problem, η and last attempt; all for ``wanted=None``."""
    rows = []
    last = {row["trial_id"]: row for row in _by_attempt(ledger)}
    for column in sweep.columns:
        progress = ColumnProgress(column, ledger.settled, ledger.failed)
        for trial in progress.trials:
            if wanted is not None and trial.trial_id not in wanted:
                continue
            eta, eta_c = trial.learning_rate, progress.critical_rate
            attempt = last.get(trial.trial_id, {})
            rows.append(
                {
                    "trial_id": trial.trial_id,
                    "column_id": column.column_id,
                    "kind": trial.kind,
                    **dataclasses.asdict(column.problem),
                    "eta": eta,
                    "eta_over_eta_c": eta / eta_c if eta and eta_c else None,
                    "attempt": attempt.get("attempt"),
                    "outcome": attempt.get("outcome"),
                    "failure_class": attempt.get("failure_class"),
                    "error": attempt.get("error"),
                    "hostname": attempt.get("hostname"),
                    "slurm_job_id": attempt.get("slurm_job_id"),
                }
            )
    return rows


def _holder(claim: Claim | None) -> dict[str, Any]:
    if claim is None or claim.stale:
        return {"claimed_by": None, "heartbeat_s": None}
    job = f", job {claim.slurm_job_id}" if claim.slurm_job_id else ""
    owner = f"{claim.owner.hostname} (process {claim.owner.pid}{job})"
    return {"claimed_by": owner, "heartbeat_s": claim.age}


def _last_results(rows: Iterable[Row]) -> dict[str, float]:
    """The age of the newest row of each column, in seconds."""
    now, ages = datetime.now(UTC), {}
    for row in sorted(rows, key=lambda row: row["finished_at"]):
        ages[row["column_id"]] = max((now - row["finished_at"]).total_seconds(), 0.0)
    return ages


def _by_attempt(ledger: Ledger) -> list[Row]:
    return sorted(ledger.store.rows("attempts"), key=lambda row: int(row["attempt"]))
