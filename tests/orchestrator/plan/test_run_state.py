"""What state trials are in: their order, the divergence rule, what blocks a column, events."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.outcomes import outcome

from jobs.spec import Problem, Protocol, Trial
from orchestrator.plan import (
    Attempt,
    ColumnState,
    Counts,
    FlowSummary,
    RunningAttempt,
    RunState,
    State,
    Threshold,
    extended,
    newest,
)
from orchestrator.sweep import Column, EtaGrid, Resources, parse

EPSILONS = (0.1, 0.02)
SHARPNESS = 50.0
ETA_C = 2 / SHARPNESS


def column(
    rates: tuple[float, ...], *, stop: int | None = 2, unit: str = "eta_c", seed: int = 0
) -> Column:
    return Column(
        problem=Problem(dataset="digits", n_train=100, seed=seed),
        protocol=Protocol(epsilons=EPSILONS, max_steps=1000),
        etas=(EtaGrid(unit=unit, multiples=rates),),
        stop_after_divergences=stop,
        resources=Resources(),
    )


class One:
    """The state of a run with one column, moved on by what happens to its trials."""

    def __init__(self, rates: tuple[float, ...], *, flow: bool = True, **options: object) -> None:
        self.state = RunState.of([column(rates, **options)])
        if flow:
            self.settle(self.trials[0])

    @property
    def column(self) -> ColumnState:
        return self.state.column_at(0)

    @property
    def trials(self) -> tuple[Trial, ...]:
        return self.column.plan.trials

    @property
    def states(self) -> list[State]:
        return [state for _, state in self.column.trials]

    def settle(self, trial: Trial, status: str = "reached", **values: object) -> None:
        self.state = self.state.settled(outcome(trial, status, **values))

    def start(self, trial: Trial) -> None:
        self.state = self.state.started(trial.trial_id, trial.column_id, RunningAttempt(1))

    def stop(self, trial: Trial) -> None:
        self.state = self.state.stopped(trial.trial_id, trial.column_id)

    def fail(self, trial: Trial, attempt: int = 1) -> None:
        failed = Attempt(attempt, "failed", "numerics")
        self.state = self.state.failed(trial.trial_id, trial.column_id, failed)


def test_the_flow_goes_first_and_alone() -> None:
    one = One((0.5, 1.0), flow=False)
    assert one.column.ready == (one.trials[0],)
    assert one.state.total == Counts(to_do=3)
    one.start(one.trials[0])
    assert one.column.ready == ()
    assert one.state.total == Counts(running=1, to_do=2)


def test_rates_are_laid_out_by_the_smallest_threshold() -> None:
    one = One((0.5, 2.0), flow=False)
    thresholds = [Threshold(0.1, "reached", 3.0, 40.0), Threshold(0.02, "reached", 10.0, 50.0)]
    summary = FlowSummary.of(thresholds, gradients=4, hvps=1, wall_s=5.0, init_sharpness=None)
    its = outcome(one.trials[0])
    its = dataclasses.replace(its, flows={int(its.trial[0]): summary})
    one.state = one.state.settled(its)
    assert [trial.learning_rate for trial in one.trials[1:]] == [0.5 * 2 / 50, 2.0 * 2 / 50]
    assert one.column.plan.flow is not None
    assert one.column.plan.flow.critical_rate(0.1) == 2 / 40


def test_the_time_of_a_flow_is_that_to_the_smallest_threshold_that_it_reached() -> None:
    thresholds = [
        *(Threshold(0.2, "reached", 3.0, 40.0), Threshold(0.1, "reached", 7.0, 45.0)),
        Threshold(0.02, "max_steps", 10.0, 50.0),
    ]
    rest = {"gradients": 400, "hvps": 100, "wall_s": 5.0, "init_sharpness": None}
    summary = FlowSummary.of(thresholds, **rest)
    assert summary.time == 7.0
    assert summary.sharpness == {0.2: 40.0, 0.1: 45.0}
    assert summary.seconds_per_gradient == 5.0 / 500
    assert FlowSummary.of(thresholds[2:], **rest).time is None


def test_columns_of_one_grid_have_bit_equal_multiples_at_their_different_rates() -> None:
    (eta,) = (
        parse(
            """
name: grid
problem: {dataset: digits, n_train: 100}
eta: {values: {geometric: [0.25, 4.0, 12]}}
stop: {epsilon: 0.1}
"""
        )
        .columns[0]
        .etas
    )
    multiples, quotients = set(), set()
    for sharpness in (50.0, 47.3, 12.9, 31.7):
        one = One(eta.multiples, stop=None, flow=False)
        one.settle(one.trials[0], sharpness=sharpness)
        for trial in one.trials[1:]:
            asked = one.column.plan.asked_rate(trial)
            assert asked is not None
            assert asked.unit == "eta_c"
            assert trial.learning_rate == asked.multiple * (2 / sharpness)
            multiples.add(asked.multiple)
            quotients.add(trial.learning_rate / (2 / sharpness))
            one.settle(trial)  # found at its η, whatever its bits
        assert one.states == [State.SETTLED] * 13
    assert multiples == set(eta.multiples)
    assert len(multiples) == 12 < len(quotients)
    assert one.column.plan.asked_rate(one.trials[0]) is None


def test_absolute_rates_need_no_critical_rate_but_the_flow_still_runs_first() -> None:
    one = One((0.01, 0.02), unit="absolute", flow=False)
    assert one.column.ready == (one.trials[0],)
    one.settle(one.trials[0], "max_steps")
    assert one.column.blocked is None
    assert [trial.learning_rate for trial in one.column.ready] == [0.01, 0.02]


def test_rates_in_units_of_the_initial_sharpness_need_no_threshold_to_be_reached() -> None:
    one = One((0.5, 1.0), unit="init_sharpness", flow=False)
    one.settle(one.trials[0], "max_steps", init_sharpness=8.0)
    assert one.column.blocked is None
    assert [trial.learning_rate for trial in one.trials[1:]] == [0.5 * 2 / 8, 2 / 8]


@pytest.mark.parametrize("sharpness", [None, 0.0])
def test_rates_in_units_of_an_initial_sharpness_that_is_none_block_the_column(
    sharpness: float | None,
) -> None:
    one = One((0.5, 1.0), unit="init_sharpness", flow=False)
    one.settle(one.trials[0], init_sharpness=sharpness)
    assert "no sharpness above 0 at the initial point" in str(one.column.blocked)
    assert one.column.complete
    assert one.column.counts.unfinished
    assert one.state.total == Counts(settled=1, blocked=2)


def test_a_flow_that_does_not_reach_the_threshold_blocks_the_column_and_says_why() -> None:
    one = One((0.5, 1.0), flow=False)
    one.settle(one.trials[0], "max_steps")
    assert one.column.complete
    assert one.column.counts.unfinished
    assert "did not reach loss 0.02 within stop.max_steps = 1000" in str(one.column.blocked)
    assert [its.column_id for its in one.state.blocked_columns()] == [one.column.column_id]


def test_a_failed_flow_blocks_the_column() -> None:
    one = One((0.5,), flow=False)
    one.fail(one.trials[0])
    assert one.column.blocked == "its flow failed"
    assert one.column.ready == ()
    assert one.column.complete
    assert one.state.total == Counts(failed=1, blocked=1)


def test_rates_of_two_units_that_fall_together_are_one_trial() -> None:
    both = (
        EtaGrid(unit="eta_c", multiples=(0.5, 1.0)),
        EtaGrid(unit="absolute", multiples=(ETA_C, 0.3)),
    )
    one = One((1.0,), flow=False)
    one.state = RunState.of([dataclasses.replace(column((1.0,)), etas=both)])
    assert one.state.total == Counts(to_do=5)
    one.settle(one.trials[0])
    assert one.state.total == Counts(settled=1, to_do=3)
    for trial in one.trials[1:]:
        one.settle(trial)
    assert one.column.counts.unfinished == 0
    assert one.state.total == Counts(settled=4)


def test_a_trial_that_failed_settled_or_stopped_runs_no_longer() -> None:
    one = One((0.5, 1.0, 1.5))
    first, second, third = one.trials[1:]
    for trial in (first, second, third):
        one.start(trial)
    assert one.column.ready == ()
    one.fail(first)
    one.settle(second)
    one.stop(third)
    assert one.states[1:] == [State.FAILED, State.SETTLED, State.TO_DO]
    assert one.column.ready == (third,)
    assert not one.state.running
    one.start(third)
    one.fail(third)
    assert one.column.complete


def test_a_trial_that_settled_after_all_has_not_failed() -> None:
    """Another run has tried it again."""
    one = One((0.5,))
    one.fail(one.trials[1])
    assert [trial for _, trial in one.state.failures()] == [one.trials[1]]
    one.settle(one.trials[1], attempt=2)
    assert list(one.state.failures()) == []
    assert one.column.counts.unfinished == 0


def test_a_forgiven_failure_no_longer_counts() -> None:
    one = One((0.5,))
    trial = one.trials[1]
    one.fail(trial)
    one.state = one.state.rearmed({trial.trial_id: 1})
    assert one.states == [State.SETTLED, State.TO_DO]
    assert one.state.last_attempt(trial.trial_id, trial.column_id) == 1
    one.fail(trial, attempt=2)
    assert one.states == [State.SETTLED, State.FAILED]


def test_deaths_before_a_run_do_not_count_in_it() -> None:
    one = One((0.5,))
    trial = one.trials[1]
    for attempt in (1, 2):
        died = Attempt(attempt, "lost", "node_failure")
        one.state = one.state.failed(trial.trial_id, trial.column_id, died)
    assert one.state.suspect(trial.trial_id, trial.column_id)
    one.state = one.state.begun()
    assert not one.state.suspect(trial.trial_id, trial.column_id)
    for attempt in (3, 4, 5):
        assert one.states[1] == State.TO_DO
        died = Attempt(attempt, "lost", "node_failure")
        one.state = one.state.failed(trial.trial_id, trial.column_id, died)
    assert one.states[1] == State.FAILED


def test_after_two_neighbouring_divergences_larger_rates_are_skipped() -> None:
    one = One((1.0, 2.5, 3.0, 3.5, 4.0))
    for trial, status in zip(one.trials[1:], ("reached", "diverged", "diverged"), strict=False):
        one.settle(trial, status)
    assert one.states == [State.SETTLED] * 4 + [State.SKIPPED] * 2
    assert one.column.complete
    assert one.column.counts.unfinished == 0
    assert one.state.total == Counts(settled=4, skipped=2)


def test_a_trial_that_may_still_be_skipped_waits() -> None:
    one = One((2.5, 3.0, 3.5, 4.0))
    first, second, third, fourth = one.trials[1:]
    assert one.column.ready == (first, second)
    one.settle(first, "diverged")
    assert one.column.ready == (second,)
    one.settle(second, "reached")
    assert one.column.ready == (third, fourth)


def test_below_twice_the_critical_rate_nothing_waits_and_nothing_counts() -> None:
    one = One((0.5, 1.0, 1.5, 2.0))
    assert len(one.column.ready) == 4
    for trial in one.trials[1:4]:
        one.settle(trial, "diverged")
    assert one.column.ready == (one.trials[4],)


def test_null_never_skips() -> None:
    assert len(One((2.5, 3.0, 3.5, 4.0), stop=None).column.ready) == 4


def test_a_failed_trial_breaks_a_row_of_divergences() -> None:
    one = One((2.5, 3.0, 3.5, 4.0, 4.5))
    first, second, third, fourth, fifth = one.trials[1:]
    one.settle(first, "diverged")
    one.fail(second)
    assert one.column.ready == (third, fourth)
    one.settle(third, "diverged")
    one.settle(fourth, "diverged")
    assert one.state.column_at(0).state_of(fifth.trial_id) == State.SKIPPED


@settings(max_examples=200, deadline=None)
@given(
    diverges=st.lists(st.booleans(), min_size=1, max_size=12),
    stop=st.integers(1, 3),
    slots=st.integers(1, 5),
    seed=st.integers(0, 2**16),
)
def test_which_trials_run_does_not_depend_on_the_order_in_which_they_end(
    diverges: list[bool], stop: int, slots: int, seed: int
) -> None:
    rates = tuple(1.0 + 0.4 * i for i in range(len(diverges)))
    order = random.Random(seed)
    one = One(rates, stop=stop)
    running: list[Trial] = []
    ran: set[str] = set()
    while not one.column.complete:
        for trial in one.column.ready[: slots - len(running)]:
            one.start(trial)
            running.append(trial)
        trial = running.pop(order.randrange(len(running)))
        ran.add(trial.trial_id)
        bad = diverges[one.trials.index(trial) - 1]
        one.settle(trial, "diverged" if bad else "reached")
    above = [i for i, rate in enumerate(rates) if rate * ETA_C > 2 * ETA_C]
    cut = len(rates)
    for i in above:
        window = [j for j in above if j < i][-stop:]
        if len(window) == stop and all(diverges[j] for j in window):
            cut = min(cut, i)
    assert ran == {trial.trial_id for trial in one.trials[1 : cut + 1]}


def test_what_the_tables_hold_is_not_offered_again() -> None:
    one = One((0.5, 1.0, 1.5))
    known = newest([outcome(trial) for trial in reversed(one.trials[:3])])
    state = RunState.of(one.state.columns).settled(known)
    failed = one.trials[3]
    died = (failed.trial_id, failed.column_id, Attempt(1, "failed", "numerics"))
    state = state.tried([died])
    assert state.column_at(0).ready == ()
    assert state.complete.all()
    assert state.total == Counts(settled=3, failed=1)


@pytest.mark.parametrize("unit", ["eta_c", "absolute"])
def test_a_settled_column_stays_complete_when_it_is_read_again(unit: str) -> None:
    one = One((0.5, 1.0), unit=unit)
    known = newest([outcome(trial) for trial in one.trials])
    assert RunState.of(one.state.columns).settled(known).total.unfinished == 0


def test_descents_whose_flow_is_not_known_count_once_it_is() -> None:
    """As where the file with the rows of the flow is damaged, and the flow computed again."""
    one = One((0.5, 1.0))
    flow, *descents = one.trials
    state = RunState.of(one.state.columns).settled(newest([outcome(t) for t in descents]))
    assert state.total == Counts(to_do=3)
    assert state.settled(outcome(flow)).total == Counts(settled=3)


def test_columns_that_differ_in_the_flow_alone_share_their_descents() -> None:
    """At one η, GD is the same whatever integrates the flow: it has one name, and is done once."""
    mine = column((0.01, 0.02), unit="absolute")
    other = dataclasses.replace(
        mine, protocol=dataclasses.replace(mine.protocol, flow_method="rk4")
    )
    state = RunState.of([mine, other])
    for its in (mine, other):
        state = state.settled(outcome(its.flow()))
    trial = mine.at(0.01)
    assert trial.trial_id == other.at(0.01).trial_id
    failed = Attempt(1, "failed", "numerics")
    tried = state.failed(trial.trial_id, mine.column_id, failed)
    assert [its.counts.failed for its in tried] == [1, 1]
    assert tried.last_attempt(trial.trial_id, other.column_id) == 1
    done = state.settled(outcome(trial))
    assert [its.counts.settled for its in done] == [2, 2]
    # Also where the sweep has only the other one by now.
    alone = RunState.of([other]).settled(newest([outcome(trial), outcome(other.flow())]))
    assert alone.total == Counts(settled=2, to_do=1)


def test_a_sweep_that_is_extended_keeps_what_is_known() -> None:
    mine, other = column((0.5, 1.0)), column((0.5, 1.0), seed=1)
    state = RunState.of([mine, other])
    state = state.settled(newest([outcome(mine.flow()), outcome(other.flow())]))
    for its, rate in ((mine, 0.5), (mine, 1.0), (other, 1.0)):
        state = state.settled(outcome(its.at(rate * ETA_C)))
    running = other.at(0.5 * ETA_C)
    state = state.started(running.trial_id, other.column_id, RunningAttempt(3))
    denser = dataclasses.replace(
        mine, etas=(EtaGrid(unit="eta_c", multiples=(0.25, 0.5, 0.75, 1.0)),)
    )
    third = column((0.5, 1.0), seed=2)
    grown = extended(state, [third, denser, other])
    assert [its.counts for its in grown] == [
        Counts(to_do=3),
        Counts(settled=3, to_do=2),
        Counts(settled=2, running=1),
    ]
    assert [t.learning_rate for t in grown.column_at(1).ready] == [0.25 * ETA_C, 0.75 * ETA_C]
    assert grown.last_attempt(running.trial_id, other.column_id) == 3
    back = extended(grown, [mine, other])
    assert_same(back, state)


def test_the_newest_attempt_counts_whenever_it_is_read() -> None:
    one = One((2.5, 3.0), stop=1)
    first, second = one.trials[1:]
    old, new = outcome(first, "diverged", wall_s=7.0), outcome(first, attempt=2, wall_s=3.0)
    either = one.state.settled(old).settled(new), one.state.settled(new).settled(old)
    for state in (*either, one.state.settled(newest([new, old]))):
        assert state.column_at(0).ready == (second,)
        assert state.seconds[1] == 3.0
    assert_same(*either)


def test_a_flow_with_other_results_is_noticed() -> None:
    one = One((0.5,))
    assert not one.state.contradicts(outcome(one.trials[0], attempt=2))
    assert one.state.contradicts(outcome(one.trials[0], attempt=2, sharpness=51.0))


def assert_same(one: RunState, other: RunState) -> None:
    """Two states are the same, however they came about."""
    assert one.columns == other.columns
    for name in ("results", "attempts", "seconds", "states", "counts", "finished"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert [plan.flow for plan in one.plans] == [plan.flow for plan in other.plans]
    assert {n: w.attempt for n, w in one.running.items()} == {
        n: w.attempt for n, w in other.running.items()
    }
    assert one.leases.keys() == other.leases.keys()
