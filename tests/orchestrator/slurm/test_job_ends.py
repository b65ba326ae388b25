"""How jobs ended, and what that proves of the attempts that were lost with them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.slurm_programs import account_line

from orchestrator.slurm.accounting import Accounting, parse_accounting
from orchestrator.slurm.job_ends import JobEnd, end_of_attempt, job_ends
from orchestrator.slurm.records import End, JobRecord, StartRecord

NOW = 1_800_000_000.0
FIRST = StartRecord("17", 0, ("n1",), "n1", NOW - 4000, None, heartbeat_s=3000.0)
SECOND = replace(FIRST, restart=1, started_at=NOW - 2000, heartbeat_s=1000.0)


def ends(starts: tuple[StartRecord, ...], *lines: str) -> list[JobEnd]:
    records = {"17": JobRecord("17", None, starts)}
    return job_ends(records, Accounting(parse_accounting("".join(lines))), NOW)


def first_start(word: str, code: str = "0:0") -> str:
    return account_line("17", word, code, started=NOW - 4010, ended=NOW - 2900)


@pytest.mark.parametrize(
    ("end", "proven", "bad"),
    [
        ("settled", None, False),
        ("failed", None, False),
        ("time_limit", "time_limit", True),
        ("node_failure", "node_failure", True),
        ("error", "exception", True),
        ("preempted", None, True),
        ("cancelled", None, True),
        ("interrupted", None, True),
    ],
)
def test_the_own_word_is_evidence(end: End, proven: str | None, bad: bool) -> None:
    (found,) = ends((replace(FIRST, end=end, ended_at=NOW - 2900),))
    assert (found.end, found.failure_class, found.source, found.bad) == (end, proven, "record", bad)


def test_a_job_that_put_itself_back_ended_in_order() -> None:
    (found,) = ends((replace(FIRST, end="time_limit", ended_at=NOW - 2900, requeued=True),))
    assert not found.bad


@pytest.mark.parametrize(
    ("word", "code", "proven"),
    [
        ("OUT_OF_MEMORY", "0:125", "out_of_memory"),
        ("NODE_FAIL", "0:0", "node_failure"),
        ("TIMEOUT", "0:15", "time_limit"),
        ("PREEMPTED", "0:15", None),
        ("REQUEUED", "0:0", None),
        ("FAILED", "1:0", "exception"),
        ("COMPLETED", "0:0", None),
    ],
)
def test_slurms_word_is_evidence_where_the_job_said_nothing(
    word: str, code: str, proven: str | None
) -> None:
    (found,) = ends((FIRST,), first_start(word, code))
    assert (found.end, found.failure_class, found.source) == (word, proven, "sacct")
    assert found.bad


def test_memory_that_ran_out_is_slurms_to_say() -> None:
    own = replace(FIRST, end="error", ended_at=NOW - 2900)
    (found,) = ends((own,), first_start("OUT_OF_MEMORY"))
    assert (found.failure_class, found.source) == ("out_of_memory", "sacct")
    (found,) = ends((replace(own, end="time_limit"),), first_start("FAILED", "1:0"))
    assert (found.failure_class, found.source) == ("time_limit", "record")


def test_without_evidence_the_end_is_unknown_and_of_no_class() -> None:
    (found,) = ends((FIRST,))
    assert (found.end, found.failure_class, found.ended_at) == ("unknown", None, NOW - 3000)
    assert ends((replace(FIRST, heartbeat_s=10.0),)) == []
    assert [end.end for end in ends((FIRST, replace(SECOND, heartbeat_s=10.0)))] == ["unknown"]


def test_each_start_has_its_own_end() -> None:
    found = ends(
        (FIRST, SECOND),
        account_line("17", "NODE_FAIL", started=NOW - 4010, ended=NOW - 2900, submitted=1),
        account_line("17", "TIMEOUT", started=NOW - 2010, ended=NOW - 900, submitted=2),
    )
    assert [(end.restart, end.end) for end in found] == [(0, "NODE_FAIL"), (1, "TIMEOUT")]


def test_a_start_that_is_not_on_record_is_told_too() -> None:
    (found,) = ends((), account_line("17", "FAILED", "127:0", started=NOW - 100, ended=NOW - 99))
    assert (found.end, found.failure_class, found.restart) == ("FAILED", "exception", 0)
    assert ends((), account_line("17", "CANCELLED by 5", started=None, ended=NOW)) == []


def test_an_attempt_has_the_evidence_of_the_start_it_was_lost_in() -> None:
    found = ends(
        (FIRST, SECOND),
        account_line("17", "OUT_OF_MEMORY", started=NOW - 4010, ended=NOW - 2900, submitted=1),
        account_line("17", "TIMEOUT", started=NOW - 2010, ended=NOW - 900, submitted=2),
    )

    def proven(job_id: str, restart: int | None, started_at: float) -> str | None:
        end = end_of_attempt(job_id, restart, started_at, found)
        return None if end is None else end.failure_class

    assert proven("17", 0, NOW - 3900) == "out_of_memory"
    assert proven("17", 1, NOW - 1900) == "time_limit"
    assert proven("17", None, NOW - 3900) == "out_of_memory"
    assert proven("17", None, NOW - 1900) == "time_limit"
    assert proven("18", 0, NOW - 3900) is None
    assert proven("17", None, NOW - 9000) is None


def test_of_two_jobs_with_one_number_the_time_says_which_an_attempt_was_lost_with() -> None:
    old = replace(FIRST, end="cancelled", ended_at=NOW - 2900)
    new = replace(FIRST, key="k", started_at=NOW - 2000, end="time_limit", ended_at=NOW - 1000)
    record = JobRecord("17", None, (new,), earlier=(JobRecord("17", None, (old,)),))
    found = job_ends({"17": record}, Accounting({}), NOW)
    assert [end.end for end in found] == ["cancelled", "time_limit"]
    for began, expected in ((NOW - 3500, "cancelled"), (NOW - 1500, "time_limit")):
        end = end_of_attempt("17", 0, began, found)
        assert end is not None
        assert end.end == expected
