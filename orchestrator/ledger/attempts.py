"""The attempts table: one row for each attempt of a trial, lost ones too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobs.spec.values import digest_of
from orchestrator.ledger.marks import Mark, unmark
from orchestrator.plan import AttemptOutcome, FailureClass
from orchestrator.store import write_part

Row = dict[str, Any]

LOST = "its process ended without a word; the last checkpoint is kept"


def utc(seconds: float) -> datetime:
    """Seconds since the epoch as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def attempt_row(
    trial_id: str,
    column_id: str,
    attempt: int,
    outcome: AttemptOutcome,
    *,
    hostname: str,
    started_at: datetime,
    finished_at: datetime | None,
    slurm_job_id: str | None = None,
    restart_count: int | None = None,
    failure_class: FailureClass | None = None,
    error: str | None = None,
) -> Row:
    """One row of ``attempts``."""
    return {
        "trial_id": trial_id,
        "column_id": column_id,
        "attempt": attempt,
        "outcome": outcome,
        "failure_class": failure_class,
        "error": error,
        "hostname": hostname,
        "slurm_job_id": slurm_job_id,
        "restart_count": restart_count,
        "started_at": started_at,
        "finished_at": finished_at,
    }


def part_name(attempts: Sequence[tuple[str, int]]) -> str:
    """The name of a part with these attempts of trials; a part with the same ones replaces it."""
    if len(attempts) == 1:
        trial_id, attempt = attempts[0]
        return f"{trial_id}-{attempt}"
    content = ",".join(f"{trial_id}-{attempt}" for trial_id, attempt in attempts)
    return f"batch-{digest_of(content.encode())}"


def commit_attempt(run: Path, row: Row) -> None:
    """Write the row of an attempt that did not settle its trial, and remove its mark."""
    write_part(run, "attempts", part_name([(row["trial_id"], row["attempt"])]), [row])
    unmark(run, row["trial_id"])


def close_marks(
    run: Path,
    marks: Sequence[Mark],
    recorded: Mapping[str, int],
    settled_attempts: Mapping[str, tuple[int, int]],
    *,
    failure_class: FailureClass | None = None,
    error: str = LOST,
) -> list[str]:
    """Write the missing rows of attempts whose process is gone.

    ``recorded`` has the last attempt of each trial that has a row in ``attempts``,
    ``settled_attempts`` the attempt that settled each settled trial, and when that ended (µs since
    the epoch). Returns the trials whose attempt was lost.
    """
    lost = []
    for mark in marks:
        settled_by, ended = settled_attempts.get(mark.trial_id, (0, 0))
        if recorded.get(mark.trial_id, 0) >= mark.attempt:
            unmark(run, mark.trial_id)
            continue
        settled = settled_by == mark.attempt
        if not settled:
            lost.append(mark.trial_id)
        commit_attempt(
            run,
            attempt_row(
                mark.trial_id,
                mark.column_id,
                mark.attempt,
                "settled" if settled else "lost",
                hostname=mark.owner.hostname,
                started_at=utc(mark.started_at),
                finished_at=utc(ended / 1e6) if settled else None,
                slurm_job_id=mark.slurm_job_id,
                restart_count=mark.restart_count,
                failure_class=None if settled else failure_class,
                error=None if settled else error,
            ),
        )
    return lost
