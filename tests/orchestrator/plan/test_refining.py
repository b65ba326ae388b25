"""Rates that refine themselves: which ones come, when they end, and that timing has no say."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from support.outcomes import outcome

from orchestrator.plan import RunState, State, extended, newest
from orchestrator.plan.refining import Found, Refinement, refined
from orchestrator.plan.rounds import refined_so_far, refinement, valley_over_seeds
from orchestrator.plan.seeds import over_seeds
from orchestrator.sweep import Refine, Sweep, parse

ETA_C, LARGEST, BEST = 0.1, 3.3, 1.7  # the last two in units of η_c


def found(multiples, *, largest=LARGEST, best=BEST, noise=0.0, kink=1.0) -> Found:
    """S constant below ``kink`` and 2/η above, divergence beyond ``largest``, a valley at ``best``;
    and what a trial finds depends on its rate alone.
    """
    at = np.array(sorted(multiples))
    reached = at <= largest
    scatter = noise * np.sin(1e6 * at)
    eta = at * ETA_C
    return Found(
        multiple=at,
        eta=eta,
        diverged=~reached,
        reached=reached,
        sharpness=np.where(reached, 2 / (np.maximum(at, kink) * ETA_C) * (1 + scatter), np.nan),
        test_loss=np.where(reached, 0.5 + np.log(at / best) ** 2, np.nan),
    )


def rounds(asked: Refine, start=(0.5, 0.8, 1.3, 2.0, 3.0, 5.0), **law) -> tuple[Refinement, list]:
    """The last refinement, and the rates of each round."""
    known, came = list(start), []
    for _ in range(50):
        last = refined(found(known, **law), asked, len(known) - len(start))
        if not last.following:
            return last, came
        came.append(last.following)
        known += last.following
    raise AssertionError("it has no end")


def test_the_bounds_are_met_and_hold_the_true_values() -> None:
    last, came = rounds(Refine(), noise=0.01)
    assert last.kink.met
    assert last.divergence.met
    assert last.valley.met
    assert last.kink.low < 1.0 < last.kink.high
    assert math.log(last.kink.high / last.kink.low) <= 0.02
    assert last.divergence.low <= LARGEST < last.divergence.high
    assert math.log(last.divergence.high / last.divergence.low) <= 0.02
    assert last.valley.low < BEST < last.valley.high
    assert math.log(last.valley.high / last.valley.low) <= 0.04
    every = list(itertools.chain.from_iterable(came))
    assert len(every) == len(set(every)) <= 40


def test_a_uniform_grid_of_that_precision_has_five_times_as_many_rates() -> None:
    _, came = rounds(Refine(kink=None))
    uniform = math.log(5.0 / 0.5) / 0.02
    assert 6 + sum(map(len, came)) <= uniform / 5


def test_what_is_not_asked_for_calls_for_no_rates() -> None:
    last, came = rounds(Refine(kink=None, divergence=0.05, valley=None))
    assert all(3.0 < at < 5.0 for one in came for at in one)
    assert last.kink.met
    assert last.kink.said == last.valley.said == ""
    none = refined(found([0.5, 1.0]), Refine(kink=None, divergence=None, valley=None), 0)
    assert none.following == ()


@pytest.mark.parametrize(
    ("law", "start", "said"),
    [
        ({"largest": 9.0}, (0.5, 1.3, 2.0, 5.0), "divergence from 5 (no rate diverged, up to 5)"),
        ({"best": 0.1}, (0.5, 1.3, 5.0), "(the test loss is least at the smallest rate)"),
        ({"best": 9.0, "largest": 9.0}, (0.5, 1.3, 5.0), "(the test loss is least at the largest"),
        ({"largest": 0.1}, (0.5, 1.0), "divergence (no rate reached ε)"),
        ({"kink": 50.0}, (0.5, 1.3, 2.0, 5.0), "(S shows no transition from constant to 2/η)"),
    ],
)
def test_what_no_further_rate_would_tell_says_why(law, start, said) -> None:
    last, _ = rounds(Refine(kink=None) if "kink" not in law else Refine(), start, **law)
    assert said in last.said


def test_a_kink_that_scatters_too_much_ends_and_says_how_many_rates_it_would_take() -> None:
    last, came = rounds(Refine(divergence=None, valley=None), noise=0.1)
    assert "S scatters: about" in last.said
    assert sum(map(len, came)) < 40


def test_rates_that_neither_reach_the_threshold_nor_diverge_lie_between() -> None:
    """Between 2.6 and 3.3 η_c, GD takes all its steps."""
    known, start = [0.5, 2.0, 3.0, 5.0], 4
    while True:
        one = found(known)
        short = (one.multiple > 2.6) & one.reached
        one = Found(**{**vars(one), "reached": one.reached & ~short})
        last = refined(one, Refine(kink=None, valley=None), len(known) - start)
        if not last.following:
            break
        known += last.following
    assert (last.divergence.low, last.divergence.high) == (
        pytest.approx(2.6, rel=0.02), pytest.approx(3.3, rel=0.02)
    )  # fmt: skip
    assert "rates between neither reached ε nor diverged within stop.max_steps" in last.said


def test_no_more_rates_come_than_the_most() -> None:
    last, came = rounds(Refine(most=5))
    assert sum(map(len, came)) == 5
    assert "all 5 further rates are used" in last.said


FILE = """
name: refined
problem: {dataset: digits, n_train: 100, width: 8}
eta: {values: [0.5, 1.0, 1.5, 3.0, 6.0, 9.0, 12.0], refine: {kink: null, most: 30}}
stop: {epsilon: [0.1], max_steps: 1000}
"""


def settled(trial, column_id, best=BEST):
    """What the trial finds, by its rate alone."""
    if trial.kind == "flow":
        return outcome(trial, sharpness=2 / ETA_C, column_id=column_id)
    at = trial.learning_rate / ETA_C
    status = "reached" if at <= LARGEST else "diverged"
    return outcome(
        trial,
        status,
        sharpness=2 / (max(at, 1.0) * ETA_C) if status == "reached" else None,
        test_loss=0.5 + math.log(at / best) ** 2 if status == "reached" else math.nan,
        column_id=column_id,
    )


def carried_out(sweep: Sweep, order=lambda ready: ready[0]) -> tuple[RunState, list]:
    """The state when nothing is left, with all that was settled."""
    state, rows = RunState.of(sweep.columns), []
    name = sweep.columns[0].column_id
    while ready := [trial for column in state for trial in column.ready]:
        rows.append(settled(order(ready), name))
        state = state.settled(rows[-1])
    return state, rows


def same(one: RunState, other: RunState) -> bool:
    return one.plans[0].refined == other.plans[0].refined and all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=name == "sharpness")
        for name in ("results", "states", "counts", "sharpness")
    )


def test_a_column_goes_on_by_rounds_until_it_is_known() -> None:
    state, rows = carried_out(parse(FILE))
    assert state.complete.all()
    plan = state.plans[0]
    assert len(rows) == 1 + 7 + len(plan.refined) - int(state.total.skipped)
    last = refinement(state, 0)
    assert last is not None
    assert last.divergence.met
    assert last.valley.met
    assert "further rates; divergence from 3." in refined_so_far(state, 0)
    assert refined_so_far(state, 0).endswith(" (one seed)")  # whose valley may not be another's
    assert [rate.unit for rate in plan.learning_rates.values()] == ["eta_c"] * plan.n_rates


def test_the_rates_do_not_depend_on_the_order_in_which_trials_end() -> None:
    first, _ = carried_out(parse(FILE))
    last, _ = carried_out(parse(FILE), order=lambda ready: ready[-1])
    assert same(first, last)


def test_all_tables_at_once_say_what_one_trial_after_another_did() -> None:
    sweep = parse(FILE)
    state, rows = carried_out(sweep)
    assert same(RunState.of(sweep.columns).settled(newest(rows)), state)
    half = RunState.of(sweep.columns).settled(newest(rows[: len(rows) // 2]))
    assert half.plans[0].refined == state.plans[0].refined[: len(half.plans[0].refined)]
    assert same(half.settled(newest(rows[len(rows) // 2 :])), state)


def test_before_its_flow_is_known_a_column_asks_for_the_rates_of_its_file() -> None:
    state = RunState.of(parse(FILE).columns)
    assert (state.total.total, state.total.to_do) == (8, 8)
    assert refined_so_far(state, 0) == "0 of at most 30 further rates, a round is under way"


def test_rates_that_follow_are_not_skipped_after_divergences() -> None:
    state, _ = carried_out(parse(FILE))
    places = state.states[state.layout.slot(0)]
    assert places[7] == State.SKIPPED  # 12 η_c, after 6 and 9 diverged
    known = state.plans[0].n_rates
    assert (places[8 : 1 + known] == State.SETTLED).all()
    assert (places[1 + known :] == State.ABSENT).all()


def test_a_sweep_that_grows_keeps_the_rates_that_followed() -> None:
    state, _ = carried_out(parse(FILE))
    wider = parse(FILE, ["problem.seed=[0,1]"])
    grown = extended(state, wider.columns)
    assert grown.plans[0].refined == state.plans[0].refined
    assert grown.total.settled == state.total.settled
    fewer = extended(state, parse(FILE, ["eta.values=[0.5,1.0,3.0,6.0]"]).columns)
    assert fewer.total.settled > 0


def test_without_a_refinement_nothing_follows() -> None:
    state, rows = carried_out(parse(FILE, ["eta.refine=null"]))
    assert len(rows) == 7
    assert refinement(state, 0) is None
    assert refined_so_far(state, 0) is None


TWO_SEEDS = ["problem.seed=[0,1]", "eta.refine={kink: null, divergence: 0.05, valley: 0.1}"]
THREE_SEEDS = ["problem.seed=[0,1,2]", TWO_SEEDS[1]]
BESTS = {0: 1.5, 1: 2.1}
"""The rate with the least test loss of each seed, in units of η_c."""


def of_seeds(bests=BESTS, order=lambda ready: ready[0]):
    """The state of two seeds when nothing is left, with all that was settled."""
    state, rows = RunState.of(parse(FILE, TWO_SEEDS).columns), []
    seeds = {column.column_id: column.problem.seed for column in state.columns}
    while ready := [(c.column_id, trial) for c in state for trial in c.ready]:
        name, trial = order(ready)
        rows.append(settled(trial, name, best=bests[seeds[name]]))
        state = state.settled(rows[-1])
    return state, rows


def test_the_seeds_of_a_problem_bracket_their_common_valley_at_common_rates() -> None:
    state, _ = of_seeds()
    together = valley_over_seeds(state, 0)
    assert together is not None
    assert together.valley.met
    # The median of two is their mean: log² is least between the two, in log η.
    middle = math.sqrt(BESTS[0] * BESTS[1])
    assert together.valley.low <= middle * 1.05
    assert together.valley.high >= middle / 1.05
    assert math.log(together.valley.high / together.valley.low) <= 0.2
    one, other = (set(plan.refined) for plan in state.plans)
    assert one & other
    assert one - other  # each has its own, too
    for i, plan in enumerate(state.plans):
        assert len(plan.refined) <= 40
        own = refinement(state, i)
        assert own is not None
        assert own.valley.low < BESTS[i] < own.valley.high
        assert "; over 2 seeds from 1.6" in refined_so_far(state, i)


def test_what_seeds_ask_for_together_does_not_depend_on_the_order_of_events() -> None:
    state, rows = of_seeds()
    last, _ = of_seeds(order=lambda ready: ready[-1])
    at_once = RunState.of(state.columns).settled(newest(rows))
    half = RunState.of(state.columns).settled(newest(rows[::2])).settled(newest(rows[1::2]))
    for other in (last, at_once, half):
        assert [set(plan.refined) for plan in other.plans] == [
            set(plan.refined) for plan in state.plans
        ]
        assert other.complete.all()


def test_a_seed_that_joins_brings_rates_of_its_own_and_keeps_those_of_the_others() -> None:
    alone, rows = carried_out(parse(FILE, TWO_SEEDS[1:]))
    grown = extended(alone, parse(FILE, TWO_SEEDS).columns)
    assert grown.plans[0].refined == alone.plans[0].refined
    both, _ = of_seeds({0: BEST, 1: 2.1})
    assert both.plans[0].refined[: len(alone.plans[0].refined)] == alone.plans[0].refined
    three = parse(FILE, THREE_SEEDS)
    wider = extended(both, three.columns)
    fresh = RunState.of(three.columns).settled(newest(rows))
    assert wider.plans[0].refined == fresh.plans[0].refined


def test_a_flow_that_blocks_a_seed_leaves_the_others_to_themselves() -> None:
    state = RunState.of(parse(FILE, THREE_SEEDS).columns)
    state = state.settled(outcome(state.columns[2].flow(), "max_steps", sharpness=None))
    seeds = {column.column_id: column.problem.seed for column in state.columns}
    while ready := [(c.column_id, trial) for c in state for trial in c.ready]:
        name, trial = ready[0]
        state = state.settled(settled(trial, name, best=BESTS[seeds[name]]))
    together = valley_over_seeds(state, 0)
    assert together is not None
    assert (together.seeds, together.valley.met) == (2, True)


@pytest.mark.parametrize(
    ("laws", "left", "said"),
    [
        (
            [{"best": 0.3}, {"best": 0.2}],
            9,
            "over 2 seeds to 0.5 (the median test loss is least at",
        ),
        ([{"best": 9.0, "largest": 9.0}] * 2, 9, "(the median test loss is least at the largest"),
        ([{"largest": 0.1}, {}], 9, "over 2 seeds (some seed reached ε at no rate)"),
        ([{"best": 1.2}, {"best": 2.6}], 0, "(a seed has used all further rates)"),
    ],
)
def test_what_seeds_cannot_tell_together_says_why(laws, left, said) -> None:
    each = [found((0.5, 1.3, 2.0, 3.0, 5.0), **law) for law in laws]
    together = over_seeds(each, 0.02, left)
    assert together.following == ()
    assert said in together.said
