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
import re
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from orchestrator import left_out
from orchestrator.store import write_bytes_whole
from orchestrator.sweep import SweepError

End = Literal[
    "settled", "failed", "time_limit", "preempted", "node_failure", "cancelled", "interrupted",
    "superseded", "idle", "budget", "error",
]  # fmt: skip
"""How an start ended: with nothing left to do (``failed``: some trials failed), stopped by
the job's time limit, by preemption, by the loss of one of its nodes, by its owner, by a signal
of unknown origin, by a later start of the same job, because other jobs held all that was
left, because the run's budget was used, or by an error of ours."""

SUFFIX = ".json"


@dataclass(frozen=True)
class Submission:
    """A job that was submitted for a run; ``submitted_at`` in seconds since the epoch.

    ``clusters`` is the cluster that ``sbatch --clusters`` named, None for the default one. ``key``
    tells it from other jobs of that number. Each of its ``nodes`` has ``cpus`` and ``gpus``; 0
    nodes where that is not on record.
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
class StartRecord:
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
    """All that is on record of one job; ``starts`` in the order of their restarts.

    ``earlier`` are the jobs that bore its number before, the oldest first.
    """

    job_id: str
    submission: Submission | None = None
    starts: tuple[StartRecord, ...] = field(default=())
    earlier: tuple[JobRecord, ...] = field(default=())

    @property
    def all_starts(self) -> tuple[StartRecord, ...]:
        """Every start of every job that bore the number."""
        before = (start for job in self.earlier for start in job.starts)
        return (*before, *self.starts)


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


def record_start(run: Path, start: StartRecord) -> None:
    """Note that a job started or ended; the newer record of an start replaces the older."""
    content = asdict(start)
    del content["heartbeat_s"]
    _write(start_path(run, start), content)


def start_path(run: Path, start: StartRecord) -> Path:
    """The record of one start of a job."""
    stem = _stem(start.job_id, start.key)
    return jobs_folder(run) / f"{stem}.{start.restart}{SUFFIX}"


def beat(run: Path, start: StartRecord) -> None:
    """Say that an start is alive."""
    with contextlib.suppress(FileNotFoundError):
        os.utime(start_path(run, start))


def beat_at(run: Path, start: StartRecord) -> float | None:
    """The time of an start's last sign of life by the file server's clock; None for none."""
    try:
        return start_path(run, start).stat().st_mtime
    except FileNotFoundError:
        return None


def superseded(run: Path, start: StartRecord) -> bool:
    """Whether SLURM has started the job again meanwhile: then this start is a left-over."""
    stem = _stem(start.job_id, start.key)
    paths = jobs_folder(run).glob(f"{stem}.*{SUFFIX}")
    return any(int(path.name.split(".")[1]) > start.restart for path in paths)


def changed_at(run: Path) -> int:
    """When a record last appeared, of whichever job, in nanoseconds; one call, however many."""
    return jobs_folder(run).stat().st_mtime_ns


def read_jobs(run: Path, now: float | None = None) -> dict[str, JobRecord]:
    """All jobs of a run that are on record, by their number.

    ``now`` is the time by the file server's clock; without it, this machine's is used.
    """
    now = time.time() if now is None else now
    submissions: dict[tuple[str, str], Submission] = {}
    starts: dict[tuple[str, str], list[StartRecord]] = {}
    written: dict[str, dict[str, float]] = {}
    for content, changed in _read_all(run):
        job_id, key = content["job_id"], content.get("key", "")
        keys = written.setdefault(job_id, {})
        keys[key] = max(changed, keys.get(key, changed))
        if "restart" in content:
            nodes = tuple(content.pop("nodes"))
            start = StartRecord(**content, nodes=nodes, heartbeat_s=max(now - changed, 0.0))
            starts.setdefault((job_id, key), []).append(start)
        else:
            submissions[job_id, key] = Submission(**content)
    found = {}
    for job_id in sorted(written, key=_by_number):
        lives = [
            JobRecord(
                job_id,
                submissions.get((job_id, key)),
                tuple(sorted(starts.get((job_id, key), []), key=lambda one: one.restart)),
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


_UNFIT = re.compile(r"[%\\\x00-\x1f\x7f]")


def refuse_odd_path(run: Path) -> None:
    """Make sure that SLURM can write logs below a path.

    Raises:
        SweepError: it has a character that SLURM or a script takes for something else.
    """
    path = str(run.resolve())
    found = _UNFIT.search(path)
    if found or not path.isprintable():
        what = repr(found[0]) if found else "a character that cannot be printed"
        raise SweepError(
            f"run directory {path!r} has {what} in its path; for SLURM jobs it must be free of "
            "'%', '\\' and control characters, which SLURM replaces in names of log files"
        )


def refuse_shared(run: Path) -> None:
    """Make sure that a run directory and its folder of jobs are ours, where they exist.

    Jobs load pickles from there: whoever may write there may run code as us.

    Raises:
        SweepError: one belongs to someone else, may be written to by others, or is no folder.
    """
    for folder in (run.resolve(), run.resolve() / "slurm"):
        try:
            facts = folder.lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(facts.st_mode):
            raise SweepError(f"{folder} is not a folder; it must be one of yours")
        if facts.st_uid != os.getuid():
            raise SweepError(
                f"{folder} belongs to user {facts.st_uid}; it must belong to you, user "
                f"{os.getuid()}, because jobs run code from it"
            )
        if facts.st_mode & 0o022:
            raise SweepError(
                f"{folder} has mode {stat.S_IMODE(facts.st_mode):o}; others must not be able to "
                f"write to it, because jobs run code from it (chmod go-w)"
            )


def private_folder(run: Path) -> Path:
    """``RUN/slurm``, made for its owner alone; see :func:`refuse_shared`."""
    refuse_shared(run)
    folder = run.resolve() / "slurm"
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    return folder
