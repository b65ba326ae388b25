"""Where a column stands: order, the divergence rule, and what blocks it."""

from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.spec import Problem, Protocol, Trial
from orchestrator.plan import ColumnProgress, FlowFacts, SettledTrial, State, Threshold
from orchestrator.sweep import Column, EtaGrid, Resources, parse

EPSILONS = (0.1, 0.02)
SHARPNESS = 50.0
ETA_C = 2 / SHARPNESS


def column(rates: tuple[float, ...], *, stop: int | None = 2, unit: str = "eta_c") -> Column:
    return Column(
        problem=Problem(dataset="digits", n_train=100),
        protocol=Protocol(epsilons=EPSILONS, max_steps=1000),
        etas=(EtaGrid(unit=unit, rates=rates),),
        stop_after_divergences=stop,
        resources=Resources(),
    )


def settled(trial: Trial, status: str = "reached", sharpness: float = SHARPNESS) -> SettledTrial:
    thresholds = tuple(Threshold(epsilon, status, 10.0, sharpness) for epsilon in EPSILONS)
    return SettledTrial(trial.trial_id, thresholds, gradients=400, hvps=100, wall_s=5.0)


def with_flow(rates: tuple[float, ...], **options: object) -> ColumnProgress:
    progress = ColumnProgress(column(rates, **options), {})
    progress.settle(settled(progress.flow_trial))
    return progress


def test_the_flow_goes_first_and_alone() -> None:
    progress = ColumnProgress(column((0.5, 1.0)), {})
    assert progress.ready() == [progress.flow_trial]
    assert progress.unknown == 2
    progress.start(progress.flow_trial.trial_id)
    assert progress.ready() == []


def test_rates_are_laid_out_by_the_smallest_threshold() -> None:
    progress = ColumnProgress(column((0.5, 2.0)), {})
    thresholds = (Threshold(0.1, "reached", 3.0, 40.0), Threshold(0.02, "reached", 10.0, 50.0))
    progress.settle(SettledTrial(progress.flow_trial.trial_id, thresholds, 400, 100, 5.0))
    rates = [trial.learning_rate for trial in progress.trials[1:]]
    assert rates == [0.5 * 2 / 50, 2.0 * 2 / 50]
    assert progress.flow is not None
    assert progress.flow.critical_rate(0.1) == 2 / 40


def test_the_time_of_a_flow_is_that_to_the_smallest_threshold_that_it_reached() -> None:
    thresholds = (
        *(Threshold(0.2, "reached", 3.0, 40.0), Threshold(0.1, "reached", 7.0, 45.0)),
        Threshold(0.02, "max_steps", 10.0, 50.0),
    )
    flow = SettledTrial("flow", thresholds, gradients=400, hvps=100, wall_s=5.0)
    facts = FlowFacts.of(flow)
    assert facts.time == 7.0
    assert facts.sharpness == {0.2: 40.0, 0.1: 45.0}
    assert facts.seconds_per_gradient == 5.0 / 500
    nothing = dataclasses.replace(flow, thresholds=thresholds[2:])
    assert FlowFacts.of(nothing).time is None


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
        progress = ColumnProgress(column(eta.rates, stop=None), {})
        progress.settle(settled(progress.flow_trial, sharpness=sharpness))
        for trial in progress.trials[1:]:
            asked = progress.asked_rate(trial)
            assert asked is not None
            assert asked.unit == "eta_c"
            assert trial.learning_rate == asked.multiple * (2 / sharpness)
            multiples.add(asked.multiple)
            quotients.add(trial.learning_rate / (2 / sharpness))
    assert multiples == set(eta.rates)
    assert len(multiples) == 12 < len(quotients)
    assert progress.asked_rate(progress.flow_trial) is None


def test_the_longest_trial_is_offered_first() -> None:
    progress = with_flow((0.25, 0.5, 1.0, 1.9))
    costs = [progress.gradients_of(trial) for trial in progress.ready()]
    assert costs == sorted(costs, reverse=True)
    assert len(costs) == 4


def test_absolute_rates_need_no_critical_rate_but_the_flow_still_runs_first() -> None:
    progress = ColumnProgress(column((0.01, 0.02), unit="absolute"), {})
    assert progress.ready() == [progress.flow_trial]
    progress.settle(settled(progress.flow_trial, "max_steps"))
    assert progress.blocked is None
    assert [trial.learning_rate for trial in progress.ready()] == [0.01, 0.02]


def test_rates_in_units_of_the_initial_sharpness_need_no_threshold_to_be_reached() -> None:
    progress = ColumnProgress(column((0.5, 1.0), unit="init_sharpness"), {})
    flow = dataclasses.replace(settled(progress.flow_trial, "max_steps"), init_sharpness=8.0)
    progress.settle(flow)
    assert progress.blocked is None
    assert [trial.learning_rate for trial in progress.trials[1:]] == [0.5 * 2 / 8, 2 / 8]


@pytest.mark.parametrize("sharpness", [None, 0.0])
def test_rates_in_units_of_an_initial_sharpness_that_is_none_block_the_column(
    sharpness: float | None,
) -> None:
    progress = ColumnProgress(column((0.5, 1.0), unit="init_sharpness"), {})
    flow = dataclasses.replace(settled(progress.flow_trial), init_sharpness=sharpness)
    progress.settle(flow)
    assert "no sharpness above 0 at the initial point" in str(progress.blocked)
    assert progress.complete
    assert not progress.flawless


def test_a_flow_that_does_not_reach_the_threshold_blocks_the_column_and_says_why() -> None:
    progress = ColumnProgress(column((0.5, 1.0)), {})
    progress.settle(settled(progress.flow_trial, "max_steps"))
    assert progress.complete
    assert not progress.flawless
    assert "did not reach loss 0.02 within stop.max_steps = 1000" in str(progress.blocked)


def test_a_failed_flow_blocks_the_column() -> None:
    progress = ColumnProgress(column((0.5,)), {})
    progress.fail(progress.flow_trial.trial_id)
    assert progress.blocked == "its flow failed"
    assert progress.ready() == []
    assert progress.complete


def test_a_trial_that_failed_settled_or_was_released_runs_no_longer() -> None:
    progress = with_flow((0.5, 1.0, 1.5))
    first, second, third = progress.trials[1:]
    for trial in (first, second, third):
        progress.start(trial.trial_id)
    assert progress.ready() == []
    progress.fail(first.trial_id)
    progress.settle(settled(second))
    progress.release(third.trial_id)
    states = [progress.states()[trial.trial_id] for trial in (first, second, third)]
    assert states == [State.FAILED, State.SETTLED, State.TO_DO]
    assert progress.ready() == [third]
    progress.start(third.trial_id)
    progress.fail(third.trial_id)
    assert progress.complete


def test_a_trial_that_settled_after_all_has_not_failed() -> None:
    """Another run has tried it again."""
    progress = with_flow((0.5,))
    (trial,) = progress.trials[1:]
    progress.fail(trial.trial_id)
    assert progress.has_failures
    progress.settle(settled(trial))
    assert not progress.has_failures
    assert progress.flawless


def test_after_two_neighbouring_divergences_larger_rates_are_skipped() -> None:
    progress = with_flow((1.0, 2.5, 3.0, 3.5, 4.0))
    for trial, status in zip(
        progress.trials[1:], ("reached", "diverged", "diverged"), strict=False
    ):
        progress.settle(settled(trial, status))
    states = list(progress.states().values())
    assert states == [State.SETTLED] * 4 + [State.SKIPPED] * 2
    assert progress.complete
    assert progress.flawless


def test_a_trial_that_may_still_be_skipped_waits() -> None:
    progress = with_flow((2.5, 3.0, 3.5, 4.0))
    first, second, third, fourth = progress.trials[1:]
    assert progress.ready() == [first, second]
    progress.settle(settled(first, "diverged"))
    assert progress.ready() == [second]
    progress.settle(settled(second, "reached"))
    assert progress.ready() == [third, fourth]


def test_below_twice_the_critical_rate_nothing_waits_and_nothing_counts() -> None:
    progress = with_flow((0.5, 1.0, 1.5, 1.9))
    assert len(progress.ready()) == 4
    for trial in progress.trials[1:4]:
        progress.settle(settled(trial, "diverged"))
    assert progress.ready() == [progress.trials[4]]


def test_null_never_skips() -> None:
    progress = with_flow((2.5, 3.0, 3.5, 4.0), stop=None)
    assert len(progress.ready()) == 4


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
    progress = with_flow(rates, stop=stop)
    running: list[Trial] = []
    ran: set[str] = set()
    while not progress.complete:
        for trial in progress.ready()[: slots - len(running)]:
            progress.start(trial.trial_id)
            running.append(trial)
        trial = running.pop(order.randrange(len(running)))
        ran.add(trial.trial_id)
        bad = diverges[progress.trials.index(trial) - 1]
        progress.settle(settled(trial, "diverged" if bad else "reached"))
    above = [i for i, rate in enumerate(rates) if rate * ETA_C > 2 * ETA_C]
    cut = len(rates)
    for i in above:
        window = [j for j in above if j < i][-stop:]
        if len(window) == stop and all(diverges[j] for j in window):
            cut = min(cut, i)
    assert ran == {trial.trial_id for trial in progress.trials[1 : cut + 1]}


def test_trials_of_the_tables_are_not_offered_again() -> None:
    fresh = with_flow((0.5, 1.0, 1.5))
    table = {trial.trial_id: settled(trial) for trial in fresh.trials[:3]}
    progress = ColumnProgress(fresh.column, table, failed={fresh.trials[3].trial_id})
    assert progress.ready() == []
    assert progress.complete
    assert not progress.flawless


@pytest.mark.parametrize("unit", ["eta_c", "absolute"])
def test_a_settled_column_stays_complete_when_it_is_read_again(unit: str) -> None:
    progress = ColumnProgress(column((0.5, 1.0), unit=unit), {})
    progress.settle(settled(progress.flow_trial))
    table = {trial.trial_id: settled(trial) for trial in progress.trials}
    assert ColumnProgress(progress.column, table).flawless
