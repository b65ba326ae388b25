"""Where a job stands: the own word first, and never an end that nobody has seen."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from support.slurm_programs import account_line, queue_line

from orchestrator.slurm.accounting import Accounting, parse_accounting
from orchestrator.slurm.job_states import JobState, at_work, job_states, orphans
from orchestrator.slurm.queue import QueuedJob, parse_queue
from orchestrator.slurm.records import JobRecord, StartRecord, Submission
from orchestrator.slurm.run_jobs import clusters_of

NOW = 1_800_000_000.0
NAME = "eos-small-0123abcd"
SUBMITTED = Submission("17", NAME, NOW - 5000, "hpc.yaml")
STARTED = StartRecord("17", 0, ("n1", "n2"), "n1", NOW - 4000, NOW + 600, heartbeat_s=20.0)
SILENT = replace(STARTED, heartbeat_s=600.0)
SETTLED = replace(SILENT, end="settled", ended_at=NOW - 600)
REQUEUED = replace(SILENT, end="preempted", ended_at=NOW - 600, requeued=True)


def record(*starts: StartRecord, submission: Submission | None = SUBMITTED) -> JobRecord:
    return JobRecord("17", submission, starts)


def queued(state: str, job_id: str = "17", name: str = NAME, **values: object) -> list[QueuedJob]:
    return parse_queue(queue_line(job_id, state, name=name, **values), str(os.getuid()))


def accounted(*lines: str) -> Accounting:
    return Accounting(parse_accounting("".join(lines)))


def state(
    one: JobRecord, queue: list[QueuedJob] | None, accounting: Accounting | None = None
) -> JobState:
    (found,) = job_states({"17": one}, queue, accounting, NOW)
    return found


def test_a_purged_job_with_its_own_word_has_ended() -> None:
    found = state(record(SETTLED), [], accounted())
    assert (found.phase, found.end, found.source) == ("ended", "settled", "record")
    assert found.age_s == 600


@pytest.mark.parametrize("word", ["FAILED", "CANCELLED", "COMPLETED", "NODE_FAIL"])
def test_the_own_word_wins_over_slurms(word: str) -> None:
    ended = accounted(account_line("17", word, ended=NOW))
    assert state(record(SETTLED), queued(word), ended).end == "settled"
    assert state(record(SETTLED), None, ended).end == "settled"


@pytest.mark.parametrize("word", ["PENDING", "COMPLETING", "FAILED", "NEW_FANCY", None])
def test_a_job_with_a_young_heartbeat_runs_whatever_the_queue_says(word: str | None) -> None:
    found = state(record(STARTED), [] if word is None else queued(word))
    assert (found.phase, found.source, found.age_s) == ("running", "record", 20.0)
    assert found.time_left_s == 600
    assert found.nodes == "n1,n2"


def test_a_job_that_slurm_saw_end_after_its_last_sign_of_life_was_killed() -> None:
    found = state(record(STARTED), queued("FAILED", ends=NOW - 19))
    assert (found.phase, found.end, found.source) == ("ended", "FAILED", "squeue")


def test_a_job_that_was_given_up_with_its_node_and_computes_on_is_running() -> None:
    found = state(record(STARTED), queued("NODE_FAIL", ends=NOW - 60))
    assert (found.phase, found.source) == ("running", "record")


def test_a_job_that_slurm_has_put_back_does_not_run_by_an_older_heartbeat() -> None:
    found = state(record(STARTED), queued("PENDING", restarts=1, reason="BeginTime"))
    assert (found.phase, found.source, found.reason) == ("requeued", "squeue", "BeginTime")


def test_a_job_in_no_list_is_unknown_since_it_was_last_heard_of() -> None:
    heard = state(record(SILENT), [])
    assert (heard.phase, heard.last_known, heard.since) == ("unknown", "running", NOW - 600)
    never = state(record(), [])
    assert (never.phase, never.last_known, never.since) == ("unknown", "pending", NOW - 5000)
    assert never.reason == "not in SLURM's queue"
    assert never.live


def test_a_controller_that_is_down_ends_no_job() -> None:
    found = state(record(SILENT), None)
    assert (found.phase, found.reason) == ("unknown", "SLURM gave no answer")
    assert state(record(STARTED), None).phase == "running"
    assert state(record(SETTLED), None).phase == "ended"
    assert state(record(REQUEUED), None).phase == "requeued"


@pytest.mark.parametrize(
    ("word", "phase"),
    [
        ("PENDING", "pending"),
        ("CONFIGURING", "pending"),
        ("RUNNING", "running"),
        ("SUSPENDED", "running"),
        ("STAGE_OUT", "ending"),
        ("COMPLETING", "ending"),
        ("SPECIAL_EXIT", "requeued"),
        ("REQUEUE_HOLD", "requeued"),
        ("NEW_FANCY", "unknown"),
    ],
)
def test_slurms_words_for_a_job_that_was_only_submitted(word: str, phase: str) -> None:
    found = state(record(), queued(word))
    assert (found.phase, found.state, found.source, found.age_s) == (phase, word, "squeue", 0.0)
    assert found.live


def test_an_end_in_the_queue_is_an_end() -> None:
    found = state(record(SILENT), queued("TIMEOUT", reason="TimeLimit", ends=NOW - 60))
    assert (found.phase, found.end, found.since) == ("ended", "TIMEOUT", NOW - 60)
    assert not found.live


def test_completed_without_a_word_of_its_own_is_said_to_be_so() -> None:
    found = state(record(SILENT), queued("COMPLETED", ends=NOW))
    assert (found.end, found.reason) == ("COMPLETED", "no word of its own")
    waiting = state(record(), queued("CANCELLED", reason="BeginTime", nodes=""))
    assert (waiting.end, waiting.reason) == ("CANCELLED", "no word of its own")


def test_one_question_covers_all_clusters_of_a_run() -> None:
    usual = record()
    beta, alpha = (record(submission=replace(SUBMITTED, clusters=c)) for c in ("beta", "alpha"))
    assert clusters_of({"1": usual}) is None
    assert clusters_of({"1": beta, "2": alpha}) == "alpha,beta"
    assert clusters_of({"1": beta, "2": usual}) == "all"


def test_a_job_that_recorded_its_end_is_ending_until_slurm_removes_it() -> None:
    for word in ("RUNNING", "COMPLETING"):
        found = state(record(SETTLED), queued(word))
        assert (found.phase, found.end) == ("ending", "settled")


def test_a_job_that_put_itself_back_waits_then_runs_then_may_be_cancelled() -> None:
    assert state(record(REQUEUED), queued("PENDING", restarts=1)).phase == "requeued"
    assert state(record(REQUEUED), queued("RUNNING", restarts=1, starts=NOW)).phase == "running"
    assert state(record(REQUEUED), queued("CANCELLED", restarts=1)).end == "CANCELLED"
    gone = state(record(REQUEUED), [])
    assert (gone.phase, gone.source, gone.age_s) == ("requeued", "record", 600)
    over = accounted(account_line("17", "CANCELLED by 1000", ended=NOW - 5))
    assert state(record(REQUEUED), [], over).end == "CANCELLED"


def test_a_job_put_back_by_hand_after_its_end_is_live_again() -> None:
    found = state(record(SETTLED), queued("PENDING", restarts=1))
    assert (found.phase, found.source) == ("requeued", "squeue")


def test_preempted_then_running_in_accounting_is_not_the_end() -> None:
    preempted = account_line("17", "PREEMPTED", submitted=1, started=1, ended=NOW - 300)
    running = account_line("17", "RUNNING", submitted=NOW - 300, started=NOW - 100)
    assert state(record(), None, accounted(preempted, running)).phase == "running"
    assert state(record(), [], accounted(preempted, running)).phase == "unknown"
    assert state(record(), None, accounted(preempted)).phase == "unknown"
    over = state(record(), [], accounted(preempted))
    assert (over.phase, over.end, over.source) == ("ended", "PREEMPTED", "sacct")


def test_a_job_that_was_put_back_has_not_ended_by_that() -> None:
    put_back = accounted(account_line("17", "REQUEUED", ended=NOW - 300))
    assert state(record(SILENT), [], put_back).phase == "unknown"
    assert state(record(REQUEUED), [], put_back).phase == "requeued"


def test_the_queue_comes_before_an_accounting_that_lags() -> None:
    lagging = accounted(account_line("17", "PENDING", started=None))
    found = state(record(), queued("RUNNING", starts=NOW - 10), lagging)
    assert (found.phase, found.source) == ("running", "squeue")


def test_accounting_speaks_where_the_queue_has_forgotten() -> None:
    lost = accounted(
        account_line("17", "COMPLETED", ended=NOW - 500),
        account_line("17.batch", "COMPLETED"),
        account_line("17.0", "CANCELLED", "0:10"),
    )
    found = state(record(SILENT), [], lost)
    assert (found.phase, found.source) == ("ended", "sacct")
    assert found.reason == "COMPLETED; step 0 CANCELLED, signal 10"


def test_a_running_job_without_a_heartbeat_is_reported() -> None:
    assert state(record(SILENT), queued("RUNNING")).silent_s == 600
    assert state(record(), queued("RUNNING", starts=NOW - 300)).silent_s == 300
    assert state(record(), queued("RUNNING", starts=NOW - 30)).silent_s is None
    assert state(record(SILENT), queued("SUSPENDED")).silent_s is None
    assert state(record(STARTED), queued("RUNNING")).silent_s is None


def test_jobs_with_the_name_that_are_not_on_record_are_orphans() -> None:
    queue = [
        *queued("RUNNING"),
        *queued("RUNNING", "18"),
        *queued("COMPLETED", "19"),
        *queued("RUNNING", "20", name="eos-small-ffffffff"),
        *queued("NEW_FANCY", "21"),
    ]
    found = orphans({"17": record()}, queue, {NAME}, NOW)
    assert [(job.job_id, job.on_record) for job in found] == [("18", False), ("21", False)]


def test_the_tasks_of_an_array_are_jobs_of_their_own() -> None:
    task = JobRecord("30_2", replace(SUBMITTED, job_id="30_2"), ())
    queue = [
        *queued("RUNNING", "30_1", raw_id="31"),
        *queued("PENDING", "30_2", raw_id="30"),
    ]
    (found,) = job_states({"30_2": task}, queue, None, NOW)
    assert (found.job_id, found.phase) == ("30_2", "pending")
    by_number = JobRecord("31", None, (replace(STARTED, job_id="31", heartbeat_s=500),))
    (found,) = job_states({"31": by_number}, queue, None, NOW)
    assert found.phase == "running"


def test_a_number_that_is_used_again_is_a_strangers_job() -> None:
    assert state(record(SILENT), queued("RUNNING", name="other")).phase == "unknown"
    plain = record(SILENT, submission=None)
    assert state(plain, queued("RUNNING", name="other", submitted=NOW - 5000)).phase == "running"
    assert state(plain, queued("RUNNING", name="other", submitted=NOW - 10)).phase == "unknown"


def test_the_same_number_on_another_cluster_is_another_job() -> None:
    elsewhere = record(submission=replace(SUBMITTED, clusters="beta"))
    assert state(elsewhere, queued("RUNNING", cluster="alpha")).phase == "unknown"
    assert state(elsewhere, queued("RUNNING", cluster="beta")).phase == "running"


LEAVING = replace(STARTED, leaving=True)


@pytest.mark.parametrize(
    ("start", "word", "restarts", "counts"),
    [
        (None, "PENDING", 0, True),
        (None, "RUNNING", 0, True),
        (None, "COMPLETING", 0, False),  # cancelled before it could say anything
        (STARTED, "RUNNING", 0, True),
        (STARTED, "NEW_FANCY", 0, True),
        (STARTED, "COMPLETING", 0, False),
        (STARTED, "COMPLETING", 1, True),  # SLURM puts it back
        (STARTED, "COMPLETED", 0, False),
        (LEAVING, "RUNNING", 0, False),
        (LEAVING, "PENDING", 1, True),  # lost before it had left
        (SETTLED, "RUNNING", 0, False),
        (SETTLED, "COMPLETING", 0, False),
        (SETTLED, "PENDING", 1, True),  # put back by hand
        (REQUEUED, "RUNNING", 0, True),
        (REQUEUED, "COMPLETING", 0, True),
        (REQUEUED, "PENDING", 1, True),
    ],
)
def test_jobs_count_while_they_take_what_is_missing(
    start: StartRecord | None, word: str, restarts: int, counts: bool
) -> None:
    one = record() if start is None else record(start)
    works, ends = at_work({"17": one}, queued(word, restarts=restarts), NAME)
    assert [job.job_id for job in works] == (["17"] if counts else [])
    assert bool(ends) is (not counts and word != "COMPLETED")


def test_jobs_that_are_not_on_record_count_and_those_of_other_runs_do_not() -> None:
    queue = [*queued("RUNNING", "18"), *queued("RUNNING", "19", name="eos-small-ffffffff")]
    works, ends = at_work({}, queue, NAME)
    assert ([job.job_id for job in works], ends) == (["18"], [])
