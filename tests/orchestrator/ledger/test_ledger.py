"""The ledger: what it knows after a look at the tables is what a first look would tell."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import pytest

from orchestrator.ledger import Ledger, part_name, read_marks, utc
from orchestrator.ledger.attempts import close_marks
from orchestrator.ledger.marks import mark_running
from orchestrator.store import Store, compact, create, write_part

NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    create(tmp_path / "run")
    return tmp_path / "run"


def settle(run: Path, trial: str, attempt: int = 1, gradients: int = 10, part: str = "") -> Path:
    """Write the rows of a settled attempt."""
    shared = {"trial_id": trial, "attempt": attempt, "finished_at": NOW}
    done = {"gradients": gradients, "hvps": 0, "wall_s": 1.0, "time": 1.0, "status": "reached"}
    rows = [{**shared, **done, "epsilon": epsilon} for epsilon in (0.1, 0.02)]
    record(run, trial, attempt, "settled")
    return write_part(run, "trials", part or f"{trial}-{attempt}", rows)


def record(
    run: Path, trial: str, attempt: int, outcome: str, failure_class: str | None = None
) -> None:
    """Write the row of an attempt."""
    if outcome == "failed":
        failure_class = failure_class or "exception"
    row = {"trial_id": trial, "attempt": attempt, "outcome": outcome}
    row["failure_class"] = failure_class
    write_part(run, "attempts", f"{trial}-{attempt}", [row])


def knows_what_a_first_look_tells(ledger: Ledger) -> bool:
    ledger.refresh()
    first = Ledger(ledger.store.run)
    return (
        ledger.settled == first.settled
        and ledger.failed == first.failed
        and ledger.known == first.known
        and all(ledger.attempts(name) == first.attempts(name) for name in first.known)
    )


def test_a_new_part_is_seen(run: Path) -> None:
    settle(run, "a")
    ledger = Ledger(run)
    settle(run, "b")
    record(run, "c", 1, "lost")
    assert knows_what_a_first_look_tells(ledger)
    assert ledger.settled.keys() == {"a", "b"}
    assert ledger.attempts("c") == 1


def test_what_was_read_is_not_read_again(run: Path) -> None:
    path = settle(run, "a")
    ledger = Ledger(run)
    kept = path.stat()
    path.write_bytes(b"x" * kept.st_size)  # same name, size, time and inode: the same file
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    settle(run, "b")
    ledger.refresh()
    assert ledger.settled.keys() == {"a", "b"}
    assert ledger.store.unreadable == []


def test_a_newer_attempt_wins_and_an_older_one_that_comes_late_does_not(run: Path) -> None:
    settle(run, "a", attempt=2, gradients=20)
    ledger = Ledger(run)
    settle(run, "a", attempt=1, gradients=10)
    assert knows_what_a_first_look_tells(ledger)
    assert ledger.settled["a"].gradients == 20
    settle(run, "a", attempt=3, gradients=30)
    assert knows_what_a_first_look_tells(ledger)
    assert ledger.settled["a"].gradients == 30


def test_a_part_that_was_replaced_is_read_again(run: Path) -> None:
    record(run, "a", 1, "lost")
    ledger = Ledger(run)
    settle(run, "a")
    settle(run, "a", gradients=11)
    assert knows_what_a_first_look_tells(ledger)
    assert ledger.settled["a"].gradients == 11


def test_compaction_changes_nothing(run: Path) -> None:
    for name in "abc":
        settle(run, name)
    ledger = Ledger(run)
    before = dict(ledger.settled)
    compact(run)
    assert knows_what_a_first_look_tells(ledger)
    assert ledger.settled == before
    settle(run, "d")
    assert knows_what_a_first_look_tells(ledger)


def test_a_part_that_is_gone_counts_no_longer(run: Path) -> None:
    settle(run, "a")
    path = settle(run, "b")
    ledger = Ledger(run)
    path.unlink()
    assert knows_what_a_first_look_tells(ledger)
    assert ledger.settled.keys() == {"a"}


def test_a_trial_that_was_given_up_and_settled_later_has_not_failed(run: Path) -> None:
    record(run, "a", 1, "failed")
    record(run, "a", 2, "failed")
    record(run, "a", 3, "failed")
    ledger = Ledger(run)
    assert ledger.failed == {"a"}
    settle(run, "a", attempt=4)
    assert knows_what_a_first_look_tells(ledger)
    assert ledger.failed == set()


@pytest.mark.parametrize(
    ("outcome", "failure_class", "suspect"),
    [
        ("failed", "exception", True),
        ("failed", "out_of_memory", True),
        ("lost", "node_failure", True),
        ("failed", "unfit_node", False),
        ("lost", None, False),
        ("stopped", None, False),
    ],
)
def test_a_trial_whose_last_attempt_in_this_run_failed_is_suspect(
    run: Path, outcome: str, failure_class: str | None, suspect: bool
) -> None:
    """It goes by itself. What happened in earlier runs does not count."""
    record(run, "a", 1, outcome, failure_class)
    ledger = Ledger(run, new_run=True)
    assert not ledger.suspect("a")
    assert not ledger.suspect("never tried")
    record(run, "a", 2, outcome, failure_class)
    ledger.refresh()
    assert ledger.suspect("a") is suspect
    record(run, "a", 3, "stopped")
    ledger.refresh()
    assert not ledger.suspect("a")


def test_of_attempts_whose_process_is_gone_those_are_lost_that_settled_nothing(run: Path) -> None:
    settle(run, "recorded", attempt=2)
    shared = {"attempt": 1, "status": "reached", "finished_at": NOW, "epsilon": 0.1}
    for name in ("unrecorded", "earlier"):
        write_part(run, "trials", f"{name}-1", [{"trial_id": name, **shared}])
    marks = [
        mark_running(run, name, "c", attempt)
        for name, attempt in (("recorded", 2), ("unrecorded", 1), ("earlier", 2), ("nothing", 1))
    ]
    trials = {row["trial_id"]: row for row in Store(run).rows("trials")}
    lost = close_marks(run, marks, {"recorded": 2}, trials, failure_class="node_failure")
    assert lost == ["earlier", "nothing"]
    assert list(read_marks(run)) == []
    rows = {(row["trial_id"], row["attempt"]): row for row in Store(run).rows("attempts")}
    assert {key: (row["outcome"], row["failure_class"]) for key, row in rows.items()} == {
        ("recorded", 2): ("settled", None),
        ("unrecorded", 1): ("settled", None),
        ("earlier", 2): ("lost", "node_failure"),
        ("nothing", 1): ("lost", "node_failure"),
    }
    assert rows["unrecorded", 1]["finished_at"] == NOW
    assert rows["nothing", 1]["finished_at"] is None


def test_the_parts_of_different_attempts_have_different_names() -> None:
    """Equal ones replace each other: of one attempt, and of several that end together."""
    assert part_name([("a", 1)]) == "a-1"
    several = [[("a", 1), ("b", 1)], [("a", 1), ("b", 2)], [("b", 1), ("a", 1)], [("a", 1)]]
    assert len({part_name(one) for one in several}) == len(several)
    assert part_name(several[0]) == part_name(list(several[0]))


def test_times_are_in_utc() -> None:
    assert utc(86_400.5) == datetime.datetime(1970, 1, 2, 0, 0, 0, 500_000, datetime.UTC)
