"""Leases: one owner, taken over when the owner is gone, never twice."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.run import set_torn_marks_aside
from orchestrator.ledger import (
    JobStart,
    Leases,
    mark_running,
    read_leases,
    read_marks,
    rearm,
    unmark,
)
from orchestrator.ledger.leases import STALE_SECONDS, WATCHED_SECONDS, Lease, read_lease
from orchestrator.ledger.marks import read_rearmed
from orchestrator.ledger.process import ProcessIdentity
from orchestrator.store import Store, create, remove_orphaned_temporaries


@pytest.fixture
def run(tmp_path: Path) -> Path:
    create(tmp_path / "run")
    return tmp_path / "run"


class Clock:
    """A machine's clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lease_and_stay(run: Path, column: str = "c") -> subprocess.Popen[str]:
    """Another process that leases a column and lives on until it is killed."""
    code = (
        "import sys, time; from pathlib import Path; from orchestrator.ledger import Leases\n"
        "leases = Leases(Path(sys.argv[1])); print(leases.acquire(sys.argv[2]), flush=True); "
        "time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, run, column], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    return process


def test_a_column_has_one_owner(run: Path) -> None:
    first, second = Leases(run), Leases(run)
    assert first.acquire("c")
    assert first.acquire("c")
    assert not second.acquire("c")
    first.release("c")
    assert second.acquire("c")
    assert [lease.token for lease in read_leases(run)] == [second.token]


def test_the_lease_of_a_killed_process_is_taken_over_at_once(run: Path) -> None:
    owner = lease_and_stay(run)
    leases = Leases(run)
    assert not leases.acquire("c")
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait(30)
    assert leases.acquire("c")


def test_a_requeued_job_takes_the_leases_of_its_earlier_start(run: Path) -> None:
    earlier, other = Leases(run, JobStart("17", "x")), Leases(run, JobStart("18", "x", 2))
    assert earlier.acquire("c")
    assert not other.acquire("c")
    assert not Leases(run, JobStart("17", "another job of that number", 1)).acquire("c")
    assert Leases(run, JobStart("17", "x", 1)).acquire("c")
    earlier.renew()
    assert "c" not in earlier.columns
    assert not Leases(run, JobStart("17", "x")).acquire("c")


def test_the_lease_of_a_process_that_stopped_beating_is_taken_over(run: Path, clock: Clock) -> None:
    owner = lease_and_stay(run)
    try:
        path = run / "claims" / "c.claim"
        old = path.stat().st_mtime - STALE_SECONDS - 1
        os.utime(path, (old, old))
        leases = Leases(run, clock=clock)
        assert not leases.acquire("c")  # it may be alive, on a machine whose clock is slow
        clock.seconds += WATCHED_SECONDS + 1
        assert leases.acquire("c")
        assert read_leases(run).__next__().token == leases.token
    finally:
        owner.kill()
        owner.wait(30)


def _held_elsewhere(run: Path) -> Path:
    """The lease of a process on a machine that cannot be looked into from here."""
    content = {
        "token": "t",
        "owner": {**ProcessIdentity.own().as_dict(), "hostname": "elsewhere", "pid": 1},
        "slurm_job_id": "7",
    }
    path = run / "claims" / "c.claim"
    path.write_text(json.dumps(content))
    return path


def test_another_host_is_judged_by_its_heartbeat_alone(run: Path, clock: Clock) -> None:
    _held_elsewhere(run)
    leases = Leases(run, clock=clock)
    assert not leases.acquire("c")
    clock.seconds += STALE_SECONDS - 1
    assert not leases.acquire("c")
    clock.seconds += 2
    assert leases.acquire("c")


@pytest.mark.parametrize("skew", [600.0, -600.0])
def test_the_clocks_of_machines_take_nothing_from_the_living_and_keep_nothing_for_the_dead(
    run: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, skew: float
) -> None:
    path, true_time = _held_elsewhere(run), time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + skew)
    leases = Leases(run, clock=clock)
    for _ in range(10):
        assert not leases.acquire("c")
        assert leases.columns == frozenset()
        clock.seconds += 20.0
        os.utime(path)  # a heartbeat, late but there
    assert not leases.acquire("c")
    clock.seconds += STALE_SECONDS + 1
    assert leases.acquire("c")


@pytest.mark.parametrize("skew", [600.0, -600.0])
def test_times_of_files_that_the_machines_set_take_nothing_from_the_living(
    run: Path, clock: Clock, skew: float
) -> None:
    """As on Lustre: the time of a file is that of the machine which wrote it."""
    path, leases = _held_elsewhere(run), Leases(run, clock=clock)
    for _ in range(10):
        theirs = time.time() + skew + clock.seconds
        os.utime(path, (theirs, theirs))
        assert not leases.acquire("c")
        clock.seconds += 20.0
    clock.seconds += STALE_SECONDS + 1
    assert leases.acquire("c")


def test_where_nothing_can_be_written_a_lease_is_judged_by_what_was_seen(
    run: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _held_elsewhere(run)
    os.utime(path, (0, 0))
    leases = Leases(run, clock=clock)

    def full() -> float:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(leases._server, "now", full)
    assert not leases.acquire("c")
    clock.seconds += WATCHED_SECONDS + 1
    assert not leases.acquire("c")


def test_a_heartbeat_keeps_a_lease_fresh_and_sees_that_it_was_lost(run: Path) -> None:
    leases = Leases(run)
    leases.acquire("c")
    path = run / "claims" / "c.claim"
    os.utime(path, (0, 0))
    leases.renew()
    assert time.time() - path.stat().st_mtime < 30
    path.unlink()
    other = Leases(run)
    assert other.acquire("c")
    leases.renew()
    assert leases.columns == frozenset()
    leases.release("c")
    assert [lease.token for lease in read_leases(run)] == [other.token]


def _race(run: Path, start: Barrier, taken: multiprocessing.Queue[int]) -> None:
    leases = Leases(run)
    start.wait(60)
    taken.put(sum(leases.acquire(f"c{i}") for i in range(30)))
    time.sleep(600)


@pytest.mark.parametrize("left_by_the_dead", [False, True])
def test_many_processes_never_share_a_column(run: Path, left_by_the_dead: bool) -> None:
    if left_by_the_dead:
        for i in range(30):
            _left_by_the_dead(run, f"c{i}.claim")
    context = multiprocessing.get_context("fork")
    taken, start = context.Queue(), context.Barrier(4)
    racers = [context.Process(target=_race, args=(run, start, taken)) for _ in range(4)]
    for racer in racers:
        racer.start()
    try:
        counts = [taken.get(timeout=60) for _ in racers]
        assert sum(counts) == 30
        assert len(list(read_leases(run))) == 30
    finally:
        for racer in racers:
            racer.kill()
            racer.join(30)
    remove_orphaned_temporaries(run)
    assert {path.suffix for path in (run / "claims").iterdir()} == {".claim"}


def _left_by_the_dead(run: Path, name: str = "c.claim", token: str = "dead") -> None:
    dead = {**ProcessIdentity.own().as_dict(), "started": 1}
    content = {"token": token, "owner": dead, "slurm_job_id": None}
    (run / "claims" / name).write_text(json.dumps(content))


@pytest.mark.parametrize("step", [1, 2])
def test_of_two_that_see_a_dead_lease_one_takes_it_whenever_the_other_comes(
    run: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """The second run takes its turn after each reading of the first."""
    _left_by_the_dead(run)
    first, second = Leases(run), Leases(run)
    results, readings = [], 0

    def read_then_let_the_second(path: Path, now: float | None = None) -> Lease | None:
        nonlocal readings
        readings += 1
        lease = read_lease(path, now)
        if readings == step:
            results.append(second.acquire("c"))
        return lease

    monkeypatch.setattr("orchestrator.ledger.leases.read_lease", read_then_let_the_second)
    results.append(first.acquire("c"))
    monkeypatch.undo()
    if len(results) == 1:
        results.append(second.acquire("c"))
    assert sorted(results) == [False, True]
    (holder,) = read_leases(run)
    assert {holder.token} == {leases.token for leases in (first, second) if leases.columns}


def test_a_column_is_never_free_while_it_changes_hands(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third run that finds no lease would take the column beside the one that takes it over."""
    _left_by_the_dead(run)
    held = []

    def then_look(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*arguments: Any, **named: Any) -> Any:
            try:
                return change(*arguments, **named)
            finally:
                held.append((run / "claims" / "c.claim").exists())

        return changed

    for owner, name in (Path, "rename"), (Path, "replace"), (Path, "unlink"), (os, "link"):
        monkeypatch.setattr(owner, name, then_look(getattr(owner, name)))
    assert Leases(run).acquire("c")
    assert not Leases(run).acquire("c")
    assert len(held) > 2
    assert all(held)


def test_a_run_that_died_while_it_took_over_is_followed_by_another(run: Path) -> None:
    _left_by_the_dead(run)
    _left_by_the_dead(run, "c.claim.dead.0.takeover", "died while it took over")
    leases = Leases(run)
    assert leases.acquire("c")
    assert [path.name for path in (run / "claims").glob("[!.]*")] == ["c.claim"]


def test_a_lease_that_a_living_run_is_taking_over_is_left_alone(run: Path) -> None:
    _left_by_the_dead(run)
    living = lease_and_stay(run, "d")
    try:
        lease = run / "claims" / "d.claim"
        lease.rename(run / "claims" / "c.claim.dead.0.takeover")
        assert not Leases(run).acquire("c")
        assert [holder.token for holder in read_leases(run)] == ["dead"]
    finally:
        living.kill()
        living.wait(30)


def test_an_owner_that_comes_back_late_leaves_its_lease_to_others(run: Path, clock: Clock) -> None:
    late, other = Leases(run, clock=clock), Leases(run, clock=clock)
    assert late.acquire("c")
    assert not other.acquire("c")
    clock.seconds += STALE_SECONDS + 1
    late.release("c")
    assert late.columns == frozenset()
    assert [lease.token for lease in read_leases(run)] == [late.token]
    assert other.acquire("c")


def test_the_file_that_tells_the_servers_time_is_removed(run: Path) -> None:
    first, second = Leases(run), Leases(run)
    first.acquire("c")
    second.acquire("c")
    first.release_all()
    second.release_all()
    assert list((run / "claims").iterdir()) == []


def test_a_run_tries_the_first_free_column_first_and_then_in_an_order_of_its_own(run: Path) -> None:
    other, columns = Leases(run), [f"c{i}" for i in range(20)]
    other.acquire("c0")
    orders = [list(Leases(run).in_turn(columns)) for _ in range(4)]
    assert {order[0] for order in orders} == {"c1"}
    assert len({tuple(order) for order in orders}) > 1
    assert all(sorted(order) == sorted(columns) for order in orders)
    assert {order[-1] for order in orders} == {"c0"}  # held, and not yet looked at


def test_a_lease_that_was_seen_alive_is_not_looked_at_again_before_it_may_be_stale(
    run: Path, clock: Clock
) -> None:
    owner, leases = lease_and_stay(run), Leases(run, clock=clock)
    try:
        assert not leases.acquire("c")
        assert list(leases.in_turn(["c"])) == []
        clock.seconds += STALE_SECONDS + 1
        assert list(leases.in_turn(["c"])) == ["c"]
    finally:
        owner.kill()
        owner.wait(30)
    clock.seconds -= STALE_SECONDS
    assert list(leases.in_turn(["c"])) == ["c"]  # its holder is seen to be dead
    assert leases.acquire("c")


def test_marks_say_who_runs_what(run: Path) -> None:
    mark = mark_running(run, "t", "c", 3, "17", 2)
    assert list(read_marks(run)) == list(read_marks(run, ["t", "u"])) == [mark]
    assert list(read_marks(run, ["u"])) == []
    assert mark.owner.is_dead() is False
    unmark(run, "t")
    unmark(run, "t")
    assert list(read_marks(run)) == []


@pytest.mark.parametrize("content", ["", '{"trial_id": 1', "[1]", '{"owner": {}}'])
def test_a_torn_mark_is_named_once_and_set_aside_by_a_run(
    run: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    """A mark is not flushed to disk: after a machine's crash it may be empty."""
    mark = mark_running(run, "t", "c", 3)
    rearm(run, "t", 2)
    torn = run / "claims" / "u.running"
    torn.write_text(content)
    (run / "claims" / "u.rearmed").write_text("")
    for _ in range(2):
        assert list(read_marks(run)) == [mark]
        assert read_rearmed(run) == {"t": 2}
    assert [record.getMessage() for record in caplog.records] == [
        f"{run / 'claims' / name} is left out: it is cut or damaged"
        for name in ("u.running", "u.rearmed")
    ]
    told: list[str] = []
    set_torn_marks_aside(run, told.append)
    assert told == [
        f"{run / 'claims' / name} is damaged (it is cut); it was set aside as .{name}.damaged"
        for name in ("u.running", "u.rearmed")
    ]
    assert [path.name for path in Store(run).damaged()] == [
        ".u.rearmed.damaged",
        ".u.running.damaged",
    ]
    assert list(read_marks(run)) == [mark]
    assert read_rearmed(run) == {"t": 2}


def test_a_process_is_known_by_more_than_its_number() -> None:
    own = ProcessIdentity.own()
    again = ProcessIdentity(own.hostname, own.boot, own.namespace, own.pid, own.started + 1)
    rebooted = ProcessIdentity(own.hostname, "another boot", own.namespace, own.pid, own.started)
    elsewhere = ProcessIdentity("elsewhere", own.boot, own.namespace, own.pid, own.started)
    assert own.is_dead() is False
    assert again.is_dead() is True
    assert rebooted.is_dead() is True
    assert elsewhere.is_dead() is None
