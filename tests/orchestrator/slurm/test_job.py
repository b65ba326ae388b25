"""How a run inside a job ends: what it is booked as, and whether it goes back into the queue."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.slurm_programs import FakeSlurm

from orchestrator.cluster import Allocation
from orchestrator.engine import RunOutcome, Snapshot, Stop
from orchestrator.plan import ColumnCounts, Counts
from orchestrator.slurm.budget import Budget
from orchestrator.slurm.job import Job
from orchestrator.slurm.profile import JobSettings, lead_seconds
from orchestrator.slurm.records import (
    StartRecord,
    Submission,
    read_jobs,
    record_start,
    record_submission,
    start_path,
)

SNAPSHOT = Snapshot(ColumnCounts(1, 0, 0, 1, 0), Counts(settled=1, to_do=2), (), None)
FIVE_MINUTES = 300.0


def outcome(stop: Stop | None = None, *, settled: bool = False, halted: str | None = None):
    return RunOutcome(settled, stop, halted, (), (), SNAPSHOT)


@pytest.fixture
def begun(tmp_path: Path, slurm: FakeSlurm) -> Callable[..., Job]:
    """A job that has run for so long of its five minutes; ``skew`` is its node's clock's."""
    (tmp_path / "run").mkdir()

    def begin(
        seconds: float = 30.0,
        restart: int = 0,
        settings: JobSettings | None = None,
        *,
        skew: float = 0.0,
        key: str | None = "k",
    ) -> Job:
        now = time.time() - skew
        allocation = Allocation(
            ("n1",), 0, 4, 0, None, job_id="17", restart=restart,
            ends_at=now + FIVE_MINUTES - seconds,
        )  # fmt: skip
        settings = dataclasses.replace(settings or JobSettings(stop_seconds=60), key=key)
        job = Job(tmp_path / "run", allocation, settings, warn=warnings.append)
        job._record = StartRecord(
            "17", restart, ("n1",), "host", time.time() - seconds, allocation.ends_at
        )
        if skew:
            slurm.clock(now)
        job.begin()
        return job

    return begin


warnings: list[str] = []


def says(
    slurm: FakeSlurm, state: str, restarts: int = 0, ends: str = "2026-11-25T10:00:00"
) -> None:
    slurm.answers(
        "scontrol",
        f"JobId=17 JobName=x UserId=u(1) JobState={state} Reason=None Requeue=1 "
        f"Restarts={restarts} RunTime=00:01:00 TimeLimit=00:05:00 EndTime={ends} Comment=a=b c\n",
    )


def asked(slurm: FakeSlurm) -> list[str]:
    """What a job has asked of the controller, but for the time."""
    return [call for call in slurm.calls("scontrol") if call != "show config"]


def last(run: Path) -> StartRecord:
    return read_jobs(run)["17"].starts[-1]


TERM = Stop("signal", "SIGTERM")


def test_a_five_minute_job_that_is_preempted_at_once_was_preempted(
    begun: Callable[..., Job], slurm: FakeSlurm, tmp_path: Path
) -> None:
    says(slurm, "RUNNING")
    assert begun(30).end(outcome(TERM)) == "preempted"
    record = last(tmp_path / "run")
    assert (record.end, record.requeued, record.detail) == ("preempted", True, "SIGTERM")
    assert slurm.calls("scontrol")[-1] == "requeue 17"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGUSR2"])
def test_a_signal_near_the_time_limit_is_the_time_limit(
    begun: Callable[..., Job], slurm: FakeSlurm, name: str
) -> None:
    says(slurm, "RUNNING")
    assert begun(FIVE_MINUTES - 70).end(outcome(Stop("signal", name))) == "time_limit"
    assert slurm.calls("scontrol")[-1] == "requeue 17"


def test_a_job_that_ends_by_the_clock_ended_by_its_time_limit(
    begun: Callable[..., Job], slurm: FakeSlurm
) -> None:
    says(slurm, "RUNNING")
    assert begun(240).end(outcome(Stop("time_limit", "near its end"))) == "time_limit"


def test_a_cancelled_job_stays_cancelled(
    begun: Callable[..., Job], slurm: FakeSlurm, tmp_path: Path
) -> None:
    says(slurm, "COMPLETING")
    assert begun().end(outcome(TERM)) == "cancelled"
    assert not any("requeue" in call for call in slurm.calls("scontrol"))
    assert last(tmp_path / "run").requeued is False


def test_what_slurm_has_put_back_itself_is_not_put_back_twice(
    begun: Callable[..., Job], slurm: FakeSlurm, tmp_path: Path
) -> None:
    says(slurm, "COMPLETING", restarts=1)
    assert begun().end(outcome(TERM)) == "preempted"
    assert not any("requeue" in call for call in slurm.calls("scontrol"))
    assert last(tmp_path / "run").requeued is True


def test_a_job_without_a_fit_node_does_not_go_back_to_the_same_nodes(
    begun: Callable[..., Job], slurm: FakeSlurm, tmp_path: Path
) -> None:
    says(slurm, "RUNNING")
    why = "no fit node is left for the trials that remain: node n1 is unfit: no CUDA device"
    assert begun().end(outcome(Stop("unfit_nodes", why))) == "error"
    record = last(tmp_path / "run")
    assert (record.detail, record.requeued) == (why, False)
    assert not any("requeue" in call for call in slurm.calls("scontrol"))


def test_a_job_that_lost_a_server_of_ray_goes_back(
    begun: Callable[..., Job], slurm: FakeSlurm, tmp_path: Path
) -> None:
    says(slurm, "RUNNING")
    why = "Ray's gcs_server on node n1 died"
    assert begun().end(outcome(Stop("node_lost", why))) == "node_failure"
    record = last(tmp_path / "run")
    assert (record.detail, record.requeued) == (why, True)


def test_ctrl_c_is_no_preemption(begun: Callable[..., Job], slurm: FakeSlurm) -> None:
    says(slurm, "RUNNING")
    assert begun().end(outcome(Stop("signal", "SIGINT"))) == "interrupted"
    assert not any("requeue" in call for call in slurm.calls("scontrol"))


def test_a_lost_controller_is_said_and_loses_nothing(
    begun: Callable[..., Job], slurm: FakeSlurm, tmp_path: Path
) -> None:
    slurm.fails("scontrol")
    assert begun().end(outcome(TERM)) == "preempted"
    record = last(tmp_path / "run")
    assert record.requeued is False
    assert "could not be requeued" in (record.detail or "")
    assert "Unable to contact slurm controller" in (record.detail or "")


@pytest.mark.parametrize(
    ("result", "end"),
    [
        (outcome(settled=True), "settled"),
        (outcome(), "failed"),
        (outcome(halted="the disk is full"), "error"),
        (outcome(Stop("idle", "nothing to do")), "idle"),
        (outcome(Stop("superseded", "again")), "superseded"),
    ],
)
def test_ends_that_ask_slurm_nothing(
    begun: Callable[..., Job], slurm: FakeSlurm, result: RunOutcome, end: str
) -> None:
    assert begun().end(result) == end
    assert asked(slurm) == []


def test_a_run_that_settled_while_it_was_told_to_stop_is_not_put_back(
    begun: Callable[..., Job], slurm: FakeSlurm
) -> None:
    says(slurm, "RUNNING")
    begun().end(outcome(TERM, settled=True))
    assert not any("requeue" in call for call in slurm.calls("scontrol"))


def test_preemptions_do_not_use_up_the_budget_of_time_limits(
    begun: Callable[..., Job], slurm: FakeSlurm, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    for restart, end in enumerate(["preempted"] * 5 + ["time_limit"]):
        record_start(
            run, StartRecord("17", restart, ("n1",), "host", 0.0, None, end, requeued=True, key="k")
        )
    settings = JobSettings(stop_seconds=60, max_timeouts=2, max_preemptions=5)
    says(slurm, "RUNNING", restarts=6)
    assert begun(240, 6, settings).end(outcome(Stop("time_limit", "x"))) == "time_limit"
    assert last(run).requeued is True
    says(slurm, "RUNNING", restarts=7)
    assert begun(240, 7, settings).end(outcome(Stop("time_limit", "x"))) == "time_limit"
    assert last(run).requeued is False
    assert "max_timeouts is 2" in (last(run).detail or "")
    says(slurm, "RUNNING", restarts=8)
    assert begun(30, 8, settings).end(outcome(TERM)) == "preempted"
    assert last(run).requeued is False
    assert "max_preemptions is 5" in (last(run).detail or "")


def test_a_job_begins_nothing_when_its_time_is_nearly_up(begun: Callable[..., Job]) -> None:
    assert begun(30).environment().may_begin()
    late = begun(FIVE_MINUTES - 60 - 15).environment()
    assert not late.may_begin()
    assert not late.time_is_up()
    assert begun(FIVE_MINUTES - 59).environment().time_is_up()


def test_short_jobs_stop_a_quarter_before_their_end() -> None:
    assert lead_seconds(120, 3600) == 120
    assert lead_seconds(120, 300) == 75
    assert lead_seconds(120, 60) == 15


def test_a_time_limit_that_was_extended_is_heeded(
    begun: Callable[..., Job], slurm: FakeSlurm, tmp_path: Path
) -> None:
    environment = begun(FIVE_MINUTES - 61).environment()
    later = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 7200))
    says(slurm, "RUNNING", ends=later)
    assert environment.beat() is None
    assert environment.may_begin()
    assert (last(tmp_path / "run").ends_at or 0) > time.time() + 7000


def test_a_start_that_was_superseded_stops(begun: Callable[..., Job], tmp_path: Path) -> None:
    job, run = begun(), tmp_path / "run"
    assert job.environment().beat() is None
    other = StartRecord("17", 1, ("n2",), "other", time.time(), None, key="other")
    record_start(run, other)
    assert job.environment().beat() is None  # a job that bore this number before
    record_start(run, dataclasses.replace(other, key="k"))
    stop = job.environment().beat()
    assert stop is not None
    assert stop.reason == "superseded"


def test_a_heartbeat_is_seen_in_the_record(begun: Callable[..., Job], tmp_path: Path) -> None:
    import os

    job = begun()
    os.utime(start_path(tmp_path / "run", last(tmp_path / "run")), (0, 0))
    assert last(tmp_path / "run").heartbeat_s > 1e6
    job.environment().beat()
    assert last(tmp_path / "run").heartbeat_s < 60


def test_an_error_of_the_run_is_on_record(begun: Callable[..., Job], tmp_path: Path) -> None:
    begun().fail(RuntimeError("node n2 did not join"))
    record = last(tmp_path / "run")
    assert (record.end, record.detail) == ("error", "RuntimeError: node n2 did not join")


def test_the_time_limit_is_asked_for_where_the_environment_does_not_say(
    slurm: FakeSlurm, tmp_path: Path
) -> None:
    says(slurm, "RUNNING", ends="2026-11-25T10:00:00")
    allocation = Allocation(("n1",), 0, 4, 0, None, job_id="17")
    (tmp_path / "run").mkdir()
    Job(tmp_path / "run", allocation, JobSettings(), warn=print).begin()
    assert last(tmp_path / "run").ends_at == 1795600800.0


@pytest.mark.parametrize("skew", [600.0, -600.0])
@pytest.mark.parametrize("ran", [100.0, FIVE_MINUTES - 70])
def test_a_node_whose_clock_is_wrong_keeps_its_time_limit(
    begun: Callable[..., Job], slurm: FakeSlurm, tmp_path: Path, skew: float, ran: float
) -> None:
    says(slurm, "RUNNING")
    warnings.clear()
    job = begun(ran, settings=JobSettings(stop_seconds=60, max_timeouts=0), skew=skew)
    assert job.environment().may_begin() is (ran == 100)
    assert not job.environment().time_is_up()
    # A signal near the end is the time limit, whose budget is used up.
    end = "preempted" if ran == 100 else "time_limit"
    assert job.end(outcome(Stop("signal", "SIGUSR2"))) == end
    assert last(tmp_path / "run").requeued is (ran == 100)
    (warning,) = warnings
    assert re.search(rf"(599|600|601) s {'ahead of' if skew > 0 else 'behind'} ", warning)


def test_the_controllers_time_is_on_record(begun: Callable[..., Job], tmp_path: Path) -> None:
    begun(30, skew=-600.0)
    assert last(tmp_path / "run").started_at == pytest.approx(time.time() + 600 - 30, abs=20)


def lives(run: Path) -> list[list[int]]:
    """The restarts on record of each job that had the number 17, the oldest job first."""
    record = read_jobs(run)["17"]
    return [[one.restart for one in life.starts] for life in (*record.earlier, record)]


@pytest.mark.parametrize("key", ["new", None])
def test_a_number_that_is_used_again_is_another_job(
    begun: Callable[..., Job], slurm: FakeSlurm, tmp_path: Path, key: str | None
) -> None:
    run = tmp_path / "run"
    for restart in range(3):
        begun(30, restart, key="old" if key else None)
    assert lives(run) == [[0, 1, 2]]
    says(slurm, "RUNNING", restarts=0)
    job = begun(30, 0, JobSettings(stop_seconds=60, max_preemptions=1), key=key)
    assert job.environment().beat() is None
    assert lives(run) == [[0, 1, 2], [0]]
    assert job.end(outcome(TERM)) == "preempted"
    assert last(run).requeued is True  # nor does it use up the other's budget
    begun(30, 1, key=key)
    assert lives(run) == [[0, 1, 2], [0, 1]]


def test_a_left_over_of_a_job_that_eos_did_not_submit_sees_that_it_is_one(
    begun: Callable[..., Job], slurm: FakeSlurm, tmp_path: Path
) -> None:
    says(slurm, "RUNNING", restarts=1)
    begun(30, 1, key=None)
    stop = begun(30, 0, key=None).environment().beat()
    assert stop is not None
    assert stop.reason == "superseded"


def test_a_job_that_leaves_says_so_until_it_stays(
    begun: Callable[..., Job], tmp_path: Path
) -> None:
    environment = begun().environment()
    environment.leave()
    assert last(tmp_path / "run").leaving
    environment.stay()
    assert not last(tmp_path / "run").leaving


def test_a_job_ends_in_order_when_the_budget_of_the_run_is_used(
    begun: Callable[..., Job], slurm: FakeSlurm, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    # Half an hour of two nodes, and this job's half minute, are left of two hours and a half.
    record_submission(run, Submission("16", "x", 0.0, "site", None, "j", 2, 4, 0))
    record_submission(run, Submission("17", "x", 0.0, "site", None, "k", 1, 4, 0))
    earlier = StartRecord("16", 0, ("n1", "n2"), "host", time.time() - 1000, None, key="j")
    record_start(run, dataclasses.replace(earlier, end="settled", ended_at=time.time() - 100))
    budget = Budget(hours=8 * 900 / 3600 + 4 * 40 / 3600, since=time.time() - 5000, gpus=False)
    job = begun(30, settings=JobSettings(stop_seconds=60, budget=budget))
    assert job.environment().beat() is None
    job._counts_at = 0.0
    job._record = dataclasses.replace(job._record, started_at=time.time() - 50)
    job._write()
    stop = job.environment().beat()
    assert stop == Stop("budget", "the run's budget is used: 2.06 of 2.04444 CPU-core hours")
    assert job.end(outcome(stop)) == "budget"
    assert (last(run).end, last(run).requeued, last(run).detail) == ("budget", False, stop.detail)
    assert "requeue 17" not in slurm.calls("scontrol")


def test_what_a_budget_has_left_is_counted_again_when_half_of_it_can_be_used(
    begun: Callable[..., Job], tmp_path: Path
) -> None:
    record_submission(tmp_path / "run", Submission("17", "x", 0.0, "site", None, "k", 1, 4, 0))
    for hours, seconds in ((1.0, 435.0), (1000.0, 600.0), (4 * 31 / 3600, 5.0)):
        budget = Budget(hours, time.time() - 5000, gpus=False)
        job = begun(30, settings=JobSettings(stop_seconds=60, budget=budget))
        assert job.environment().beat() is None
        assert job._counts_at - job._now() == pytest.approx(seconds, abs=2.0)
