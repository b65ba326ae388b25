"""SLURM's queue: all jobs of this user by one call of ``squeue``, however many they are."""

from __future__ import annotations

import os
from dataclasses import dataclass

from orchestrator.slurm.command import SEPARATOR, TIMEOUT_SECONDS, ask, moment
from orchestrator.slurm.words import is_live

END = "\x1e"
"""Ends the lines of jobs, whose names may have line breaks of their own."""

FIELDS = {
    "Cluster": 48, "UserID": 12, "JobArrayID": 40, "JobID": 12, "State": 24, "Reason": 80,
    "RestartCnt": 8, "SubmitTime": 20, "StartTime": 20, "EndTime": 20, "TimeLimit": 16,
    "NodeList": 512, "Name": 160, "Comment": 128,
}  # fmt: skip
"""What is asked of each job, and the widths, beyond which SLURM cuts; our own names fit."""


@dataclass(frozen=True)
class QueuedJob:
    """A job as ``squeue`` shows it; times in seconds since the epoch, None where it has none.

    ``job_id`` is what ``sbatch`` printed, with the index of an array's task: ``17`` or ``17_3``;
    ``raw_id`` is the number of the task itself. ``state`` is SLURM's word, known to us or not.
    ``starts_at`` of a pending job is SLURM's expectation. ``time_limit`` is as SLURM prints it.
    """

    job_id: str
    raw_id: str
    state: str
    reason: str | None
    restarts: int
    submitted_at: float | None
    starts_at: float | None
    ends_at: float | None
    time_limit: str
    nodes: str | None
    name: str
    comment: str | None
    cluster: str | None

    @property
    def live(self) -> bool:
        """Whether it runs or may still run."""
        return is_live(self.state)


def read_queue(clusters: str | None = None, *, timeout: float = TIMEOUT_SECONDS) -> list[QueuedJob]:
    """All jobs of this user, also those that ended minutes ago; ``clusters`` as SLURM takes them.

    An answer is waited for ``timeout`` seconds.

    Raises:
        SlurmUnavailable: ``squeue`` gave no answer.
    """
    # The number of the user, not the name: LOGNAME may be missing, and names may be unknown here.
    user = str(os.getuid())
    return parse_queue(ask("squeue", _arguments(user, clusters), timeout=timeout), user)


def parse_queue(text: str, user: str) -> list[QueuedJob]:
    """The jobs of one user in what ``squeue`` printed.

    SLURM ignores ``--user`` where the number is unknown to the machine, hence the second look.
    """
    jobs = []
    for line in text.split(END):
        values = [value.strip() for value in line.split(SEPARATOR)]
        if len(values) <= len(FIELDS):
            continue
        # With several clusters, a line of its own may name each, before the first of its jobs.
        cluster = values[0].split("\n")[-1].strip()
        owner, job_id, raw_id, state, reason, restarts, *rest = values[1:]
        submitted, starts, ends, limit, nodes, name = rest[:6]
        comment = SEPARATOR.join(rest[6:-1])
        if owner != user:
            continue
        jobs.append(
            QueuedJob(
                job_id=job_id,
                raw_id=raw_id,
                state=state,
                reason=_said(reason),
                restarts=int(restarts) if restarts.isdigit() else 0,
                submitted_at=moment(submitted),
                starts_at=moment(starts),
                ends_at=moment(ends),
                time_limit=limit,
                nodes=_said(nodes),
                name=name,
                comment=_said(comment),
                cluster=_said(cluster),
            )
        )
    return jobs


def _arguments(user: str, clusters: str | None) -> list[str]:
    fields = [f"{name}:{width}{SEPARATOR}" for name, width in FIELDS.items()]
    return [
        *([f"--clusters={clusters}"] if clusters else []),
        "--noheader",
        "--all",
        "--array",
        "--states=all",
        f"--user={user}",
        f"--Format={','.join(fields)}{END}",
    ]


def _said(text: str) -> str | None:
    return None if text in ("", "None", "(null)", "N/A") else text
