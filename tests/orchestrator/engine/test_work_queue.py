"""What the work queue hands out, from a real run directory, and what it makes of dead processes."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
import time

import pytest

from orchestrator.engine.under_way import others_start
from orchestrator.engine.work import Report, TrialProgress
from orchestrator.engine.work_queue import WorkQueue
from orchestrator.ledger import (
    Leases,
    Ledger,
    attempt_row,
    commit_attempt,
    mark_running,
    read_marks,
    rearm,
    unmark,
    utc,
)
from orchestrator.plan import Batching, RunningAttempt, extended
from orchestrator.store import Store
from orchestrator.sweep import EtaGrid, Resources

ALIKE = tuple(0.05 + 1e-4 * number for number in range(10))
"""Learning rates of trials that take equally long, within 2 %."""


@pytest.fixture
def make_queue(bench, column):
    """A queue over a column with a settled flow; columns with other resources are the same work."""
    leases = []

    def make(slots, rates=ALIKE, resources=None, seeds=(), batching=None):
        mine = dataclasses.replace(
            column,
            etas=(EtaGrid(unit="absolute", multiples=rates),),
            resources=resources or Resources(),
        )
        leases.append(Leases(bench.path, None))
        ledger = Ledger(bench.path)
        return WorkQueue(
            bench.path,
            ledger.read([mine, *(_with_seed(mine, seed) for seed in seeds)]).begun(),
            leases[-1],
            ledger,
            bench.provenance,
            bench.stop_file,
            slots=slots,
            batching=batching or Batching(),
            warn=lambda message: None,
        )

    bench.settle_flow(seconds=60.0)
    yield make
    for lease in leases:
        lease.release_all()


def _with_seed(column, seed):
    return dataclasses.replace(column, problem=dataclasses.replace(column.problem, seed=seed))


def _failed(queue):
    return {trial.trial_id for _, trial in queue.state.failures()}


def _names(work):
    return [assignment.trial.trial_id for assignment in work.assignments]


def test_two_slots_get_half_of_ten_trials_each(make_queue):
    queue = make_queue(slots=2)
    first, second = queue.next_work(), queue.next_work()
    assert [len(first.assignments), len(second.assignments)] == [5, 5]
    assert not set(_names(first)) & set(_names(second))
    rates = [a.trial.learning_rate for a in first.assignments + second.assignments]
    assert rates == sorted(rates)  # the longest first, and neighbours together
    assert all(a.batch_size == 64 for a in first.assignments)
    assert queue.next_work() is None


@pytest.mark.parametrize(
    ("batching", "trials"),
    [(Batching(3), 3), (Batching(3, math.inf), len(ALIKE)), (Batching(1, 0.0), 1)],
)
def test_batches_and_works_may_be_bounded(make_queue, batching, trials):
    """These trials are predicted to take longer than a work: it holds what fits in one batch."""
    work = make_queue(slots=1, batching=batching).next_work()
    assert [a.batch_size for a in work.assignments] == [batching.most_trials] * trials


@pytest.mark.parametrize(
    ("seeds", "changed", "expected"),
    [((1,), {}, ["cpu"]), ((), {}, []), ((1,), {"cpus_per_worker": 2}, [])],
)
def test_bounds_are_expected_when_a_flow_starts_whose_gd_may_be_batched(
    make_queue, seeds, changed, expected
):
    """The first column's flow is settled: its GD trials ask for the bounds themselves."""
    asked = []
    batching = Batching(expect=asked.append)
    queue = make_queue(slots=2, seeds=seeds, resources=Resources(**changed), batching=batching)
    works = [queue.next_work(), queue.next_work()]
    assert sum(w.assignments[0].trial.kind == "flow" for w in works if w) == len(seeds)
    assert asked == expected


@pytest.mark.parametrize(("share", "size"), [(1.01, 10), (0.99, 5)])
def test_another_worker_starts_only_for_what_takes_longer_than_its_start(
    make_queue, monkeypatch, share, size
):
    queue = make_queue(slots=2)
    seconds = queue.snapshot().remaining_s * queue.slots
    monkeypatch.setattr("orchestrator.engine.work_queue.START_SECONDS", share * seconds)
    assert len(queue.next_work().assignments) == size


@pytest.mark.parametrize(("seeds", "slots"), [((), 1), ((1, 2), 2)])
def test_another_worker_starts_for_columns_that_are_not_leased_yet(
    make_queue, column, monkeypatch, seeds, slots
):
    """Many columns of a few seconds each must not all wait for one worker."""
    queue = make_queue(slots=2, seeds=seeds)
    of_first = make_queue(slots=1).snapshot().remaining_s
    monkeypatch.setattr("orchestrator.engine.work_queue.START_SECONDS", 1.01 * of_first)
    assert queue.leases.acquire(column.column_id)
    assert queue._slots_for(queue._ready()) == slots


def test_no_work_ends_while_a_worker_starts_for_another(make_queue):
    """Tune would give the work that waits the worker that becomes free, and drop the new one."""
    queue = make_queue(slots=2)
    first = queue.next_work()
    assert not others_start(first)
    second = queue.next_work()
    assert (others_start(first), others_start(second)) == (True, True)
    queue.take_report(first, Report())
    assert (others_start(first), others_start(second)) == (True, False)
    queue.take_report(second, Report())
    for work in (first, second):  # both workers are there: what comes now waits for one of them
        assert not others_start(work)
        queue.take_end(work, None)
        assert not others_start(queue.next_work())


def test_one_work_more_than_there_is_room_for_is_handed_out(make_queue):
    """Whoever ends finds it; what comes after it is put together when it is known what is left."""
    batching = Batching(most_trials=1, work_seconds=0)
    queue = make_queue(slots=2, rates=tuple(0.05 + 0.01 * n for n in range(30)), batching=batching)
    works = [queue.next_work() for _ in range(3)]
    assert all(works)
    assert queue.next_work() is None
    queue.take_end(works[0], None)
    assert queue.next_work() is not None
    assert queue.next_work() is None


def test_a_worker_that_died_is_started_again_and_waited_for(make_queue):
    queue = make_queue(slots=2)
    first, second = queue.next_work(), queue.next_work()
    for work in (first, second):
        queue.take_report(work, Report())
    queue.take_end(second, "its process died")
    assert queue.next_work() is not None
    assert others_start(first)
    queue.close()


def test_a_wrong_prediction_holds_nothing_up_for_longer_than_a_start(make_queue, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("orchestrator.engine.work_queue.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("orchestrator.engine.work_queue.START_SECONDS", 1e9)
    many = tuple(0.05 + 1e-6 * number for number in range(100))
    queue = make_queue(slots=2, rates=many)
    assert len(queue.next_work().assignments) == 64  # as many as a batch holds
    assert queue.next_work() is None
    clock[0] = 2e9
    assert len(queue.next_work().assignments) > 0


def test_the_only_slot_gets_all(make_queue):
    assert len(make_queue(slots=1).next_work().assignments) == 10


def test_while_all_slots_work_what_is_left_is_still_shared(make_queue):
    queue = make_queue(slots=2, rates=tuple(0.05 + 1e-6 * number for number in range(148)))
    sizes = [len(queue.next_work().assignments) for _ in range(3)]
    assert sizes == [64, 64, 10]


def test_columns_to_come_are_predicted_by_the_one_whose_flow_was_timed(make_queue):
    """Its flow took 60 s; two more columns take that and as much for GD as is left of the first."""
    left_of_first = make_queue(slots=1).snapshot().remaining_s
    left_of_all = make_queue(slots=1, seeds=(1, 2)).snapshot().remaining_s
    assert left_of_all == pytest.approx(left_of_first + 2 * (60 + left_of_first), rel=1e-12)


def test_more_cpus_for_a_trial_mean_no_batches(make_queue):
    work = make_queue(slots=1, resources=Resources(cpus_per_worker=2)).next_work()
    assert {a.batch_size for a in work.assignments} == {0}


def test_every_trial_of_a_batch_is_shown_as_running(make_queue):
    queue = make_queue(slots=1)
    work = queue.next_work()
    assert queue.snapshot().running == ()
    running = tuple(
        TrialProgress(name, work.assignments[0].column_id, 7, 0.5, 0.1, None)
        for name in _names(work)
    )
    queue.take_report(work, Report(running=running))
    assert queue.snapshot().running == running
    queue.take_report(work, Report(running=running[3:]))
    assert queue.snapshot().running == running[3:]
    queue.take_end(work, None)
    assert queue.snapshot().running == ()


def test_the_trials_of_a_batch_whose_process_died_are_tried_one_by_one(make_queue, bench):
    queue = make_queue(slots=2)
    work, other = queue.next_work(), queue.next_work()
    queue.slots = 5  # so that all that is to be tried again is handed out at once
    dead = _names(work)[:4]
    _mark_and_die(bench, work, dead)
    queue.take_end(work, "its worker process died")
    again = [queue.next_work() for _ in range(5)]
    assert {tuple(_names(one)) for one in again[:4]} == {(name,) for name in dead}
    assert {one.assignments[0].attempt for one in again[:4]} == {2}
    assert _names(again[4]) == _names(work)[4:]
    assert again[4].assignments[0].attempt == 2
    assert not set(dead) & set(_names(other))
    # One of them settles, another kills its process twice more: it alone has failed.
    guilty = again[0]
    for attempt in (2, 3):
        assert guilty.assignments[0].attempt == attempt
        _mark_and_die(bench, guilty, _names(guilty))
        queue.take_end(guilty, "its worker process died")
        guilty = queue.next_work() if attempt == 2 else None
    assert _failed(queue) == {dead[0]}


def test_a_trial_that_failed_is_tried_again_by_itself(make_queue, bench):
    queue = make_queue(slots=1)
    work = queue.next_work()
    guilty = work.assignments[4].trial.trial_id
    now = utc(time.time())
    row = attempt_row(
        guilty, work.assignments[0].column_id, 1, "failed", hostname="h", started_at=now,
        finished_at=now, failure_class="exception",
    )  # fmt: skip
    commit_attempt(bench.path, row)
    queue.take_report(work, Report(failed=(guilty,)))
    queue.take_end(work, None)
    again = [queue.next_work(), queue.next_work()]
    assert sorted(map(len, map(_names, again))) == [1, 9]
    assert [guilty] in map(_names, again)


def test_trials_that_ran_when_ray_was_lost_are_recorded_and_tried_again(make_queue, bench):
    queue = make_queue(slots=2)
    work, other = queue.next_work(), queue.next_work()
    assert not queue.is_computing()  # nothing has begun
    alive = other.assignments[0]
    mark_running(bench.path, alive.trial.trial_id, alive.column_id, alive.attempt)
    assert queue.is_computing()
    _mark_and_die(bench, work, _names(work)[:2])
    unmark(bench.path, alive.trial.trial_id)  # it has saved itself
    assert not queue.is_computing()
    queue.take_loss("Ray's raylet on node n1 died")
    rows = Store(bench.path).rows("attempts")
    lost = {row["trial_id"]: row for row in rows if row["outcome"] == "lost"}
    assert lost.keys() == set(_names(work)[:2])
    for row in lost.values():
        assert (row["failure_class"], row["error"]) == (
            "node_failure",
            "Ray's raylet on node n1 died",
        )
    assert list(read_marks(bench.path)) == []
    assert _failed(queue) == set()


def _mark_and_die(bench, work, names):
    """Start attempts of a work in another process that ends without a report."""
    code = (
        "import sys; from pathlib import Path; from orchestrator.ledger import mark_running\n"
        "run, column, *attempts = sys.argv[1:]\n"
        "for word in attempts:\n"
        "    name, attempt = word.split(':')\n"
        "    mark_running(Path(run), name, column, int(attempt))\n"
    )
    attempts = [
        f"{a.trial.trial_id}:{a.attempt}" for a in work.assignments if a.trial.trial_id in names
    ]
    column_id = work.assignments[0].column_id
    command = [sys.executable, "-c", code, str(bench.path), column_id, *attempts]
    subprocess.run(command, check=True, timeout=60)


def _with_rates(column, *rates):
    return dataclasses.replace(column, etas=(EtaGrid(unit="absolute", multiples=rates),))


def test_the_column_that_is_predicted_to_take_longest_is_leased_first(make_queue):
    """In the file's order, a long one that begins last would keep all others waiting."""
    queue = make_queue(slots=1, rates=ALIKE[:1], seeds=(1, 2))
    (first, second, third) = queue.columns
    wider = dataclasses.replace(third, problem=dataclasses.replace(third.problem, width=64))
    queue.state = extended(queue.state, (first, second, wider))
    order = []
    while queue.has_work() and len(order) < 3:
        new = queue.leases.columns - set(order)
        order += new
        queue.state = queue.state.started(
            queue.state.column(order[-1]).ready[0].trial_id, order[-1], RunningAttempt(1)
        )
    assert order == [wider.column_id, second.column_id, first.column_id]


def test_a_sweep_that_grows_is_taken_in_while_its_trials_run(make_queue):
    queue = make_queue(slots=2, rates=ALIKE[:2])
    (mine,) = queue.columns
    first = queue.next_work()
    running = set(_names(first))
    looks = [(_with_rates(mine, *ALIKE[:4]), _with_seed(mine, 1))]
    queue.grown = lambda: looks.pop() if looks else None
    assert queue.extend(now=True)
    assert not queue.extend(now=True)
    assert [column.problem.seed for column in queue.columns] == [0, 1]
    works = [first]
    while (work := queue.next_work()) is not None:
        works.append(work)
        queue.slots += 1
    trials = [a.trial for work in works for a in work.assignments]
    assert sorted(t.learning_rate for t in trials if t.kind == "gd") == list(ALIKE[:4])
    assert [t.problem.seed for t in trials if t.kind == "flow"] == [1]
    assert running < {trial.trial_id for trial in trials}
    assert not queue.complete()


def test_the_sweep_is_read_every_few_seconds_while_there_is_work(make_queue, monkeypatch):
    clock, looks = [100.0], []
    monkeypatch.setattr("orchestrator.engine.work_queue.time.monotonic", lambda: clock[0])
    queue = make_queue(slots=1)
    queue.grown = lambda: looks.append(clock[0])
    for seconds in (0.0, 1.0, 3.0, 2.0, 0.1):
        clock[0] += seconds
        queue.extend()
    assert looks == [100.0, 106.0]
    queue.extend(now=True)
    assert len(looks) == 3


def test_a_failed_trial_that_is_given_another_chance_is_tried_by_the_run_that_is_there(
    make_queue, bench
):
    queue = make_queue(slots=1, rates=ALIKE[:1])
    work = queue.next_work()
    (name,) = _names(work)
    now = utc(time.time())
    row = attempt_row(
        name, work.assignments[0].column_id, 1, "failed",
        hostname="h", started_at=now, finished_at=now, failure_class="numerics",
    )  # fmt: skip
    commit_attempt(bench.path, row)
    queue.take_report(work, Report(failed=(name,)))
    queue.take_end(work, None)
    assert queue.complete()
    assert not queue.extend(now=True)
    rearm(bench.path, name, 1)
    assert queue.extend(now=True)
    assert not queue.complete()
    assert _names(queue.next_work()) == [name]
