"""Cancelling a run's jobs: those that SLURM's queue has and that are this run's, and no others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from orchestrator.slurm.command import SlurmUnavailable, ask
from orchestrator.slurm.job_state import matches, off_record
from orchestrator.slurm.naming import job_name
from orchestrator.slurm.observe import clusters_of
from orchestrator.slurm.queue import QueuedJob, read_queue
from orchestrator.slurm.records import read_jobs

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
