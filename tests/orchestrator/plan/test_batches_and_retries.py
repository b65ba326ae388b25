"""What a worker gets at once, the retry policy, and predictions."""

from __future__ import annotations

import pytest

from orchestrator.plan import Attempt, Ready, first_work, gives_up


def alone(count: int, seconds: float) -> list[Ready[str]]:
    """Trials that are not computed in batches."""
    return [Ready(str(i), seconds, "column") for i in range(count)]


def for_batches(count: int, seconds: float, column: str = "a", size: int = 16) -> list[Ready[str]]:
    return [Ready(f"{column}{i}", seconds, column, size) for i in range(count)]


def works(ready: list[Ready[str]], slots: int) -> list[list[str]]:
    """What so many slots get that are all free at first, and no more than that."""
    given = []
    for free in range(slots, 0, -1):
        work = first_work(ready, slots, free)
        ready = [one for one in ready if one.item not in work]
        given.append(work)
        if not ready:
            break
    return given


def test_long_trials_run_alone() -> None:
    ready = [Ready("a", 60.0, "column"), Ready("b", 50.0, "column")]
    assert first_work(ready, slots=2) == ["a"]


def test_tiny_trials_share_a_work_of_about_five_seconds() -> None:
    work = first_work(alone(10_000, 0.01), slots=2)
    assert work == [str(i) for i in range(len(work))]
    assert len(work) == pytest.approx(500, abs=1)


@pytest.mark.parametrize(("seconds", "trials"), [(0.0, 1), (1.0, 100), (20.0, 2_000)])
def test_a_work_is_filled_for_as_long_as_is_asked(seconds: float, trials: int) -> None:
    work = first_work(alone(10_000, 0.01), slots=2, work_seconds=seconds)
    assert len(work) == pytest.approx(trials, abs=1)


def test_scarce_work_is_spread_over_the_slots() -> None:
    assert len(first_work(alone(16, 0.01), slots=2)) == 4


def test_a_work_is_never_empty() -> None:
    assert first_work(alone(1, 0.0), slots=8) == ["0"]


@pytest.mark.parametrize("seconds", [0.001, 0.3, 60.0])
def test_slots_that_are_free_share_the_trials_of_batches_evenly(seconds: float) -> None:
    assert [len(work) for work in works(for_batches(10, seconds), slots=2)] == [5, 5]
    assert [len(work) for work in works(for_batches(12, seconds), slots=3)] == [4, 4, 4]
    assert [len(work) for work in works(for_batches(3, seconds), slots=8)] == [1, 1, 1]
    assert [len(work) for work in works(for_batches(10, seconds), slots=1)] == [10]


def test_a_long_work_holds_as_many_trials_as_a_pack() -> None:
    assert len(first_work(for_batches(100, 60.0), slots=2)) == 16
    assert len(first_work(for_batches(100, 60.0, size=64), slots=1)) == 64
    # Beyond that it is filled only while it is short.
    assert len(first_work(for_batches(100, 0.25), slots=1)) == 20


def test_trials_of_a_pack_are_neighbours_in_length_and_of_one_column() -> None:
    a = [Ready(f"a{i}", 100.0 - i, "a", 16) for i in range(40)]
    b = [Ready(f"b{i}", 100.5 - i, "b", 16) for i in range(40)]
    ready = sorted(a + b, key=lambda one: -one.seconds)
    assert first_work(ready, slots=2) == [f"b{i}" for i in range(16)]


def test_each_of_two_columns_is_a_pack_of_its_own() -> None:
    ready = for_batches(5, 60.0, "a") + for_batches(5, 60.0, "b")
    assert works(ready, 2) == [[f"a{i}" for i in range(5)], [f"b{i}" for i in range(5)]]


def test_slots_share_seconds_so_that_one_long_trial_waits_for_no_other() -> None:
    ready = [Ready("long", 100.0, "a", 16), *for_batches(8, 10.0)]
    assert works(ready, 2) == [["long"], [f"a{i}" for i in range(8)]]


def test_tiny_packs_of_many_columns_share_a_work() -> None:
    ready = [one for i in range(1000) for one in for_batches(5, 0.01, f"c{i}-")]
    work = first_work(ready, slots=2)
    assert len(work) == pytest.approx(500, abs=1)


def test_a_trial_that_is_for_no_pack_goes_with_tiny_ones_only() -> None:
    ready = [Ready("x", 60.0, "a", 0), *for_batches(5, 60.0)]
    assert first_work(ready, slots=1) == ["x"]


def attempts(*ends: tuple[str, str | None]) -> list[Attempt]:
    return [Attempt(i + 1, outcome, reason) for i, (outcome, reason) in enumerate(ends)]


def test_an_exception_is_tried_once_more() -> None:
    assert not gives_up(attempts(("failed", "exception")))
    assert gives_up(attempts(("failed", "exception"), ("failed", "exception")))


def test_running_out_of_memory_is_not_repeated() -> None:
    assert gives_up(attempts(("failed", "out_of_memory")))


def test_a_worker_may_die_twice_in_a_row() -> None:
    died = ("lost", "node_failure")
    assert not gives_up(attempts(died, died))
    assert gives_up(attempts(died, died, died))
    assert not gives_up(attempts(died, died, ("preempted", None), died))
    assert not gives_up(attempts(died, ("lost", None), died, died))


def test_every_run_counts_deaths_from_zero_but_not_failures() -> None:
    died, failed = ("lost", "node_failure"), ("failed", "out_of_memory")
    assert not gives_up(attempts(died, died, died), run_began_after=1)
    assert gives_up(attempts(died, died, died, died), run_began_after=1)
    assert gives_up(attempts(failed), run_began_after=1)


def test_preempted_and_lost_runs_and_unfit_nodes_never_count() -> None:
    history = [("preempted", None), ("lost", None), ("failed", "time_limit")] * 20
    history += [("failed", "unfit_node")] * 20
    assert not gives_up(attempts(*history))


def test_re_arming_forgives_what_went_before() -> None:
    history = attempts(("failed", "numerics"), ("failed", "exception"))
    assert gives_up(history)
    assert not gives_up(history, rearmed_after=1)
    assert not gives_up(history, rearmed_after=2)
