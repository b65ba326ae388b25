"""What a job asks SLURM's controller about itself, and what it asks of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestrator.slurm.command import SlurmUnavailable, ask, moment

SECONDS = 10.0
"""A job that ends has little time, and goes on without an answer."""


@dataclass(frozen=True)
class OwnState:
    """A job as the controller sees it. ``state`` is SLURM's word, ``restarts`` how often it was put
    back, ``ends_at`` when its time limit ends it (seconds since the epoch, None for never).
    """

    state: str
    restarts: int
    ends_at: float | None


def own_state(job_id: str) -> OwnState:
    """How the controller sees a job.

    Raises:
        SlurmUnavailable: it gives no answer, or none that can be read.
    """
    return parse_job(ask("scontrol", ["--oneliner", "show", "job", job_id], timeout=SECONDS))


def clock() -> float:
    """What time it is for the controller, in seconds since the epoch.

    Raises:
        SlurmUnavailable: it gives no answer, or none that can be read.
    """
    text = ask("scontrol", ["show", "config"], timeout=SECONDS)
    dated = re.match(r"Configuration data as of (\S+)", text)
    now = None if dated is None else moment(dated[1])
    if now is None:
        raise SlurmUnavailable("scontrol show config does not begin with the time")
    return now


def requeue(job_id: str) -> None:
    """Put a running job back into the queue; SLURM then ends all its processes, this one too.

    Raises:
        SlurmUnavailable: the controller gives no answer, or refuses.
    """
    ask("scontrol", ["requeue", job_id], timeout=SECONDS)


def parse_job(text: str) -> OwnState:
    """The state in what ``scontrol --oneliner show job`` prints."""
    fields = dict(re.findall(r"(?:^|\s)(JobState|Restarts|EndTime)=(\S+)", text))
    restarts = fields.get("Restarts", "0")
    return OwnState(
        state=fields.get("JobState", ""),
        restarts=int(restarts) if restarts.isdigit() else 0,
        ends_at=moment(fields.get("EndTime", "")),
    )
