"""Trials that begin at a state of another one: which state, what they find, and their names."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from jobs import OngoingTrial, run_trial
from jobs.kept_states import KeptState
from jobs.ongoing import advance
from jobs.spec import SpecError, Start, StateName, Trial
from jobs.starts import NoStartError, started, state_of

BY_EPSILON, BY_STEP, BY_CHI = StateName(epsilon=0.3), StateName(step=25), StateName(chi=0.5)
EACH = pytest.mark.parametrize("state", [BY_EPSILON, BY_STEP, BY_CHI], ids=str)


@pytest.fixture
def parent(trial):
    return trial(0.15, init_scale=0.3, epsilons=(0.3, 0.2), trajectory_every=5)


def child_of(parent, state, learning_rate=0.05, **changes):
    protocol = dataclasses.replace(parent.protocol, epsilons=(0.15,), **changes)
    return Trial(
        problem=parent.problem,
        protocol=protocol,
        kind="gd",
        learning_rate=learning_rate,
        start=Start(parent=parent, state=state),
    )


def iterates(parent, steps):
    """θ of the parent by hand, step by step."""
    run = OngoingTrial(parent, threads=1)
    thetas = [run.at.theta.clone()]
    for _ in range(steps):
        gradient = run.objective.gradient(thetas[-1])[1]
        thetas.append(thetas[-1] - parent.learning_rate * gradient)
    return thetas


@EACH
def test_the_state_is_the_iterate_that_is_named(parent, state):
    result, found = (
        run_trial(parent, threads=1),
        state_of(Start(parent=parent, state=state), threads=1),
    )
    points = {point.step: point for point in result.trajectory}
    expected = {
        BY_EPSILON: result.crossings[0].steps,
        BY_STEP: 25,
        BY_CHI: next(s for s, p in points.items() if p.sharpness * parent.learning_rate / 2 >= 0.5),
    }[state]
    assert found.step == expected > 0
    assert found.time == parent.learning_rate * expected
    assert torch.equal(found.theta, iterates(parent, expected)[-1])


@EACH
@pytest.mark.parametrize("count", [2, 7, 100])
def test_a_mean_is_that_of_the_last_iterates(parent, state, count):
    mean = dataclasses.replace(state, average=count)
    found = state_of(Start(parent=parent, state=mean), threads=1)
    last = iterates(parent, found.step)[-count:]
    assert len(last) == min(count, found.step + 1)
    assert torch.equal(found.theta, torch.stack(last).mean(0))


def test_a_trial_that_goes_on_with_the_same_rate_follows_its_parent(parent):
    whole = run_trial(
        dataclasses.replace(parent, protocol=child_of(parent, BY_STEP).protocol), threads=1
    )
    going_on = run_trial(child_of(parent, BY_STEP, learning_rate=0.15), threads=1)
    (row,), (expected,) = going_on.crossings, whole.crossings
    assert going_on.start_step == 25
    assert row.steps == expected.steps - 25
    for name in ("train_loss", "test_loss", "sharpness", "l1_norm", "distance_from_init"):
        assert getattr(row, name) == getattr(expected, name), name
    assert going_on.init_hash == whole.init_hash


def test_the_loss_diverges_relative_to_that_at_theta0(parent):
    late = StateName(epsilon=0.2)
    spec = child_of(parent, late, learning_rate=20.0, divergence_factor=1.5)
    first = run_trial(parent, threads=1).trajectory[0].train_loss
    losses = [point.train_loss for point in run_trial(spec, threads=1).trajectory]
    assert losses[0] <= 0.2
    assert losses[-1] > 1.5 * first
    assert all(loss <= 1.5 * first for loss in losses[:-1])


def test_moments_begin_at_zero(parent):
    adam = dataclasses.replace(
        child_of(parent, BY_STEP, learning_rate=1e-3),
        optimizer=dataclasses.replace(parent.optimizer, name="adam"),
    )
    run = started(adam, threads=1)
    start = run.at.theta.clone()
    run.advance(lambda: run.step >= 1)
    moved = (run.at.theta - start).abs()
    assert float(moved.max()) == pytest.approx(1e-3, rel=1e-6)  # η · sign(g) in its first step


@EACH
def test_states_are_handed_on_in_a_batch_and_over_interruptions(parent, tmp_path, state):
    mean = dataclasses.replace(state, average=3)
    others = [parent, dataclasses.replace(parent, learning_rate=0.17)]
    found: list[dict] = [{}, {}]

    def runs():
        return [
            OngoingTrial(
                spec,
                threads=1,
                starts=(state, mean),
                keeper=lambda s, its=its: its.update({s.name: s}),
            )
            for spec, its in zip(others, found, strict=True)
        ]

    ongoing = runs()
    for stop in (3, 16, 26, 31):
        advance(ongoing, lambda ongoing=ongoing, stop=stop: ongoing[0].step >= stop)
        for number, run in enumerate(ongoing):
            run.save(tmp_path / str(number))
        ongoing = runs()
        for number, run in enumerate(ongoing):
            run.restore(tmp_path / str(number))
    advance(ongoing)
    for spec, its, run in zip(others, found, ongoing, strict=True):
        assert run.result() == run_trial(spec, threads=1)
        for name in (state, mean):
            expected = state_of(Start(parent=spec, state=name), threads=1)
            assert (its[name].step, its[name].time) == (expected.step, expected.time)
            assert torch.equal(its[name].theta, expected.theta)


def test_trials_with_different_starts_are_one_batch(parent):
    specs = [child_of(parent, state) for state in (BY_EPSILON, BY_STEP, BY_CHI)]
    assert len({spec.batch_key for spec in specs}) == 1
    together = [started(spec, threads=1) for spec in specs]
    advance(together)
    assert [one.result() for one in together] == [run_trial(spec, threads=1) for spec in specs]
    assert len({one.result().crossings[0].sharpness for one in together}) == 3


def test_a_chain_starts_where_its_parent_ends_that_has_a_start(parent):
    middle = child_of(parent, BY_EPSILON)
    last = child_of(middle, StateName(epsilon=0.15), learning_rate=0.1)
    last = dataclasses.replace(last, protocol=dataclasses.replace(last.protocol, epsilons=(0.1,)))
    found, before = run_trial(last, threads=1), run_trial(middle, threads=1)
    assert found.start_step == before.crossings[0].steps
    assert found.trajectory[0].train_loss == before.crossings[0].train_loss


def test_a_name_includes_the_parents_and_the_state(parent):
    other = dataclasses.replace(parent, learning_rate=0.25)
    children = [
        child_of(parent, BY_EPSILON),
        child_of(other, BY_EPSILON),
        child_of(parent, BY_STEP),
        child_of(parent, dataclasses.replace(BY_STEP, average=2)),
    ]
    plain = dataclasses.replace(children[0], start=None)
    assert len({one.trial_id for one in (plain, *children)}) == 5
    assert {one.flow_id for one in (plain, *children)} == {plain.flow_id}
    with pytest.raises(ValueError, match="has a start; its sweep names its column"):
        _ = children[0].column_id


def test_a_parent_that_never_comes_there_is_named_with_the_reason(parent):
    diverging = dataclasses.replace(parent, learning_rate=5.0)
    with pytest.raises(NoStartError, match=rf"trial {diverging.trial_id} diverged after \d+ steps"):
        run_trial(child_of(diverging, BY_EPSILON), threads=1)
    with pytest.raises(NoStartError, match=r"reached its last threshold after .* never at χ = 30"):
        run_trial(child_of(parent, StateName(chi=30)), threads=1)
    middle = child_of(diverging, BY_EPSILON)
    with pytest.raises(NoStartError, match="diverged"):
        run_trial(child_of(middle, StateName(epsilon=0.15)), threads=1)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: StateName(), "start is 'no field'; it must be one of epsilon, step and chi"),
        (lambda p: StateName(step=1, chi=1.0), "start is 'step, chi'; it must be one of"),
        (lambda p: StateName(step=-1), "step is -1; it must be a whole number of at least 0"),
        (lambda p: StateName(chi=0.0), "chi is 0.0; it must be a finite number above 0"),
        (lambda p: StateName(step=1, average=0), "average is 0; it must be a whole number"),
        (
            lambda p: child_of(p, StateName(epsilon=0.25)),
            "one of the parent's loss thresholds, 0.3",
        ),
        (lambda p: child_of(p, StateName(step=3_000)), "step is 3000; it must be at most 2000"),
        (
            lambda p: child_of(dataclasses.replace(p, kind="flow", learning_rate=None), BY_EPSILON),
            "a state of GD, not of a flow",
        ),
        (
            lambda p: dataclasses.replace(
                child_of(p, BY_EPSILON), problem=dataclasses.replace(p.problem, seed=3)
            ),
            "a trial on the same problem",
        ),
        (
            lambda p: child_of(p, BY_EPSILON, also=("distance_from_flow",)),
            "left out for trials that do not begin at θ0",
        ),
    ],
)
def test_what_no_start_can_be_is_refused(parent, make, said):
    with pytest.raises(SpecError, match=said):
        make(parent)


def test_a_run_needs_the_state_of_its_start_and_takes_no_other(parent):
    state = KeptState(torch.zeros(3), 1, 0.1)
    with pytest.raises(ValueError, match=r"that of its parent, jobs\.starts\.state_of"):
        OngoingTrial(child_of(parent, BY_STEP), threads=1)
    with pytest.raises(ValueError, match="the state at which it begins: none"):
        OngoingTrial(parent, threads=1, start=state)
