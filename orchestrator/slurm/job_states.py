"""Where each job of a run stands, from three witnesses: its own record, SLURM's queue, accounting.

The job's own word that it has ended wins, then its sign of life, then the queue, then accounting.
A witness that says nothing proves nothing: a job that nobody has seen to end is ``unknown``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from orchestrator.slurm.accounting import Accounting
from orchestrator.slurm.queue import Phase, QueuedJob, phase_of
from orchestrator.slurm.records import JobRecord, StartRecord

Source = Literal["record", "squeue", "sacct"]

SILENT_SECONDS = 90.0
"""A job whose last sign of life is younger than this is at work, whatever SLURM says of it."""

SKEW_SECONDS = 2.0
"""By how much SLURM's clock, of whole seconds, and that of the file system may differ."""


@dataclass(frozen=True)
class JobState:
    """What is known of one job, by whom, and how old that is (``age_s``).

    ``end`` is how it ended: in small letters the job's own word, in capitals SLURM's. ``state`` is
    SLURM's word for it now. ``since`` is when it ended, or when a job that is ``unknown`` now was
    last heard of, at which time it was ``last_known``. ``silent_s`` is set where SLURM says that a
    job is at work which has shown no sign of life for so long.
    """

    job_id: str
    phase: Phase
    source: Source
    age_s: float
    since: float | None = None
    end: str | None = None
    state: str | None = None
    reason: str | None = None
    nodes: str | None = None
    restarts: int = 0
    time_left_s: float | None = None
    last_known: Phase | None = None
    silent_s: float | None = None
    name: str | None = None
    cluster: str | None = None
    on_record: bool = True

    @property
    def live(self) -> bool:
        """Whether it runs or may still run; so does a job of which nothing is known."""
        return self.phase != "ended"


def job_states(
    records: Mapping[str, JobRecord],
    queue: Sequence[QueuedJob] | None,
    accounting: Accounting | None,
    now: float,
) -> list[JobState]:
    """The state of every job on record; ``queue`` is None when SLURM gave no answer."""
    seen = matches(records, queue or ())
    return [
        _state(record, seen.get(job_id), queue is not None, accounting, now)
        for job_id, record in records.items()
    ]


def orphans(
    records: Mapping[str, JobRecord],
    queue: Sequence[QueuedJob],
    names: Collection[str],
    now: float,
) -> list[JobState]:
    """The state of the jobs that carry one of a run's names but are not on its record."""
    return [_by_queue(job, None, now, on_record=False) for job in off_record(records, queue, names)]


def off_record(
    records: Mapping[str, JobRecord], queue: Sequence[QueuedJob], names: Collection[str]
) -> list[QueuedJob]:
    """The live jobs of the queue that carry one of a run's names but are not on its record."""
    known = {(job.cluster, job.raw_id) for job in matches(records, queue).values()}
    return [
        job
        for job in queue
        if job.live and job.name in names and (job.cluster, job.raw_id) not in known
    ]


def at_work(
    records: Mapping[str, JobRecord], queue: Sequence[QueuedJob], name: str
) -> tuple[list[QueuedJob], list[QueuedJob]]:
    """The jobs of that name that do, or will do, what is missing of their run, and those that end.

    A job that SLURM clears away, or that has said itself that it ends, does nothing any more,
    unless it goes back into the queue.
    """
    record_of = {
        (job.cluster, job.raw_id): records[job_id]
        for job_id, job in matches(records, queue).items()
    }
    works: list[QueuedJob] = []
    ends: list[QueuedJob] = []
    for job in queue:
        if job.live and job.name == name:
            takes = _takes_more(job, record_of.get((job.cluster, job.raw_id)))
            (works if takes else ends).append(job)
    return works, ends


def _takes_more(job: QueuedJob, record: JobRecord | None) -> bool:
    own = record.starts[-1] if record is not None and record.starts else None
    if own is not None and (own.requeued or job.restarts > own.restart):
        return True
    if phase_of(job.state) == "ending":
        return False
    return own is None or not (own.leaving or own.end is not None)


def matches(records: Mapping[str, JobRecord], queue: Sequence[QueuedJob]) -> dict[str, QueuedJob]:
    """The jobs on record that the queue shows; a stranger's with the same number is not one."""
    by_id: dict[str, list[QueuedJob]] = defaultdict(list)
    for job in queue:
        for name in {job.job_id, job.raw_id}:
            by_id[name].append(job)
    return {
        job_id: job
        for job_id, record in records.items()
        for job in by_id.get(job_id, [])
        if _same(record, job)
    }


def _same(record: JobRecord, job: QueuedJob) -> bool:
    submission = record.submission
    if submission is None:
        # A number that is used again belongs to a job that was submitted after ours had started.
        first = record.starts[0].started_at + SILENT_SECONDS
        return job.restarts > 0 or job.submitted_at is None or job.submitted_at < first
    if submission.clusters and job.cluster and job.cluster not in submission.clusters.split(","):
        return False
    return job.name == submission.name


def _state(
    record: JobRecord,
    job: QueuedJob | None,
    asked: bool,
    accounting: Accounting | None,
    now: float,
) -> JobState:
    own = record.starts[-1] if record.starts else None
    known = _known(record, own, job)
    # Only a later start of the job makes an earlier one's sign of life, or its last word, old.
    outlived = job is not None and own is not None and job.restarts > own.restart
    if own is not None and not outlived:
        if own.end is None and own.heartbeat_s < SILENT_SECONDS and not _outlasted(own, job, now):
            return _by_record(known, own, "running", now, job)
        if own.end is not None and (job is None or not job.live) and not own.requeued:
            return _by_record(known, own, "ended", now, job)
        if own.end is not None and job is not None and phase_of(job.state) in _LEAVING:
            return _by_record(known, own, "ending", now, job)
    if job is not None:
        return _by_queue(job, own, now)
    told = _by_accounting(known, accounting, asked)
    if told is not None:
        return told
    if own is not None and own.requeued:
        return _by_record(known, own, "requeued", now, None)
    submitted = record.submission.submitted_at if record.submission is not None else now
    since = submitted if own is None else now - own.heartbeat_s
    return replace(
        known,
        age_s=max(now - since, 0.0),
        since=since,
        last_known="pending" if own is None else "running",
        reason="not in SLURM's queue" if asked else "SLURM gave no answer",
    )


def _known(record: JobRecord, own: StartRecord | None, job: QueuedJob | None) -> JobState:
    """What is known of a job on record, wherever it stands."""
    submission = record.submission
    name = None if job is None else job.name
    cluster = None if job is None else job.cluster
    if submission is not None:
        name, cluster = submission.name, cluster or submission.clusters
    return JobState(
        job_id=record.job_id,
        phase="unknown",
        source="record",
        age_s=0.0,
        nodes=None if own is None else ",".join(own.nodes) or None,
        restarts=0 if own is None else own.restart,
        name=name,
        cluster=cluster,
    )


def _outlasted(own: StartRecord, job: QueuedJob | None, now: float) -> bool:
    """Whether SLURM saw a job end after its last sign of life: then it was killed without a word.

    A job that SLURM has given up with its node and that computes on shows signs of life after that.
    """
    return (
        job is not None
        and not job.live
        and job.ends_at is not None
        and now - own.heartbeat_s <= job.ends_at + SKEW_SECONDS
    )


_LEAVING = ("running", "ending")


def _by_record(
    known: JobState, own: StartRecord, phase: Phase, now: float, job: QueuedJob | None
) -> JobState:
    alive = phase == "running"
    heard = now - own.heartbeat_s if alive or own.ended_at is None else own.ended_at
    left = None if not alive or own.ends_at is None else max(own.ends_at - now, 0.0)
    return replace(
        known,
        phase=phase,
        age_s=max(now - heard, 0.0),
        since=None if alive else heard,
        end=own.end,
        state=None if job is None else job.state,
        reason=own.detail,
        time_left_s=left,
    )


def _by_queue(
    job: QueuedJob, own: StartRecord | None, now: float, *, on_record: bool = True
) -> JobState:
    phase = phase_of(job.state)
    if phase == "pending" and (own is not None or job.restarts > 0):
        phase = "requeued"
    running = phase == "running"
    ended = phase == "ended"
    return JobState(
        job_id=job.job_id,
        phase=phase,
        source="squeue",
        age_s=0.0,
        since=job.ends_at if ended else None,
        end=job.state if ended else None,
        state=job.state,
        reason=_reason(job, on_record),
        nodes=job.nodes,
        restarts=job.restarts,
        time_left_s=max(job.ends_at - now, 0.0) if running and job.ends_at is not None else None,
        silent_s=_silence(job, own, now) if on_record else None,
        name=job.name,
        cluster=job.cluster,
        on_record=on_record,
    )


def _reason(job: QueuedJob, on_record: bool) -> str | None:
    """SLURM's reason for the state; of a job that ended unseen, COMPLETED too, that it was so."""
    if job.live:
        return job.reason
    # A job that was cancelled while it waited still shows what it waited for.
    reason = job.reason if job.nodes is not None else None
    return reason or ("no word of its own" if on_record else None)


def _silence(job: QueuedJob, own: StartRecord | None, now: float) -> float | None:
    """For how long a job that SLURM calls RUNNING has not been heard of, if that is too long."""
    if job.state != "RUNNING":
        return None
    if own is not None and own.restart == job.restarts:
        silence = own.heartbeat_s
    else:
        silence = 0.0 if job.starts_at is None else now - job.starts_at
    return silence if silence > SILENT_SECONDS else None


def _by_accounting(known: JobState, accounting: Accounting | None, asked: bool) -> JobState | None:
    """What accounting adds where the queue does not have the job: it lags, so it seldom decides."""
    start = None if accounting is None else accounting.newest(known.job_id)
    if accounting is None or start is None:
        return None
    # A lost start is the end of the job only if the queue, which was asked, does not have it again;
    # one that was put back is not even then.
    gone = asked and start.over and start.ending.state != "REQUEUED"
    ended = start.final or gone
    if not ended and (asked or start.over):
        return None
    return replace(
        known,
        phase="ended" if ended else phase_of(start.ending.state),
        source="sacct",
        since=start.ended_at if ended else None,
        end=start.ending.state if ended else None,
        state=start.ending.state,
        reason=str(start) if ended else None,
        nodes=start.nodes,
        restarts=len(accounting.starts[known.job_id]) - 1,
    )
