"""The ledger: a state that was moved on by what came into the tables is that of a first look."""

from __future__ import annotations

import dataclasses
import datetime
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.spec import Trial
from orchestrator.ledger import Ledger, part_name, read_marks, rearm, settled_trials_of_rows, utc
from orchestrator.ledger.attempts import attempt_row, close_marks
from orchestrator.ledger.marks import mark_running
from orchestrator.plan import Attempt, Counts, RunningAttempt, RunState, State, extended
from orchestrator.store import Store, compact, create, write_part
from orchestrator.store import read as store_read
from orchestrator.sweep import Column, parse

NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
TEXT = """
name: small
problem: {dataset: digits, n_train: 60, width: 8, depth: 1, seed: [0, 1, 2]}
eta: {values: [0.5, 1.0, 2.5, 3.0, 3.5], stop_after_divergences: 2}
stop: {epsilon: [0.1, 0.02]}
"""
COLUMNS = parse(TEXT).columns
A, B, C = (column.flow() for column in COLUMNS)
SHARPNESS = 50.0


@pytest.fixture
def run(tmp_path: Path) -> Path:
    create(tmp_path / "run")
    return tmp_path / "run"


def rows_of(trial: Trial, attempt: int = 1, status: str = "reached", wall_s: float = 1.0):
    """The rows of a settled attempt."""
    shared = {"trial_id": trial.trial_id, "column_id": trial.column_id, "kind": trial.kind}
    done = {"gradients": 10, "hvps": 0, "wall_s": wall_s, "time": 1.0, "status": status}
    rest = {"eta": trial.learning_rate, "max_sharpness": SHARPNESS, "init_sharpness": None}
    times = {"attempt": attempt, "finished_at": NOW, "data_digest": "d", "device": "of-the-row"}
    return [{**shared, **done, **rest, **times, "epsilon": e} for e in trial.protocol.epsilons]


def settle(run: Path, *trials: Trial, attempt: int = 1, **values: object) -> Path:
    """Write the rows of trials that settle together, and of their attempts."""
    name = part_name([(trial.trial_id, attempt) for trial in trials])
    rows = [row for trial in trials for row in rows_of(trial, attempt, **values)]
    path = write_part(run, "trials", name, rows)
    write_part(run, "attempts", name, [_attempt(trial, attempt, "settled") for trial in trials])
    return path


def record(
    run: Path, trial: Trial, attempt: int, outcome: str, failure_class: str | None = None
) -> None:
    """Write the row of an attempt that settled nothing."""
    if outcome == "failed":
        failure_class = failure_class or "exception"
    name = part_name([(trial.trial_id, attempt)])
    write_part(run, "attempts", name, [_attempt(trial, attempt, outcome, failure_class)])


def _attempt(trial: Trial, attempt: int, outcome: str, failure_class: str | None = None):
    return attempt_row(
        trial.trial_id, trial.column_id, attempt, outcome, hostname="n1", started_at=NOW,
        finished_at=NOW, failure_class=failure_class,
    )  # fmt: skip


def assert_same(one: RunState, other: RunState) -> None:
    """Two states say the same, however they came about."""
    assert one.columns == other.columns
    for name in ("results", "attempts", "seconds", "states", "counts", "finished"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert [plan.flow for plan in one.plans] == [plan.flow for plan in other.plans]
    for its in one:
        assert its.ready == other.column(its.column_id).ready
        for trial, _ in its.trials:
            named = trial.trial_id, its.column_id
            assert one.last_on_record(*named) == other.last_on_record(*named)
    assert one.older == other.older


def caught_up(ledger: Ledger, state: RunState) -> RunState:
    """The state after another look, which is what a first look tells."""
    state = ledger.catch_up(state)
    assert_same(state, Ledger(ledger.store.run).read(state.columns))
    return state


def test_a_new_part_is_seen(run: Path) -> None:
    settle(run, A)
    ledger = Ledger(run)
    state = ledger.read(COLUMNS)
    settle(run, B)
    record(run, C, 1, "lost")
    state = caught_up(ledger, state)
    assert state.total == Counts(settled=2, to_do=16)
    assert state.last_attempt(C.trial_id, C.column_id) == 1


def test_what_was_read_is_not_read_again(run: Path) -> None:
    path = settle(run, A)
    ledger = Ledger(run)
    state = ledger.read(COLUMNS)
    kept = path.stat()
    path.write_bytes(b"x" * kept.st_size)  # same name, size, time and inode: the same file
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    settle(run, B)
    assert ledger.catch_up(state).total.settled == 2
    assert ledger.store.unreadable == []


def test_a_run_that_works_sets_damaged_files_aside_when_it_reads_them(run: Path) -> None:
    settle(run, A)
    damaged, told = settle(run, B), list[str]()
    damaged.write_bytes(damaged.read_bytes()[:-9])
    unread = write_part(run, "trajectories", "t", [{"trial_id": A.trial_id, "attempt": 1}])
    unread.write_bytes(b"damaged")
    ledger = Ledger(run, warn=told.append)
    state = ledger.read(COLUMNS)
    assert state.total.settled == 1
    assert [path.name for path in ledger.store.damaged()] == [f".{damaged.name}.damaged"]
    ledger.check_other_tables()
    assert [message.partition(" is damaged (")[0] for message in told] == [
        str(damaged),
        str(unread),
    ]
    # What comes later is found, too, and nothing that was read before is read again.
    news: list[bool] = []
    read = ledger.store.news
    ledger.store.news = lambda *asked: news.append((found := read(*asked)).afresh) or found
    later = settle(run, B, attempt=2)
    flip(later)
    assert ledger.catch_up(state).total.settled == 1
    assert told[2].startswith(f"{later} is damaged (")
    settle(run, B, attempt=3)
    assert ledger.catch_up(state).total.settled == 2
    assert news == [False] * 4


def flip(path: Path) -> None:
    """Change a byte of a page that the ledger does not read."""
    content = bytearray(path.read_bytes())
    content[content.index(b"of-the-row")] ^= 0xFF
    path.write_bytes(content)


def test_a_newer_attempt_wins_and_an_older_one_that_comes_late_does_not(run: Path) -> None:
    settle(run, A, attempt=2, wall_s=2.0)
    ledger = Ledger(run)
    state = ledger.read(COLUMNS)
    for attempt, expected in ((1, 2.0), (3, 3.0)):
        settle(run, A, attempt=attempt, wall_s=float(attempt))
        state = caught_up(ledger, state)
        assert state.seconds[0] == expected


def test_a_part_that_was_replaced_is_read_again(run: Path) -> None:
    record(run, A, 1, "lost")
    ledger = Ledger(run)
    state = ledger.read(COLUMNS)
    settle(run, A)
    settle(run, A, wall_s=11.0)
    assert caught_up(ledger, state).seconds[0] == 11.0


def test_compaction_changes_nothing(run: Path) -> None:
    for trial in (A, B):
        settle(run, trial)
    ledger = Ledger(run)
    before = ledger.read(COLUMNS)
    compact(run)
    after = caught_up(ledger, before)
    assert_same(before, after)
    settle(run, C)
    assert caught_up(ledger, after).total.settled == 3


def test_what_was_read_is_not_read_again_when_it_is_merged(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for trial in (A, B):
        settle(run, trial)
    ledger = Ledger(run)
    state = ledger.read(COLUMNS)
    reads: list[str] = []
    for name in ("read_part", "read_pieces"):
        read = getattr(store_read, name)

        def noted(path: Path, *rest: object, read: Any = read) -> Any:
            reads.append(path.name.partition("-")[0])
            return read(path, *rest)

        monkeypatch.setattr(store_read, name, noted)
    compact(run)
    reads.clear()
    assert_same(ledger.catch_up(state), state)
    assert reads == []
    settle(run, C)
    compact(run)  # what was never seen is merged with what was
    reads.clear()
    state = ledger.catch_up(state)
    assert state.total.settled == 3
    assert reads == ["compacted"] * 2  # of the trials, and of the attempts


def test_a_part_that_is_gone_counts_no_longer(run: Path) -> None:
    settle(run, A)
    path = settle(run, B)
    ledger = Ledger(run)
    state = ledger.read(COLUMNS)
    path.unlink()
    state = caught_up(ledger, state)
    assert state.total.settled == 1
    assert state.last_attempt(B.trial_id, B.column_id) == 1  # its attempt is still on record


def test_a_trial_that_was_given_up_and_settled_later_has_not_failed(run: Path) -> None:
    for attempt in (1, 2, 3):
        record(run, A, attempt, "failed")
    ledger = Ledger(run)
    state = ledger.read(COLUMNS)
    assert [trial for _, trial in state.failures()] == [A]
    settle(run, A, attempt=4)
    assert not list(caught_up(ledger, state).failures())


def test_an_attempt_recorded_before_attempts_named_their_columns_counts(run: Path) -> None:
    settle(run, A)
    trial = Ledger(run).read(COLUMNS).column_at(0).ready[0]
    row = {**_attempt(trial, 1, "failed", "numerics"), "column_id": None}
    write_part(run, "attempts", "old", [row])
    state = Ledger(run).read(COLUMNS)
    assert [failed for _, failed in state.failures()] == [trial]
    assert state.last_attempt(trial.trial_id, trial.column_id) == 1


@pytest.mark.parametrize(
    ("outcome", "failure_class", "suspect"),
    [
        ("failed", "exception", True),
        ("failed", "out_of_memory", True),
        ("lost", "node_failure", True),
        ("failed", "unfit_node", False),
        ("lost", None, False),
        ("preempted", None, False),
    ],
)
def test_a_trial_whose_last_attempt_in_this_run_failed_is_suspect(
    run: Path, outcome: str, failure_class: str | None, suspect: bool
) -> None:
    """It goes by itself. What happened in earlier runs does not count."""
    record(run, A, 1, outcome, failure_class)
    ledger = Ledger(run)
    state = ledger.read(COLUMNS).begun()
    assert not state.suspect(A.trial_id, A.column_id)
    assert not state.suspect(B.trial_id, B.column_id)
    record(run, A, 2, outcome, failure_class)
    state = ledger.catch_up(state)
    assert state.suspect(A.trial_id, A.column_id) is suspect
    record(run, A, 3, "preempted")
    assert not ledger.catch_up(state).suspect(A.trial_id, A.column_id)


def test_of_attempts_whose_process_is_gone_those_are_lost_that_settled_nothing(run: Path) -> None:
    recorded, unrecorded, earlier, nothing = names = [f"{n:016x}" for n in range(4)]
    marks = [
        mark_running(run, name, "c", attempt)
        for name, attempt in zip(names, (2, 1, 2, 1), strict=True)
    ]
    ended = int(NOW.timestamp() * 1e6)
    settled = {recorded: (2, ended), unrecorded: (1, ended), earlier: (1, ended)}
    lost = close_marks(run, marks, {recorded: 2}, settled, failure_class="node_failure")
    assert lost == [earlier, nothing]
    assert list(read_marks(run)) == []
    rows = {(row["trial_id"], row["attempt"]): row for row in Store(run).rows("attempts")}
    assert {key: (row["outcome"], row["failure_class"]) for key, row in rows.items()} == {
        (unrecorded, 1): ("settled", None),
        (earlier, 2): ("lost", "node_failure"),
        (nothing, 1): ("lost", "node_failure"),
    }
    assert rows[unrecorded, 1]["finished_at"] == NOW
    assert rows[nothing, 1]["finished_at"] is None


def test_closing_the_marks_of_a_run_that_is_gone_puts_their_attempts_on_record(run: Path) -> None:
    settle(run, A, attempt=2)
    write_part(run, "trials", "unrecorded", rows_of(B))  # killed before it wrote its attempt
    marks = [mark_running(run, t.trial_id, t.column_id, n) for t, n in ((A, 2), (B, 1), (C, 1))]
    ledger = Ledger(run)
    state, lost = ledger.close(ledger.read(COLUMNS), marks, "node_failure", "it is gone")
    assert lost == [C.trial_id]
    assert_same(state, Ledger(run).read(COLUMNS))
    rows = {row["trial_id"]: row["outcome"] for row in Store(run).rows("attempts")}
    assert rows == {A.trial_id: "settled", B.trial_id: "settled", C.trial_id: "lost"}


def test_names_are_found_by_their_beginnings(run: Path) -> None:
    settle(run, A)
    ledger = Ledger(run)
    state = ledger.read(COLUMNS)
    settle(run, B)
    ledger.catch_up(state)
    for trial in (A, B):
        assert ledger.begins_with(trial.trial_id[:9]) == [trial.trial_id]
        assert ledger.has_settled(trial.trial_id)
    assert ledger.begins_with("") == sorted([A.trial_id, B.trial_id])
    for no_name in ("x", A.trial_id + "0"):
        assert ledger.begins_with(no_name) == []
    assert not ledger.has_settled("no name")
    assert not ledger.has_settled(C.trial_id)


def test_rows_of_other_names_are_not_trials(run: Path) -> None:
    write_part(run, "trials", "odd", [{**row, "trial_id": "odd"} for row in rows_of(A)])
    older = [{**row, "column_id": "0" * 16, "data_digest": None} for row in rows_of(B)]
    write_part(run, "trials", "older", older)
    state = Ledger(run).read(COLUMNS)
    assert state.total == Counts(to_do=18)
    assert state.older == 1


def test_what_is_read_is_what_was_reported() -> None:
    """The rows of a trial say the same to who wrote them and to who reads them."""
    state = RunState.of(COLUMNS).settled(settled_trials_of_rows(rows_of(A)))
    trial = state.column_at(0).plan.trials[3]
    state = state.settled(settled_trials_of_rows(rows_of(trial, 2, "diverged")))
    assert state.results[[0, 3]].tolist() == [1, 2]
    assert state.attempts[[0, 3]].tolist() == [1, 2]
    assert state.finished[0] == NOW.timestamp() * 1e6
    assert state.plans[0].critical_rate == 2 / SHARPNESS


class History:
    """Two runs that work on a run directory, killed and resumed, while its sweep grows.

    ``seen`` is the state of the first, moved on by its own events and by its looks at the tables.
    """

    def __init__(self, run: Path, seed: int) -> None:
        self.run, self.chance = run, random.Random(seed)
        self.columns: tuple[Column, ...] = COLUMNS[:2]
        self.ledger = Ledger(run)
        self.seen = self.ledger.read(self.columns)
        self.at_work: dict[str, Trial] = {}
        self.handed_out: list[tuple[str, int]] = []

    def step(self) -> None:
        often = [self.start, self.settle, self.other] * 2
        events = [*often, self.settle, self.fail, self.kill, self.rearm, self.grow, self.damage]
        self.chance.choice([*events, self.look])()
        self.check()

    def check(self) -> None:
        total = self.seen.total
        assert total.total == (self.seen.states != State.ABSENT).sum()
        assert total.settled == (self.seen.results > 0).sum()
        assert self.seen.counts.sum() == len(self.seen.states)
        assert len(set(self.handed_out)) == len(self.handed_out)
        for its in self.seen:
            for trial in its.ready:
                assert trial.trial_id not in self.at_work

    def start(self) -> None:
        ready = [trial for its in self.seen for trial in its.ready]
        if not ready:
            return
        trial = self.chance.choice(ready)
        attempt = 1 + self.seen.last_attempt(trial.trial_id, trial.column_id)
        mark_running(self.run, trial.trial_id, trial.column_id, attempt)
        self.seen = self.seen.started(trial.trial_id, trial.column_id, RunningAttempt(attempt))
        self.at_work[trial.trial_id] = trial
        self.handed_out.append((trial.trial_id, attempt))

    def settle(self) -> None:
        if (taken := self._take()) is None:
            return
        trial, attempt = taken
        status = self.chance.choice(["reached", "reached", "diverged"])
        status = "reached" if trial.kind == "flow" else status
        settle(self.run, trial, attempt=attempt, status=status, wall_s=self.chance.random())
        (path,) = (self.run / "trials").glob(f"{part_name([(trial.trial_id, attempt)])}.*")
        rows = Store(self.run).rows("trials")
        own = [
            row for row in rows if (row["trial_id"], row["attempt"]) == (trial.trial_id, attempt)
        ]
        assert path.exists()
        self.seen = self.seen.settled(settled_trials_of_rows(own))

    def fail(self) -> None:
        if (taken := self._take()) is None:
            return
        trial, attempt = taken
        kind = self.chance.choice(["numerics", "exception", "unfit_node"])
        record(self.run, trial, attempt, "failed", kind)
        event = Attempt(attempt, "failed", kind)
        self.seen = self.seen.failed(trial.trial_id, trial.column_id, event)

    def kill(self) -> None:
        """All that runs is lost, and the run goes on."""
        marks = list(read_marks(self.run))
        self.seen, _ = self.ledger.close(self.seen, marks, "node_failure", "killed")
        for trial in self.at_work.values():
            self.seen = self.seen.stopped(trial.trial_id, trial.column_id)
        self.at_work = {}

    def other(self) -> None:
        """Another run settles a trial that is not this run's, or fails at it."""
        fresh = Ledger(self.run).read(self.columns)
        free = [t for its in fresh for t in its.ready if t.trial_id not in self.at_work]
        if not free:
            return
        trial = self.chance.choice(free)
        attempt = 1 + fresh.last_attempt(trial.trial_id, trial.column_id)
        if (trial.trial_id, attempt) in self.handed_out:
            return
        self.handed_out.append((trial.trial_id, attempt))
        if self.chance.random() < 0.7:
            settle(self.run, trial, attempt=attempt)
        else:
            record(self.run, trial, attempt, "failed", "numerics")
        self.look()

    def rearm(self) -> None:
        for _, trial in self.seen.failures():
            last = self.seen.last_on_record(trial.trial_id, trial.column_id)
            rearm(self.run, trial.trial_id, last)
        self.look()

    def grow(self) -> None:
        denser = parse(TEXT.replace("[0.5, 1.0,", "[0.5, 0.7, 1.0,")).columns
        self.columns = self.chance.choice([COLUMNS, COLUMNS[:2], (denser[0], *COLUMNS[1:])])
        self.seen = extended(self.seen, self.columns)
        known = {trial.trial_id for its in self.seen for trial, _ in its.trials}
        self.at_work = {n: t for n, t in self.at_work.items() if n in known}

    def damage(self) -> None:
        """A part that was read is lost, or all parts are compacted."""
        self.look()
        parts = sorted((self.run / "trials").glob("*.parquet"))
        if self.chance.random() < 0.5 or not parts:
            compact(self.run)
        else:
            self.chance.choice(parts).write_bytes(b"damaged")
        self.look()

    def look(self) -> None:
        self.seen = self.ledger.catch_up(self.seen)
        running = self.seen.running
        self.at_work = {
            n: t for n, t in self.at_work.items() if self.seen.number(n, t.column_id) in running
        }

    def _take(self) -> tuple[Trial, int] | None:
        """A trial that runs, which ends now."""
        if not self.at_work:
            return None
        name = self.chance.choice(sorted(self.at_work))
        trial = self.at_work.pop(name)
        return trial, self.seen.last_attempt(name, trial.column_id)


@pytest.mark.parametrize("seed", range(30))
def test_a_state_moved_on_by_events_is_the_state_read_afresh(run: Path, seed: int) -> None:
    history = History(run, seed)
    for _ in range(40):
        history.step()
        if history.chance.random() < 0.3:
            fresh = Ledger(run).read(history.columns)
            looked = history.ledger.catch_up(history.seen)
            works = [(n, t.column_id, RunningAttempt(1)) for n, t in history.at_work.items()]
            assert_same(
                dataclasses.replace(looked, running={}).working(works), fresh.working(works)
            )
            history.seen = looked
    assert history.handed_out


def test_the_parts_of_different_attempts_have_different_names() -> None:
    """Equal ones replace each other: of one attempt, and of several that end together."""
    assert part_name([("a", 1)]) == "a-1"
    several = [[("a", 1), ("b", 1)], [("a", 1), ("b", 2)], [("b", 1), ("a", 1)], [("a", 1)]]
    assert len({part_name(one) for one in several}) == len(several)
    assert part_name(several[0]) == part_name(list(several[0]))


def test_times_are_in_utc() -> None:
    assert utc(86_400.5) == datetime.datetime(1970, 1, 2, 0, 0, 0, 500_000, datetime.UTC)
