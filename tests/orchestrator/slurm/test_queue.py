"""The queue is read whole by one call, whatever names, states and versions are in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.slurm_programs import FakeSlurm, queue_line

from orchestrator.slurm.command import SlurmUnavailable, moment
from orchestrator.slurm.queue import parse_queue, phase_of, read_queue

SAMPLES = Path(__file__).parent / "samples"
USER = str(os.getuid())


def test_a_recorded_queue_of_22_05() -> None:
    jobs = {
        job.job_id: job for job in parse_queue((SAMPLES / "squeue-22.05.txt").read_text(), "1000")
    }
    assert list(jobs) == ["2", "6", "3_1", "3_2", "3_3", "8", "4", "5", "7", "1"]
    running = jobs["1"]
    assert (running.state, running.restarts, running.nodes) == ("RUNNING", 1, "n1")
    assert running.name == "eos-a-12345678"
    assert (running.comment, running.cluster) == ("a|b, c", "hpc")
    assert running.ends_at == moment("2026-11-25T15:33:48")
    assert running.ends_at - running.starts_at == 600
    assert jobs["2"].name == "odd|na\nme ö,:"
    assert (jobs["3_2"].raw_id, jobs["3_3"].raw_id) == ("10", "3")
    held = jobs["7"]
    assert (held.state, held.reason) == ("PENDING", "job requeued in held state")
    assert (held.restarts, held.ends_at, held.nodes) == (1, None, None)
    assert held.time_limit == "UNLIMITED"
    assert {name for name, job in jobs.items() if job.live} == {"7", "1"}


def test_several_clusters_each_with_a_line_of_its_own() -> None:
    text = (
        "CLUSTER: alpha\n"
        + queue_line("5", name="a", cluster="alpha")
        + queue_line("6", name="b", cluster="alpha")
        + "\nCLUSTER: beta\n"
        + queue_line("5", name="c", cluster="beta")
    )
    found = [(job.cluster, job.job_id, job.name) for job in parse_queue(text, USER)]
    assert found == [("alpha", "5", "a"), ("alpha", "6", "b"), ("beta", "5", "c")]


def test_jobs_of_others_are_left_out() -> None:
    # SLURM shows everybody's jobs where it does not know the number of a user.
    text = queue_line("5", name="mine") + queue_line("6", name="theirs", user=os.getuid() + 1)
    assert [job.job_id for job in parse_queue(text, USER)] == ["5"]


@pytest.mark.parametrize("state", ["NEW_FANCY", "COMPLETING", "CONFIGURING", "STAGE_OUT",
                                   "SPECIAL_EXIT", "REQUEUE_HOLD", "SUSPENDED", "SIGNALING",
                                   "RESV_DEL_HOLD", "PENDING", "RUNNING"])  # fmt: skip
def test_what_has_not_ended_counts_as_live(state: str) -> None:
    (job,) = parse_queue(queue_line("5", state, name="x"), USER)
    assert job.state == state
    assert job.live


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "TIMEOUT", "CANCELLED",
                                   "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY",
                                   "BOOT_FAIL", "DEADLINE"])  # fmt: skip
def test_ended_jobs_are_not_live(state: str) -> None:
    assert phase_of(state) == "ended"
    assert not parse_queue(queue_line("5", state, name="x"), USER)[0].live


def test_lines_that_are_no_jobs_are_passed_over() -> None:
    assert parse_queue("", USER) == []
    assert parse_queue("slurm_load_jobs: a warning\n", USER) == []


def test_two_thousand_jobs_are_one_call_without_a_list_of_numbers(slurm: FakeSlurm) -> None:
    slurm.answers("squeue", "".join(queue_line(str(n), name="x") for n in range(1, 2001)))
    assert len(read_queue()) == 2000
    (call,) = slurm.calls()
    assert f"--user={USER}" in call
    assert "--jobs" not in call
    assert "--clusters" not in call
    read_queue("alpha,beta")
    assert "--clusters=alpha,beta" in slurm.calls()[1]


def test_no_answer_is_no_empty_queue(slurm: FakeSlurm) -> None:
    slurm.fails("squeue")
    with pytest.raises(SlurmUnavailable, match="Unable to contact"):
        read_queue()
