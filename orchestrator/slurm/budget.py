"""How many hours of GPUs or CPU cores the jobs of a run may use, and have used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.slurm.records import JobRecord, StartRecord, Submission
from orchestrator.sweep.grid import HOURS


@dataclass(frozen=True)
class Budget:
    """What the jobs of a run may use together, whoever submitted them.

    A job uses all that it was granted, from its start to its end: as a site accounts for it.

    Attributes:
        hours: how many.
        since: from when on, in seconds since the epoch.
        gpus: whether they are hours of GPUs, and not of CPU cores.
    """

    hours: float
    since: float
    gpus: bool

    @property
    def unit(self) -> str:
        """What is counted."""
        return HOURS["cuda" if self.gpus else "cpu"]

    def used(self, jobs: Mapping[str, JobRecord], now: float) -> float:
        """The hours that have been used; a job that died counts up to its last sign of life."""
        every = [one for job in jobs.values() for one in (*job.earlier, job)]
        return sum(
            self._granted(job.submission) * self._seconds(start, now) / 3600
            for job in every
            for start in job.starts
        )

    def rate(self, jobs: Mapping[str, JobRecord]) -> int:
        """Hours that are used in an hour, by the jobs that have not said that they ended."""
        return sum(
            self._granted(job.submission)
            for job in jobs.values()
            for start in job.starts
            if start.end is None
        )

    def _seconds(self, start: StartRecord, now: float) -> float:
        until = now - start.heartbeat_s if start.ended_at is None else start.ended_at
        return max(until - max(start.started_at, self.since), 0.0)

    def _granted(self, submission: Submission | None) -> int:
        """GPUs or CPU cores; 0 for a job that ``eos`` did not submit."""
        if submission is None:
            return 0
        return submission.nodes * (submission.gpus if self.gpus else submission.cpus)
