"""Accounting: every start of a job, its steps too, and what they prove of a failure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.slurm_programs import FakeSlurm, account_line

from orchestrator.slurm.accounting import (
    AccountedStart,
    Accounting,
    parse_accounting,
    read_accounting,
)
from orchestrator.slurm.command import moment

SAMPLES = Path(__file__).parent / "samples"


def start(*lines: str) -> AccountedStart:
    newest = Accounting(parse_accounting("".join(lines))).newest("17")
    assert newest is not None
    return newest


def test_a_recorded_accounting_of_22_05() -> None:
    starts = parse_accounting((SAMPLES / "sacct-22.05.txt").read_text())
    assert list(starts) == ["1", "2", "4", "5", "7", "8", "3_1", "3_2", "3_3"]
    first, second = starts["1"]
    assert (first.ending.state, second.ending.state) == ("REQUEUED", "RUNNING")
    assert first.over
    assert not first.final
    assert not second.over
    assert second.started_at == moment("2026-11-25T15:23:48")
    assert second.ended_at is None
    assert starts["7"][-1].nodes is None
    assert starts["4"][0].failure_class == "exception"
    assert starts["5"][0].failure_class is None
    assert starts["3_2"][0].bad_steps == {}
    assert starts["3_2"][0].raw_id == "10"


def test_a_completed_job_says_which_step_got_a_signal() -> None:
    starts = parse_accounting((SAMPLES / "sacct-22.05.txt").read_text())
    (job,) = starts["8"]
    assert job.ending.state == "COMPLETED"
    assert job.steps["batch"].status == 0
    assert list(job.bad_steps) == ["0"]
    assert str(job) == "COMPLETED; step 0 CANCELLED, signal 10"


def test_the_newest_start_counts_in_whatever_order_they_are_listed() -> None:
    preempted = account_line("17", "PREEMPTED", submitted=100, started=110, ended=200)
    running = account_line("17", "RUNNING", submitted=200, started=320)
    waiting = account_line("17", "PENDING", submitted=200, started=None)
    assert start(preempted, running).ending.state == "RUNNING"
    assert start(running, preempted).ending.state == "RUNNING"
    assert start(waiting, preempted).ending.state == "PENDING"
    assert not start(preempted, running).over
    assert not start(preempted).final


@pytest.mark.parametrize(
    ("lines", "proven"),
    [
        ([account_line("17", "OUT_OF_MEMORY", "0:125")], "out_of_memory"),
        ([account_line("17", "FAILED", "1:0"), account_line("17.batch", "OUT_OF_MEMORY", "0:125")],
         "out_of_memory"),
        ([account_line("17", "NODE_FAIL", "1:0")], "node_failure"),
        ([account_line("17", "BOOT_FAIL", "1:0")], "node_failure"),
        ([account_line("17", "TIMEOUT", "0:1"), account_line("17.batch", "CANCELLED", "0:15")],
         "time_limit"),
        ([account_line("17", "DEADLINE")], "time_limit"),
        ([account_line("17", "PREEMPTED", "0:15")], None),
        ([account_line("17", "CANCELLED by 1000", "0:15")], None),
        ([account_line("17", "FAILED", "1:0")], "exception"),
        ([account_line("17", "FAILED", "3:0")], None),
        ([account_line("17", "FAILED", "137:0")], None),
        ([account_line("17", "FAILED", "0:9")], None),
        ([account_line("17", "FAILED", "0:11")], "exception"),
        ([account_line("17", "FAILED", "139:0")], "exception"),
        ([account_line("17", "COMPLETED"), account_line("17.0", "FAILED", "1:0")], "exception"),
        ([account_line("17", "COMPLETED"), account_line("17.0", "CANCELLED", "0:10")], None),
        ([account_line("17", "NEW_FANCY")], None),
        ([account_line("17", "RUNNING")], None),
    ],
)  # fmt: skip
def test_a_class_of_failure_needs_a_proof(lines: list[str], proven: str | None) -> None:
    assert start(*lines).failure_class == proven


def test_who_cancelled_a_job_is_said() -> None:
    assert str(start(account_line("17", "CANCELLED by 1000"))) == "CANCELLED, by uid 1000"
    assert str(start(account_line("17", "OUT_OF_MEMORY", "0:125"))) == "OUT_OF_MEMORY"


def test_a_word_of_another_version_is_no_end() -> None:
    assert not start(account_line("17", "NEW_FANCY")).over


def test_one_call_asks_by_name_since_the_oldest_submission(slurm: FakeSlurm) -> None:
    oldest = moment("2026-11-25T15:15:20")
    assert oldest is not None
    slurm.answers("sacct", account_line("17", "COMPLETED"))
    known = read_accounting(oldest, ["eos-b-1", "eos-a-1"], "alpha")
    assert list(known.starts) == ["17"]
    assert known.silence is None
    (call,) = slurm.calls()
    assert "--name=eos-a-1,eos-b-1" in call
    assert "--starttime=2026-11-25T14:15:20" in call
    assert "--duplicates" in call
    assert "--clusters=alpha" in call
    assert f"--user={os.getuid()}" in call
    assert "--jobs" not in call


def test_a_cluster_without_accounting_is_a_fact(slurm: FakeSlurm) -> None:
    slurm.answers("sacct", "", error="Slurm accounting storage is disabled\n", status=1)
    assert read_accounting(0.0, None) == Accounting({}, "this cluster keeps no accounting")


def test_accounting_that_is_down_knows_nothing_and_says_why(slurm: FakeSlurm) -> None:
    slurm.fails("sacct", error="Problem talking to the database: Connection refused")
    known = read_accounting(0.0, None)
    assert known.starts == {}
    assert "Connection refused" in (known.silence or "")
