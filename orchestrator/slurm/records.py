"""What a run directory knows of its SLURM jobs by itself, without asking any scheduler.

``slurm/jobs/JOB.json`` says that a job was submitted; ``slurm/jobs/JOB.RESTART.json`` that it
started, how it ended, and by its time of change that it was alive. A job that SLURM puts back into
the queue keeps its number; SLURM counts its restarts, and each has a file of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from orchestrator.store import write_bytes_whole

End = Literal[
    "settled", "failed", "time_limit", "preempted", "node_failure", "cancelled", "interrupted",
    "superseded", "idle", "error",
]  # fmt: skip
"""How an incarnation ended: with nothing left to do (``failed``: some trials failed), stopped by
the job's time limit, for other jobs, by the loss of one of its nodes, by who owns it, by a signal
of unknown origin, by a later incarnation of the same job, because other jobs held all that was
left, or by an error of ours."""

SUFFIX = ".json"


@dataclass(frozen=True)
class Submission:
    """A job that was submitted for a run; ``submitted_at`` in seconds since the epoch.

    ``clusters`` is the cluster that ``sbatch --clusters`` named, None for the usual one.
    """

    job_id: str
    name: str
    submitted_at: float
    profile: str
    clusters: str | None = None


@dataclass(frozen=True)
class Incarnation:
    """One start of a job; times in seconds since the epoch, ``ends_at`` as its time limit has it.

    ``end`` is None as long as the job has not said that it ends; ``requeued`` says that it then put
    itself back into the queue. ``heartbeat_s`` is the age of its last sign of life in seconds.
    """

    job_id: str
    restart: int
    nodes: tuple[str, ...]
    hostname: str
    started_at: float
    ends_at: float | None
    end: End | None = None
    ended_at: float | None = None
    detail: str | None = None
    requeued: bool = False
    heartbeat_s: float = 0.0


@dataclass(frozen=True)
class JobRecord:
    """All that is on record of one job; ``incarnations`` in the order of their restarts."""

    job_id: str
    submission: Submission | None = None
    incarnations: tuple[Incarnation, ...] = field(default=())


def jobs_folder(run: Path) -> Path:
    """Where the records of a run's jobs lie."""
    return run / "slurm" / "jobs"


def record_submission(run: Path, submission: Submission) -> None:
    """Note that a job was submitted."""
    _write(jobs_folder(run) / f"{submission.job_id}{SUFFIX}", asdict(submission))


def record_incarnation(run: Path, incarnation: Incarnation) -> None:
    """Note that a job started or ended; the newer record of an incarnation replaces the older."""
    content = asdict(incarnation)
    del content["heartbeat_s"]
    _write(incarnation_path(run, incarnation.job_id, incarnation.restart), content)


def incarnation_path(run: Path, job_id: str, restart: int) -> Path:
    """The record of one start of a job."""
    return jobs_folder(run) / f"{job_id}.{restart}{SUFFIX}"


def beat(run: Path, job_id: str, restart: int) -> None:
    """Say that an incarnation is alive."""
    with contextlib.suppress(FileNotFoundError):
        os.utime(incarnation_path(run, job_id, restart))


def superseded(run: Path, job_id: str, restart: int) -> bool:
    """Whether SLURM has started the job again meanwhile: then this incarnation is a left-over."""
    paths = jobs_folder(run).glob(f"{job_id}.*{SUFFIX}")
    return any(int(path.name.split(".")[1]) > restart for path in paths)


def changed_at(run: Path) -> int:
    """When a record last appeared, of whichever job, in nanoseconds; one call, however many."""
    return jobs_folder(run).stat().st_mtime_ns


def read_jobs(run: Path) -> dict[str, JobRecord]:
    """All jobs of a run that are on record, by their number."""
    submissions: dict[str, Submission] = {}
    incarnations: dict[str, list[Incarnation]] = {}
    for path in sorted(jobs_folder(run).glob(f"*{SUFFIX}")):
        try:
            content, age = json.loads(path.read_text()), time.time() - path.stat().st_mtime
        except (FileNotFoundError, json.JSONDecodeError):
            continue
        job_id = content["job_id"]
        if "restart" in content:
            nodes = tuple(content.pop("nodes"))
            incarnation = Incarnation(**content, nodes=nodes, heartbeat_s=max(age, 0.0))
            incarnations.setdefault(job_id, []).append(incarnation)
        else:
            submissions[job_id] = Submission(**content)
    return {
        job_id: JobRecord(
            job_id,
            submissions.get(job_id),
            tuple(sorted(incarnations.get(job_id, []), key=lambda one: one.restart)),
        )
        for job_id in sorted(submissions.keys() | incarnations.keys(), key=_by_number)
    }


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.parent.mkdir(mode=0o700, exist_ok=True)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    write_bytes_whole(path, json.dumps(content).encode())


def _by_number(job_id: str) -> tuple[int, str]:
    return (int(job_id) if job_id.isdigit() else 0, job_id)
