"""Marks of attempts that have started: what tells a lost attempt from one that never was.

A mark is made when an attempt starts and removed when its row is in the attempts table. A mark
whose process is dead and whose row is missing is an attempt that was lost.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.whole_file import temporary_name
from orchestrator import left_out
from orchestrator.ledger.process import ProcessIdentity
from orchestrator.store import LEASES

RUNNING, REARMED = ".running", ".rearmed"

ORPHAN_SECONDS = 15.0
"""How long a worker may outlive its dead driver before its trial is restarted all the same."""


@dataclass(frozen=True)
class Mark:
    """An attempt of a trial that has started; ``started_at`` in seconds since the epoch."""

    trial_id: str
    column_id: str
    attempt: int
    owner: ProcessIdentity
    started_at: float
    slurm_job_id: str | None = None
    restart_count: int | None = None


def mark_running(
    run: Path,
    trial_id: str,
    column_id: str,
    attempt: int,
    slurm_job_id: str | None = None,
    restart_count: int | None = None,
) -> Mark:
    """Note that this process starts an attempt."""
    owner = ProcessIdentity.own()
    mark = Mark(trial_id, column_id, attempt, owner, time.time(), slurm_job_id, restart_count)
    content = {**vars(mark), "owner": owner.as_dict()}
    _write(run / LEASES / f"{trial_id}{RUNNING}", json.dumps(content))
    return mark


def unmark(run: Path, trial_id: str) -> None:
    """Note that an attempt has its row in the attempts table."""
    (run / LEASES / f"{trial_id}{RUNNING}").unlink(missing_ok=True)


def read_marks(run: Path, trial_ids: Iterable[str] | None = None) -> Iterator[Mark]:
    """The attempts that have started and have not ended in order; all, or those of some trials."""
    folder = run / LEASES
    if trial_ids is None:
        paths = sorted(folder.glob(f"*{RUNNING}"))
    else:
        paths = [folder / f"{trial_id}{RUNNING}" for trial_id in trial_ids]
    for path in paths:
        mark = left_out.read(path, _mark)
        if mark is not None:
            yield mark


def torn_marks(run: Path) -> list[Path]:
    """The files of marks and of re-armed trials that cannot be read, as after a machine's crash."""
    kinds: list[tuple[str, Callable[[str], object]]] = [(RUNNING, _mark), (REARMED, int)]
    return [
        path
        for suffix, read in kinds
        for path in sorted((run / LEASES).glob(f"*{suffix}"))
        if left_out.read(path, read) is None and path.exists()
    ]


def wait_for_death(marks: Sequence[Mark]) -> None:
    """Give workers whose driver or actor died the time to be gone, so that none computes twice."""
    end = time.monotonic() + ORPHAN_SECONDS
    while any(mark.owner.is_dead() is False for mark in marks) and time.monotonic() < end:
        time.sleep(0.1)


def rearm(run: Path, trial_id: str, attempt: int) -> None:
    """Forgive a trial its failures up to an attempt."""
    _write(run / LEASES / f"{trial_id}{REARMED}", str(attempt))


def read_rearmed(run: Path) -> dict[str, int]:
    """The attempt up to which each re-armed trial is forgiven."""
    found = {path.stem: left_out.read(path, int) for path in (run / LEASES).glob(f"*{REARMED}")}
    return {trial_id: attempt for trial_id, attempt in found.items() if attempt is not None}


def _mark(text: str) -> Mark:
    """The mark of a file; raises ValueError, TypeError or KeyError where it is none."""
    content = json.loads(text)
    return Mark(**{**content, "owner": ProcessIdentity(**content["owner"])})


def _write(path: Path, text: str) -> None:
    """Whole, but not flushed to disk: a mark matters only as long as the machine stays up."""
    temporary = temporary_name(path)
    temporary.write_text(text)
    temporary.replace(path)
