"""What a run directory knows of its SLURM jobs by itself, without asking any scheduler.

``slurm/jobs/JOB-KEY.json`` says that a job was submitted; ``slurm/jobs/JOB-KEY.RESTART.json`` that
it started, how it ended, and by its time of change that it was alive. A job that SLURM puts back
into the queue keeps its number; SLURM counts its restarts, and each has a file of its own. A SLURM
that has lost its state uses numbers again: the key, made for each submission, tells those jobs
apart.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from orchestrator import left_out
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

    ``clusters`` is the cluster that ``sbatch --clusters`` named, None for the default one. ``key``
    tells it from other jobs of that number. Each of its nodes, so many of them, has ``cpus`` and
    ``gpus``; 0 nodes where that is not on record.
    """

    job_id: str
    name: str
    submitted_at: float
    profile: str
    clusters: str | None = None
    key: str = ""
    nodes: int = 0
    cpus: int = 0
    gpus: int = 0


@dataclass(frozen=True)
class Incarnation:
    """One start of a job; times in seconds since the epoch, ``ends_at`` as its time limit has it.

    ``end`` is None as long as the job has not said that it ends; ``requeued`` says that it then put
    itself back into the queue. A job that is ``leaving`` ends, unless it finds more to do in a last
    look at the sweep. ``heartbeat_s`` is the age of its last sign of life in seconds.
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
    key: str = ""
    leaving: bool = False
    heartbeat_s: float = 0.0


@dataclass(frozen=True)
class JobRecord:
    """All that is on record of one job; ``incarnations`` in the order of their restarts.

    ``earlier`` are the jobs that bore its number before, the oldest first.
    """

    job_id: str
    submission: Submission | None = None
    incarnations: tuple[Incarnation, ...] = field(default=())
    earlier: tuple[JobRecord, ...] = field(default=())

    @property
    def all_starts(self) -> tuple[Incarnation, ...]:
        """Every start of every job that bore the number."""
        before = (start for job in self.earlier for start in job.incarnations)
        return (*before, *self.incarnations)


def jobs_folder(run: Path) -> Path:
    """Where the records of a run's jobs lie."""
    return run / "slurm" / "jobs"


def new_key() -> str:
    """A key for a submission that no other has."""
    return secrets.token_hex(6)


def record_submission(run: Path, submission: Submission) -> None:
    """Note that a job was submitted."""
    path = jobs_folder(run) / f"{_stem(submission.job_id, submission.key)}{SUFFIX}"
    _write(path, asdict(submission))


def record_incarnation(run: Path, incarnation: Incarnation) -> None:
    """Note that a job started or ended; the newer record of an incarnation replaces the older."""
    content = asdict(incarnation)
    del content["heartbeat_s"]
    _write(incarnation_path(run, incarnation), content)


def incarnation_path(run: Path, incarnation: Incarnation) -> Path:
    """The record of one start of a job."""
    stem = _stem(incarnation.job_id, incarnation.key)
    return jobs_folder(run) / f"{stem}.{incarnation.restart}{SUFFIX}"


def beat(run: Path, incarnation: Incarnation) -> None:
    """Say that an incarnation is alive."""
    with contextlib.suppress(FileNotFoundError):
        os.utime(incarnation_path(run, incarnation))


def beat_at(run: Path, incarnation: Incarnation) -> float | None:
    """The time of an incarnation's last sign of life by the file server's clock; None for none."""
    try:
        return incarnation_path(run, incarnation).stat().st_mtime
    except FileNotFoundError:
        return None


def superseded(run: Path, incarnation: Incarnation) -> bool:
    """Whether SLURM has started the job again meanwhile: then this incarnation is a left-over."""
    stem = _stem(incarnation.job_id, incarnation.key)
    paths = jobs_folder(run).glob(f"{stem}.*{SUFFIX}")
    return any(int(path.name.split(".")[1]) > incarnation.restart for path in paths)


def changed_at(run: Path) -> int:
    """When a record last appeared, of whichever job, in nanoseconds; one call, however many."""
    return jobs_folder(run).stat().st_mtime_ns


def read_jobs(run: Path, now: float | None = None) -> dict[str, JobRecord]:
    """All jobs of a run that are on record, by their number.

    ``now`` is the time by the file server's clock; without it, who only looks takes this machine's.
    """
    now = time.time() if now is None else now
    submissions: dict[tuple[str, str], Submission] = {}
    incarnations: dict[tuple[str, str], list[Incarnation]] = {}
    written: dict[str, dict[str, float]] = {}
    for content, changed in _read_all(run):
        job_id, key = content["job_id"], content.get("key", "")
        keys = written.setdefault(job_id, {})
        keys[key] = max(changed, keys.get(key, changed))
        if "restart" in content:
            nodes = tuple(content.pop("nodes"))
            incarnation = Incarnation(**content, nodes=nodes, heartbeat_s=max(now - changed, 0.0))
            incarnations.setdefault((job_id, key), []).append(incarnation)
        else:
            submissions[job_id, key] = Submission(**content)
    found = {}
    for job_id in sorted(written, key=_by_number):
        lives = [
            JobRecord(
                job_id,
                submissions.get((job_id, key)),
                tuple(sorted(incarnations.get((job_id, key), []), key=lambda one: one.restart)),
            )
            for key in sorted(written[job_id], key=written[job_id].__getitem__)
        ]
        found[job_id] = replace(lives[-1], earlier=tuple(lives[:-1]))
    return found


def has_jobs(run: Path) -> bool:
    """Whether SLURM jobs have worked on a run, or are to."""
    return any(jobs_folder(run).glob(f"*{SUFFIX}"))


def _read_all(run: Path) -> Iterator[tuple[dict[str, Any], float]]:
    """What each record says, and when it was last changed by the file server's clock."""
    for path in sorted(jobs_folder(run).glob(f"*{SUFFIX}")):
        try:
            if left_out.is_no_file(path):
                continue
            yield json.loads(path.read_text()), path.stat().st_mtime
        except (FileNotFoundError, json.JSONDecodeError):
            continue


def _stem(job_id: str, key: str) -> str:
    """How the names of a job's records begin; those of an older version have no key."""
    return f"{job_id}-{key}" if key else job_id


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.parent.mkdir(mode=0o700, exist_ok=True)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    write_bytes_whole(path, json.dumps(content).encode())


def _by_number(job_id: str) -> tuple[int, str]:
    return (int(job_id) if job_id.isdigit() else 0, job_id)
