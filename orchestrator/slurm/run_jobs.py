"""The jobs of a run, seen from outside: where they stand, how they ended, and cancelling them."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.slurm.accounting import Accounting, read_accounting
from orchestrator.slurm.command import TIMEOUT_SECONDS, SlurmUnavailable, ask
from orchestrator.slurm.job_ends import JobEnd, job_ends
from orchestrator.slurm.job_states import JobState, job_states, matches, off_record, orphans
from orchestrator.slurm.queue import QueuedJob, job_name, read_queue
from orchestrator.slurm.records import JobRecord, read_jobs

OFTEN_SECONDS = 10.0
"""How long those who ask again soon wait for the queue."""


@dataclass(frozen=True)
class Observation:
    """The jobs of a run; ``silence`` says why the queue is not known, None if it is or need not be.

    ``orphans`` carry the run's name in SLURM's queue but are not on record.
    """

    jobs: tuple[JobState, ...] = ()
    orphans: tuple[JobState, ...] = ()
    silence: str | None = None


def observe(run: Path, sweep_name: str, *, often: bool = False) -> Observation:
    """The state of a run's jobs by their records and, where there are any, one call of squeue.

    Accounting is asked in its place only when the queue gives no answer, and not by those who ask
    ``often``: they wait for the queue for a short time only.
    """
    records = read_jobs(run)
    if not records:
        return Observation()
    try:
        patience = OFTEN_SECONDS if often else TIMEOUT_SECONDS
        queue = read_queue(clusters_of(records), timeout=patience)
    except SlurmUnavailable as error:
        if often:
            return Observation(
                tuple(job_states(records, None, None, time.time())), (), error.reason
            )
        accounting = _accounting(records, {})
        reasons = [error.reason, *([accounting.silence] if accounting.silence else [])]
        known = job_states(records, None, accounting, time.time())
        return Observation(tuple(known), silence="; ".join(reasons))
    now, names = time.time(), {job_name(run, sweep_name)}
    return Observation(
        tuple(job_states(records, queue, None, now)), tuple(orphans(records, queue, names, now))
    )


def job_ends_of(run: Path, others: Mapping[str, float]) -> tuple[list[JobEnd], str | None]:
    """How a run's jobs ended, by their records and one call of sacct; and why it said nothing.

    ``others`` are jobs that are not on record but attempts of trials name, and when those began.
    """
    records = read_jobs(run)
    others = {job_id: began for job_id, began in others.items() if job_id not in records}
    if not others and all(_told_in_order(record) for record in records.values()):
        return job_ends(records, Accounting({}), time.time()), None
    accounting = _accounting(records, others)
    return job_ends(records, accounting, time.time(), others), accounting.silence


def _accounting(records: Mapping[str, JobRecord], others: Mapping[str, float]) -> Accounting:
    """Accounting by the names on record; of all jobs of this user where one has none there."""
    times = list(others.values())
    times += [record.submission.submitted_at for record in records.values() if record.submission]
    times += [one.started_at for record in records.values() for one in record.all_starts]
    names = {record.submission.name for record in records.values() if record.submission}
    nameless = bool(others) or any(record.submission is None for record in records.values())
    return read_accounting(min(times), None if nameless else names, clusters_of(records))


def output_files(run: Path, job_id: str) -> list[Path]:
    """What a job has written, in all its processes."""
    if not re.fullmatch(r"\d+(_\d+)?", job_id):
        return []
    folder = run / "slurm" / job_id
    return sorted([*folder.glob("*_log.out"), *folder.glob("*_log.err")])


def clusters_of(records: Mapping[str, JobRecord]) -> str | None:
    """The clusters to ask, as SLURM takes them: those of the submissions, in one question."""
    named = {
        record.submission.clusters if record.submission is not None else None
        for record in records.values()
    }
    if named == {None} or not named:
        return None
    # The name of the default cluster is not on record; all of them contain it.
    return "all" if None in named else ",".join(sorted(name for name in named if name))


def _told_in_order(record: JobRecord) -> bool:
    return bool(record.starts) and all(one.end == "settled" for one in record.all_starts)


MOST_AT_ONCE = 500
"""SLURM refuses very long lists of numbers."""


@dataclass(frozen=True)
class Cancelled:
    """What was cancelled; ``over`` of the jobs asked for are the run's but no longer in the queue.

    ``strangers`` are not the run's: where there are any, nothing was done. ``silence`` says that
    there is no SLURM here, and nothing on record that could be cancelled.
    """

    cancelled: tuple[QueuedJob, ...] = ()
    over: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()
    silence: str | None = None


def cancel_jobs(run: Path, sweep_name: str, wanted: Collection[str] = ()) -> Cancelled:
    """Cancel a run's live jobs, all of them or those of ``wanted``.

    Raises:
        SlurmUnavailable: SLURM gave no answer, so that it is not known which jobs are live.
    """
    records = read_jobs(run)
    try:
        queue = read_queue(clusters_of(records))
    except SlurmUnavailable as error:
        if error.missing and not records and not wanted:
            return Cancelled(silence=f"no job of this run is on record, and {error.reason}")
        raise
    on_record = matches(records, queue)
    own = {job_id: [job] for job_id, job in on_record.items() if job.live}
    for job in off_record(records, queue, {job_name(run, sweep_name)}):
        own.setdefault(job.job_id, []).append(job)
    strangers = [name for name in wanted if name not in own and name not in records]
    if strangers:
        return Cancelled(strangers=tuple(strangers))
    chosen = [job for name in dict.fromkeys(wanted or own) for job in own.get(name, [])]
    by_cluster: dict[str | None, list[str]] = defaultdict(list)
    for job in chosen:
        by_cluster[job.cluster if clusters_of(records) else None].append(job.job_id)
    for cluster, numbers in by_cluster.items():
        option = [f"--clusters={cluster}"] if cluster else []
        for first in range(0, len(numbers), MOST_AT_ONCE):
            ask("scancel", [*option, "--quiet", *numbers[first : first + MOST_AT_ONCE]])
    over = tuple(name for name in wanted if name not in own)
    return Cancelled(tuple(chosen), over)
