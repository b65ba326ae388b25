"""Packs of tiny trials, the retry policy, and predictions."""

from __future__ import annotations

import pytest

from orchestrator.plan import Attempt, first_pack, gives_up


def test_long_trials_run_alone() -> None:
    assert first_pack([("a", 60.0), ("b", 50.0)], slots=2) == ["a"]


def test_tiny_trials_share_a_pack_of_about_five_seconds() -> None:
    ready = [(str(i), 0.01) for i in range(10_000)]
    pack = first_pack(ready, slots=2)
    assert pack == [str(i) for i in range(len(pack))]
    assert len(pack) == pytest.approx(500, abs=1)


def test_scarce_work_is_spread_over_the_slots() -> None:
    ready = [(str(i), 0.01) for i in range(16)]
    assert len(first_pack(ready, slots=2)) == 4


def test_a_pack_is_never_empty() -> None:
    assert first_pack([("a", 0.0)], slots=8) == ["a"]


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


def test_every_run_counts_deaths_anew_but_not_failures() -> None:
    died, failed = ("lost", "node_failure"), ("failed", "out_of_memory")
    assert not gives_up(attempts(died, died, died), run_began_after=1)
    assert gives_up(attempts(died, died, died, died), run_began_after=1)
    assert gives_up(attempts(failed), run_began_after=1)


def test_preempted_and_lost_runs_never_count() -> None:
    history = [("preempted", None), ("lost", None), ("failed", "time_limit")] * 20
    assert not gives_up(attempts(*history))


def test_re_arming_forgives_what_went_before() -> None:
    history = attempts(("failed", "numerics"), ("failed", "exception"))
    assert gives_up(history)
    assert not gives_up(history, rearmed_after=1)
    assert not gives_up(history, rearmed_after=2)
