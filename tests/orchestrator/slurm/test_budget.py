"""What the jobs of a run have used: all that was granted, from start to end, since the launch."""

from __future__ import annotations

import dataclasses

import pytest

from orchestrator.slurm.budget import Budget
from orchestrator.slurm.records import JobRecord, StartRecord, Submission

NOW, HOUR = 1_000_000.0, 3600.0


def start(began: float, ended: float | None = None, heartbeat_s: float = 0.0, restart: int = 0):
    """Times in hours before now."""
    return StartRecord(
        *("17", restart, ("n1", "n2"), "host", NOW - began * HOUR, None),
        end=None if ended is None else "time_limit",
        ended_at=None if ended is None else NOW - ended * HOUR,
        heartbeat_s=heartbeat_s,
    )


def job(*starts: StartRecord, nodes: int = 2, cpus: int = 8, gpus: int = 4) -> JobRecord:
    return JobRecord("17", Submission("17", "x", 0.0, "site", None, "k", nodes, cpus, gpus), starts)


def budget(since: float = 100.0, gpus: bool = True) -> Budget:
    return Budget(hours=10.0, since=NOW - since * HOUR, gpus=gpus)


def test_a_job_uses_all_its_cards_or_cores_from_start_to_end():
    jobs = {"17": job(start(3.0, 1.0), start(0.5, restart=1))}
    assert budget().used(jobs, NOW) == pytest.approx(2 * 4 * 2.5)
    assert budget(gpus=False).used(jobs, NOW) == pytest.approx(2 * 8 * 2.5)
    assert (budget().unit, budget(gpus=False).unit) == ("GPU hours", "CPU-core hours")
    assert budget().rate(jobs) == 8


def test_what_was_used_before_the_launch_does_not_count():
    jobs = {"17": job(start(5.0, 2.0), start(0.5, restart=1))}
    assert budget(since=3.0).used(jobs, NOW) == pytest.approx(8 * 1.5)
    assert budget(since=1.0).used(jobs, NOW) == pytest.approx(8 * 0.5)


def test_a_job_that_died_without_a_record_counts_up_to_its_last_heartbeat():
    assert budget().used({"17": job(start(3.0, heartbeat_s=2 * HOUR))}, NOW) == pytest.approx(8.0)


def test_all_jobs_count_with_those_that_bore_a_number_before():
    old = job(start(4.0, 3.0), nodes=1, gpus=1)
    new = dataclasses.replace(job(start(1.0)), earlier=(old,))
    other = dataclasses.replace(job(start(2.0, 1.0), nodes=1), job_id="18")
    unknown = JobRecord("19", None, (start(9.0),))
    jobs = {"17": new, "18": other, "19": unknown}
    assert budget().used(jobs, NOW) == pytest.approx(1.0 + 8.0 + 4.0)
    assert budget().rate(jobs) == 8
