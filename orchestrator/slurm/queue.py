"""SLURM's queue: all jobs of this user by one call of ``squeue``, however many they are."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orchestrator.slurm.command import SEPARATOR, TIMEOUT_SECONDS, ask, moment

Phase = Literal["pending", "running", "requeued", "ending", "ended", "unknown"]
"""Where a job stands: waiting for its first start, at work, waiting for another start, being
cleared away, over, or not to be known at the moment."""

LOST = frozenset({"PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "REQUEUED"})
"""What ends one start of a job, after which SLURM may put it back into the queue."""

_PHASES: dict[str, Phase] = {
    **dict.fromkeys(("PENDING", "CONFIGURING", "POWER_UP_NODE", "RESV_DEL_HOLD"), "pending"),
    **dict.fromkeys(("REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"), "requeued"),
    **dict.fromkeys(("RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING"), "running"),
    **dict.fromkeys(("COMPLETING", "STAGE_OUT"), "ending"),
    **dict.fromkeys(
        (
            "COMPLETED", "FAILED", "TIMEOUT", "DEADLINE", "CANCELLED", "OUT_OF_MEMORY", "PREEMPTED",
            "NODE_FAIL", "BOOT_FAIL", "LAUNCH_FAILED", "RECONFIG_FAIL", "REVOKED",
        ),
        "ended",
    ),
}  # fmt: skip


def phase_of(word: str) -> Phase:
    """The phase that a state word stands for; ``unknown`` for words of another version."""
    return _PHASES.get(word, "unknown")


def is_live(word: str) -> bool:
    """Whether a job in this state may still run: so may one whose state we do not know."""
    return phase_of(word) != "ended"


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
        found = dict(zip(FIELDS, values, strict=False))
        if found["UserID"] != user:
            continue
        restarts = found["RestartCnt"]
        jobs.append(
            QueuedJob(
                job_id=found["JobArrayID"],
                raw_id=found["JobID"],
                state=found["State"],
                reason=_said(found["Reason"]),
                restarts=int(restarts) if restarts.isdigit() else 0,
                submitted_at=moment(found["SubmitTime"]),
                starts_at=moment(found["StartTime"]),
                ends_at=moment(found["EndTime"]),
                time_limit=found["TimeLimit"],
                nodes=_said(found["NodeList"]),
                name=found["Name"],
                comment=_said(SEPARATOR.join(values[len(FIELDS) - 1 : -1])),
                # With several clusters, a line of its own may name each, before its first job.
                cluster=_said(found["Cluster"].split("\n")[-1].strip()),
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


def job_name(run: Path, sweep_name: str) -> str:
    """``eos-SWEEP-HASH``: for people the name of the sweep, for us the run directory's own hash.

    The hash is of the resolved path, so that runs of one sweep in two directories differ.
    """
    path = str(run.resolve()).encode("utf-8", "surrogateescape")
    return f"eos-{sweep_name}-{hashlib.sha256(path).hexdigest()[:8]}"
