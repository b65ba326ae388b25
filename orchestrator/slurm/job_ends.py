"""How the starts of a run's jobs ended, by which evidence; and what that says of lost attempts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.plan import FailureClass
from orchestrator.slurm.accounting import AccountedStart, Accounting
from orchestrator.slurm.job_states import SILENT_SECONDS
from orchestrator.slurm.records import End, JobRecord, StartRecord

CLASSES: dict[End, FailureClass] = {
    "time_limit": "time_limit",
    "node_failure": "node_failure",
    "error": "exception",
}
"""What a job's own word says of an attempt that was lost with it. Who was preempted, cancelled or
interrupted has not failed."""

IN_ORDER: frozenset[End] = frozenset({"settled", "failed", "superseded", "budget"})
CLOCKS_SECONDS = 60.0
"""By how much the clocks of two nodes may differ."""


@dataclass(frozen=True)
class JobEnd:
    """How one start of a job ended; times in seconds since the epoch, None where not known.

    ``end`` is the job's own word, or SLURM's in capitals, or ``unknown``; ``failure_class`` what is
    proven by ``evidence`` from ``source``, if anything. ``bad`` says that it did not end in order.
    """

    job_id: str
    restart: int | None
    end: str
    failure_class: FailureClass | None
    source: Literal["record", "sacct"]
    evidence: str
    bad: bool
    nodes: str | None
    started_at: float | None
    ended_at: float | None


def job_ends(
    records: Mapping[str, JobRecord],
    accounting: Accounting,
    now: float,
    others: Iterable[str] = (),
) -> list[JobEnd]:
    """How every start that is over has ended, job by job; ``others`` are jobs without a record."""
    ends = []
    for job_id in dict.fromkeys([*records, *others]):
        accounted = accounting.starts.get(job_id, ())
        recorded = records[job_id].all_starts if job_id in records else ()
        paired = [_start_of(own, accounted) for own in recorded]
        for own, start in zip(recorded, paired, strict=True):
            end = _end(own, start, now, last=own is recorded[-1])
            if end is not None:
                ends.append(end)
        taken = {id(start) for start in paired}
        # Starts that died before they could put themselves on record.
        ends += [
            _accounted(start, place)
            for place, start in enumerate(accounted)
            if id(start) not in taken and start.over and start.started_at is not None
        ]
    return ends


def end_of_attempt(
    job_id: str, restart: int | None, started_at: float, ends: Sequence[JobEnd]
) -> JobEnd | None:
    """How the start of a job ended in which an attempt was lost; None where nobody knows."""
    of_job = [end for end in reversed(ends) if end.job_id == job_id]
    of_start = [end for end in of_job if restart is not None and end.restart == restart]
    # Jobs that bore the same number have starts with the same count: then the time decides.
    for end in of_start if len(of_start) != 1 else ():
        if _spans(end, started_at):
            return end
    if of_start:
        return of_start[0]
    return next((end for end in of_job if _spans(end, started_at)), None)


def _spans(end: JobEnd, moment: float) -> bool:
    """Whether a start of a job lasted at that time."""
    began, ended = end.started_at, end.ended_at
    return began is not None and began - CLOCKS_SECONDS <= moment <= (ended or moment)


def _end(
    own: StartRecord, start: AccountedStart | None, now: float, *, last: bool
) -> JobEnd | None:
    """The end of a start that is on record; None while it is, or may be, at work."""
    by_slurm = start if start is not None and start.over else None
    own_class = None if own.end is None else CLASSES.get(own.end)
    if by_slurm is not None and (own.end is None or _outweighs(by_slurm, own_class)):
        return _accounted(by_slurm, own.restart)
    if own.end is not None:
        evidence = own.detail or f"its own record says {own.end}"
    elif not last:
        evidence = "no word of its own; SLURM started the job again"
    elif own.heartbeat_s < SILENT_SECONDS:
        return None
    else:
        evidence = "no word of its own and none of SLURM's"
    return JobEnd(
        job_id=own.job_id,
        restart=own.restart,
        end=own.end or "unknown",
        failure_class=own_class,
        source="record",
        evidence=evidence,
        bad=own.end is None or (own.end not in IN_ORDER and not own.requeued),
        nodes=",".join(own.nodes) or None,
        started_at=own.started_at,
        ended_at=own.ended_at if own.end else now - own.heartbeat_s,
    )


def _outweighs(start: AccountedStart, own_class: FailureClass | None) -> bool:
    """Whether SLURM proves more than the job itself, which does not see its memory run out."""
    return start.failure_class not in (None, "exception") and own_class in (None, "exception")


def _accounted(start: AccountedStart, restart: int) -> JobEnd:
    return JobEnd(
        job_id=start.job_id,
        restart=restart,
        end=start.ending.state,
        failure_class=start.failure_class,
        source="sacct",
        evidence=str(start),
        bad=True,
        nodes=start.nodes,
        started_at=start.started_at,
        ended_at=start.ended_at,
    )


def _start_of(own: StartRecord, starts: Sequence[AccountedStart]) -> AccountedStart | None:
    """The start that accounting has of an start: the last within whose time it began."""
    for start in reversed(starts):
        if start.started_at is None or start.started_at > own.started_at + CLOCKS_SECONDS:
            continue
        if start.ended_at is None or start.ended_at >= own.started_at - CLOCKS_SECONDS:
            return start
    return None
