"""What commands say of a run's SLURM jobs, how often they ask, and that looking never writes."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.slurm_programs import FakeSlurm, account_line, everything, queue_line

from orchestrator.ledger import attempt_row, commit_attempt, utc
from orchestrator.slurm.queue import job_name
from orchestrator.slurm.records import (
    StartRecord,
    Submission,
    record_start,
    record_submission,
    start_path,
)

Eos = Callable[..., Any]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm(tmp_path / "slurm-programs")
    monkeypatch.setenv("PATH", str(fake.programs))
    return fake


def submit(run: Path, *job_ids: str, clusters: str | None = None) -> str:
    """Put jobs on record as submitted an hour ago; gives their name."""
    name = job_name(run, "small")
    for job_id in job_ids:
        record_submission(run, Submission(job_id, name, time.time() - 3600, "hpc.yaml", clusters))
    return name


def begin(run: Path, job_id: str, *, silent_s: float = 0.0, **values: Any) -> StartRecord:
    """Put on record that a job started half an hour ago."""
    began = time.time() - 1800
    start = StartRecord(job_id, 0, ("n1",), "n1", began, began + 7200, **values)
    record_start(run, start)
    heard = time.time() - silent_s
    os.utime(start_path(run, start), (heard, heard))
    return start


def jobs_in(answer: Any) -> dict[str, dict[str, Any]]:
    return {job["job_id"]: job for job in json.loads(answer.out)["jobs"]}


def test_a_run_without_jobs_does_not_ask_slurm(eos: Eos, half_done: Path, slurm: FakeSlurm) -> None:
    assert eos("status", half_done).status == 0
    assert eos("why", half_done).status == 0
    status = json.loads(eos("status", half_done, "--json").out)
    assert (status["jobs"], status["orphans"], status["slurm_silence"]) == ([], [], None)
    assert slurm.calls() == []


def test_two_thousand_jobs_are_one_question(eos: Eos, half_done: Path, slurm: FakeSlurm) -> None:
    ids = [str(number) for number in range(1, 2001)]
    name = submit(half_done, *ids)
    slurm.answers("squeue", "".join(queue_line(job_id, name=name) for job_id in ids))
    assert {job["phase"] for job in jobs_in(eos("status", half_done, "--json")).values()} == {
        "running"
    }
    assert len(slurm.calls()) == 1
    text = eos("status", half_done).out
    assert len(slurm.calls()) == 2
    assert "… and 1970 more jobs" in text
    assert "SLURM jobs: 2000 running" in text


def test_status_shows_each_job_with_the_source_of_the_fact(
    eos: Eos, half_done: Path, slurm: FakeSlurm
) -> None:
    name = submit(half_done, "17", "18", "19", "20")
    begin(half_done, "17")
    begin(half_done, "19", silent_s=600, end="settled", ended_at=time.time() - 600)
    began, ends = time.time() - 600, time.time() + 7200
    slurm.answers(
        "squeue",
        queue_line("18", "NEW_FANCY", name=name, reason="Priority", nodes="")
        + queue_line("20", "RUNNING", name=name, restarts=2, starts=began, ends=ends),
    )
    found = jobs_in(eos("status", half_done, "--json"))
    assert [(found[n]["phase"], found[n]["source"]) for n in ("17", "18", "19", "20")] == [
        ("running", "record"),
        ("unknown", "squeue"),
        ("ended", "record"),
        ("running", "squeue"),
    ]
    text = eos("status", half_done).out
    for words in (
        "NEW_FANCY",
        "Priority",
        "ended: settled",
        "record, 10 min ago",
        "2.0 h",
        "squeue, now",
    ):
        assert words in text
    assert "job 20 is RUNNING but has shown no sign of life for 10 min" in text


def test_status_lists_orphans(eos: Eos, half_done: Path, slurm: FakeSlurm) -> None:
    name = submit(half_done, "17")
    slurm.answers(
        "squeue",
        queue_line("17", name=name)
        + queue_line("99", name=name)
        + queue_line("98", name="eos-small-00000000"),
    )
    answer = eos("status", half_done)
    assert "1 in SLURM's queue with this run's name, but not on its record" in answer.out
    assert f"cancel {half_done} 99" in answer.out
    (orphan,) = json.loads(eos("status", half_done, "--json").out)["orphans"]
    assert (orphan["job_id"], orphan["on_record"]) == ("99", False)


@pytest.mark.parametrize("how", ["down", "missing"])
def test_without_slurm_status_tells_what_the_jobs_recorded(
    eos: Eos, half_done: Path, slurm: FakeSlurm, how: str
) -> None:
    submit(half_done, "17", "18")
    begin(half_done, "17")
    if how == "down":
        slurm.fails("squeue", "sacct")
    else:
        slurm.remove("squeue", "sacct")
    answer = eos("status", half_done)
    assert answer.status == 0
    assert "the queue is not known (squeue" in answer.out
    assert "unknown for 60 min, was pending" in answer.out
    assert jobs_in(eos("status", half_done, "--json"))["17"]["phase"] == "running"


def test_accounting_is_asked_only_where_the_queue_is_silent(
    eos: Eos, half_done: Path, slurm: FakeSlurm
) -> None:
    submit(half_done, "17", "18")
    slurm.fails("squeue")
    slurm.answers(
        "sacct",
        account_line("17", "CANCELLED by 1000", ended=time.time() - 60)
        + account_line("18", "PREEMPTED", ended=time.time() - 60),
    )
    found = jobs_in(eos("status", half_done, "--json"))
    assert (found["17"]["phase"], found["17"]["source"]) == ("ended", "sacct")
    assert found["18"]["phase"] == "unknown"
    assert (len(slurm.calls("squeue")), len(slurm.calls("sacct"))) == (1, 1)


def test_the_cluster_of_the_submission_is_asked(
    eos: Eos, half_done: Path, slurm: FakeSlurm
) -> None:
    name = submit(half_done, "17", clusters="beta")
    slurm.answers("squeue", "CLUSTER: beta\n" + queue_line("17", name=name, cluster="beta"))
    assert jobs_in(eos("status", half_done, "--json"))["17"]["phase"] == "running"
    assert eos("cancel", half_done).status == 0
    assert "--clusters=beta" in slurm.calls("squeue")[0]
    assert slurm.calls("scancel") == ["--clusters=beta --quiet 17"]


def test_looking_at_jobs_never_writes(
    eos: Eos, half_done: Path, tmp_path: Path, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = submit(half_done, "17", "18")
    begin(half_done, "17", silent_s=600)
    (half_done / "slurm" / "17").mkdir()
    (half_done / "slurm" / "17" / "17_0_log.out").write_text("hello\n")
    copy = tmp_path / "copy"
    shutil.copytree(half_done, copy)
    for path in sorted(copy.rglob("*"), reverse=True):
        path.chmod(0o500 if path.is_dir() else 0o400)
    copy.chmod(0o500)
    for variable in ("LOGNAME", "USER", "HOME"):
        monkeypatch.delenv(variable, raising=False)
    before = everything(copy)
    for state in ("CONFIGURING", "STAGE_OUT", "SPECIAL_EXIT", "NEW_FANCY"):
        slurm.answers("squeue", queue_line("18", state, name=name))
        status = eos("status", copy, "--json")
        assert jobs_in(status)["18"]["state"] == state
        assert jobs_in(status)["17"]["phase"] == "unknown"
    slurm.fails("squeue", "sacct")
    for arguments in (("status", copy), ("why", copy), ("logs", copy, "17")):
        assert eos(*arguments).status == 0
    assert everything(copy) == before
    copy.chmod(0o700)
    for path in copy.rglob("*"):
        path.chmod(0o700)


def test_why_lists_jobs_that_ended_badly_by_one_question(
    eos: Eos, half_done: Path, slurm: FakeSlurm
) -> None:
    name = submit(half_done, "17", "18", "19", "20")
    began = begin(half_done, "17", silent_s=900).started_at
    begin(half_done, "18", silent_s=900, end="time_limit", ended_at=time.time() - 900)
    begin(half_done, "19", end="settled", ended_at=time.time())
    slurm.answers(
        "sacct",
        account_line("17", "OUT_OF_MEMORY", "0:125", started=began, ended=began + 60)
        + account_line("20", "NODE_FAIL", started=began, ended=began + 60, nodes="n[3-4]"),
    )
    rows = json.loads(eos("why", half_done, "--json").out)
    assert [(row["slurm_job_id"], row["failure_class"], row["source"]) for row in rows] == [
        ("17", "out_of_memory", "sacct"),
        ("18", "time_limit", "record"),
        ("20", "node_failure", "sacct"),
    ]
    assert {row["kind"] for row in rows} == {"job"}
    (call,) = slurm.calls()
    assert f"--name={name}" in call
    text = eos("why", half_done).out
    for words in ("no trial has failed", "OUT_OF_MEMORY", "n[3-4]", "time_limit"):
        assert words in text


def test_why_says_that_there_is_no_accounting(eos: Eos, half_done: Path, slurm: FakeSlurm) -> None:
    submit(half_done, "17")
    begin(half_done, "17", silent_s=900)
    slurm.answers("sacct", "", error="Slurm accounting storage is disabled\n", status=1)
    answer = eos("why", half_done)
    assert answer.status == 0
    assert "sacct knows nothing (this cluster keeps no accounting)" in answer.out
    assert "no word of its own and none of SLURM's" in answer.out


def test_why_of_a_trial_explains_its_lost_attempts(
    eos: Eos, half_done: Path, slurm: FakeSlurm
) -> None:
    submit(half_done, "17")
    began = begin(half_done, "17", silent_s=900).started_at
    query = "SELECT trial_id, column_id FROM trials WHERE kind = 'gd' LIMIT 1"
    (row,) = json.loads(eos("query", half_done, query, "--json").out)
    for attempt, job_id in ((2, "17"), (3, "55"), (4, None)):
        lost = attempt_row(
            row["trial_id"], row["column_id"], attempt, "lost", hostname="n1",
            started_at=utc(began + 10),
            finished_at=None, slurm_job_id=job_id, restart_count=0, error="without a word",
        )  # fmt: skip
        commit_attempt(half_done, lost)
    slurm.answers(
        "sacct",
        account_line("17", "TIMEOUT", started=began, ended=began + 60)
        + account_line("55", "PREEMPTED", started=began, ended=began + 60),
    )
    attempts = json.loads(eos("why", half_done, row["trial_id"], "--json").out)
    assert [(a["attempt"], a["job_failure_class"], a["job_end"]) for a in attempts] == [
        (1, None, None),
        (2, "time_limit", "TIMEOUT"),
        (3, None, "PREEMPTED"),
        (4, None, None),
    ]
    assert len(slurm.calls()) == 1
    text = eos("why", half_done, row["trial_id"]).out
    assert "by its job's end: time_limit (sacct: TIMEOUT)" in text
    assert "by its job's end: no failure of the trial (sacct: PREEMPTED)" in text


def test_logs_of_a_job_are_its_output_files(eos: Eos, half_done: Path, slurm: FakeSlurm) -> None:
    submit(half_done, "17", "18")
    folder = half_done / "slurm" / "17"
    folder.mkdir()
    for name, text in (("17_0_log.out", "an answer\n"), ("17_0_log.err", "a complaint\n")):
        (folder / name).write_text(text)
    (folder / "17_submitted.pkl").write_bytes(b"secret")
    out = eos("logs", half_done, "17").out
    assert "an answer" in out
    assert "a complaint" in out
    assert "secret" not in out
    assert "has written nothing" in eos("logs", half_done, "18").out
    unknown = eos("logs", half_done, "19")
    assert unknown.status == 2
    assert "TRIAL|JOB is '19'; it must be the beginning of one trial_id" in unknown.error
    assert "or the number of one of its SLURM jobs (17, 18)" in unknown.error
    begin(half_done, "20")
    assert "job 20 was not submitted by eos" in eos("logs", half_done, "20").out
    assert "slurm-20.log" in eos("logs", half_done, "20").out
    assert slurm.calls() == []


def test_cancel_ends_this_runs_live_jobs_and_no_others(
    eos: Eos, half_done: Path, slurm: FakeSlurm
) -> None:
    name = submit(half_done, "17", "18", "19", "20")
    slurm.answers(
        "squeue",
        queue_line("17", name=name)
        + queue_line("18", "COMPLETED", name=name)
        + queue_line("19", "NEW_FANCY", name=name)
        + queue_line("20", name="a-stranger-with-a-number-used-again")
        + queue_line("98", name="eos-small-00000000")
        + queue_line("99", "PENDING", name=name),
    )
    answer = eos("cancel", half_done)
    assert answer.out.splitlines() == [
        "cancelled: job 17 (RUNNING)",
        "cancelled: job 19 (NEW_FANCY)",
        "cancelled: job 99 (PENDING)",
    ]
    assert slurm.calls("scancel") == ["--quiet 17 19 99"]


def test_cancel_tells_equal_numbers_of_two_clusters_apart(
    eos: Eos, half_done: Path, slurm: FakeSlurm
) -> None:
    name = submit(half_done, "17", clusters="alpha")
    submit(half_done, "18", clusters="beta")
    slurm.answers(
        "squeue",
        queue_line("17", name=name, cluster="alpha")
        + queue_line("99", name=name, cluster="alpha")
        + queue_line("17", name="other", cluster="beta")
        + queue_line("99", name="other", cluster="beta")
        + queue_line("18", name="other", cluster="alpha")
        + queue_line("18", name=name, cluster="beta"),
    )
    assert eos("cancel", half_done).status == 0
    assert slurm.calls("scancel") == [
        "--clusters=alpha --quiet 17 99",
        "--clusters=beta --quiet 18",
    ]


def test_cancel_takes_only_jobs_of_this_run(eos: Eos, half_done: Path, slurm: FakeSlurm) -> None:
    name = submit(half_done, "17", "18")
    slurm.answers("squeue", queue_line("17", name=name) + queue_line("98", name="other"))
    refused = eos("cancel", half_done, "17", "98")
    assert refused.status == 2
    assert "JOB is '98'; it must be a job of" in refused.error
    assert slurm.calls("scancel") == []
    assert "job 18 is not in SLURM's queue" in eos("cancel", half_done, "18").out
    assert slurm.calls("scancel") == []
    assert eos("cancel", half_done, "17").out == "cancelled: job 17 (RUNNING)\n"
    assert slurm.calls("scancel") == ["--quiet 17"]


def test_cancel_does_nothing_where_there_is_nothing(
    eos: Eos, half_done: Path, slurm: FakeSlurm
) -> None:
    assert eos("cancel", half_done).out == "no job of this run is in SLURM's queue\n"
    assert slurm.calls("scancel") == []
    slurm.remove("squeue")
    answer = eos("cancel", half_done)
    assert answer.status == 0
    assert "squeue is not installed here" in answer.out


def test_cancel_does_not_guess_when_slurm_is_silent(
    eos: Eos, half_done: Path, slurm: FakeSlurm
) -> None:
    submit(half_done, "17")
    slurm.fails("squeue")
    answer = eos("cancel", half_done)
    assert answer.status == 1
    assert "SLURM gave no answer: squeue: error: Unable to contact" in answer.error
    assert slurm.calls("scancel") == []


def test_three_thousand_jobs_are_cancelled_in_parts(
    eos: Eos, half_done: Path, slurm: FakeSlurm
) -> None:
    name = submit(half_done, "1")
    ids = [str(number) for number in range(1, 3001)]
    slurm.answers("squeue", "".join(queue_line(job_id, name=name) for job_id in ids))
    eos("cancel", half_done)
    calls = slurm.calls("scancel")
    assert [len(call.split()) - 1 for call in calls] == [500] * 6
    assert sorted(set(" ".join(calls).split()) - {"--quiet"}) == sorted(ids)


def test_tables_of_jobs_fit_a_hundred_columns_and_lose_nothing(
    eos: Eos, half_done: Path, slurm: FakeSlurm
) -> None:
    reason = " ".join(f"word{number}" for number in range(60))
    for job_id in ("17", "18"):
        submit(half_done, job_id)
        begin(half_done, job_id, end="error", detail=reason, ended_at=time.time())
    for command in ("status", "why"):
        text = eos(command, half_done).out
        table = text[text.index("SLURM jobs") :]
        assert max(map(len, table.splitlines())) <= 100
        assert all(word in table for word in reason.split())


def test_a_run_of_jobs_is_resumed_by_jobs_unless_said_otherwise(
    eos: Eos, half_done: Path, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried_out: list[Path] = []

    def carry_out(run: Path, **options: Any) -> int:
        carried_out.append(run)
        return 0

    monkeypatch.setattr("orchestrator.cli.run.carry_out", carry_out)
    for name in [name for name in os.environ if name.startswith("SLURM")]:
        monkeypatch.delenv(name)
    assert eos("resume", half_done).status == 0
    begin(half_done, "17", end="cancelled")
    refused = eos("resume", half_done)
    assert (refused.status, len(carried_out)) == (2, 1)
    assert "must have --cluster FILE to go on with jobs, or --here to compute" in refused.error
    assert eos("resume", half_done, "--here").status == 0
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    assert eos("resume", half_done).status == 0
    assert len(carried_out) == 3
    both = eos("resume", half_done, "--here", "--cluster", "x.yaml")
    assert (both.status, "must be one of them" in both.error) == (2, True)


def test_what_to_try_next_fits_a_run_of_jobs_and_a_shell(
    eos: Eos, half_done: Path, slurm: FakeSlurm
) -> None:
    run = half_done.rename(half_done.with_name("ein Lauf ü λ"))
    submit(run, "17", "18")
    begin(run, "17")
    query = "SELECT DISTINCT trial_id, column_id FROM trials WHERE kind = 'flow'"
    (row,) = json.loads(eos("query", run, query, "--json").out)
    with_failure(run, row)
    text = eos("why", run).out
    assert f"resume '{run}' --failed --cluster FILE" in text
    assert f"why '{run}' TRIAL" in text
    slurm.answers("squeue", queue_line("98", name=job_name(run, "small")))
    text = eos("status", run).out
    assert f"cancel '{run}' 98" in text
    assert f"why '{run}'" in text


def with_failure(run: Path, settled: dict[str, str]) -> None:
    """Put a failed flow into a run directory in place of all that was settled."""
    for path in (run / "trials").glob("*.parquet"):
        path.unlink()
    for path in (run / "attempts").glob("*.parquet"):
        path.unlink()
    now = utc(time.time())
    commit_attempt(
        run,
        attempt_row(
            settled["trial_id"], settled["column_id"], 1, "failed",
            hostname="n1", started_at=now, finished_at=now,
            slurm_job_id="17", failure_class="numerics", error="NaN",
        ),
    )  # fmt: skip


def test_a_controller_that_is_down_is_said_in_a_sentence(
    eos: Eos, half_done: Path, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.slurm.command.QUIET_SECONDS", 0.2)
    submit(half_done, "17")
    begin(half_done, "17")
    slurm.hangs("squeue")
    slurm.hangs("sacct")
    slurm.pings("DOWN")
    text = eos("status", half_done).out
    assert "the queue is not known (scontrol ping says that Slurmctld(primary)" in text
    assert jobs_in(eos("status", half_done, "--json"))["17"]["phase"] == "running"
