"""What every method of the flow must do, and what RK4 does on the linear model exactly."""

import itertools
import math

import pytest
import torch
from safetensors.torch import load_file

from jobs import OngoingTrial, run_trial
from jobs.curvature.sharpness import sharpness_at
from jobs.dynamics.flows import METHODS, RungeKutta4
from jobs.dynamics.integrator import (
    CROSSING_RTOL,
    LARGEST_STEP,
    _within,
    answered,
    runge_kutta_4,
)
from jobs.dynamics.iterate import Bounds, Iterate
from jobs.spec import FLOW_METHODS

NAMES = pytest.mark.parametrize("name", ["rk4", "rkc2"])
NETWORKS = pytest.mark.parametrize(
    "network",
    [
        {"activation": "tanh"},
        {"activation": "relu", "loss": "ce"},
        {"activation": "gelu", "seed": 1},
    ],
    ids=["tanh-mse", "relu-ce", "gelu-mse"],
)


def _random_theta(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=generator, dtype=torch.float64) / 4


def _minimum(linear_model):
    return linear_model.decayed(_random_theta(650), torch.zeros(65, dtype=torch.float64))


def test_the_methods_are_those_that_a_protocol_may_name():
    assert set(METHODS) == set(FLOW_METHODS) == {"rk4", "rkc2"}


def _step(method, at, threshold=0.0):
    """The iterate after one step, and the step's length."""
    moved = method.move(at, Bounds(threshold, math.inf, 1))
    assert moved.step == at.step + 1
    return moved, moved.time - at.time


@pytest.mark.parametrize("steps", [1, 7, 100])
def test_rk4_is_the_fourth_order_polynomial_of_the_exponential(linear_model, steps):
    theta0, objective = _random_theta(650), linear_model.objective
    method, h = RungeKutta4(objective), 1 / linear_model.sharpness
    at = Iterate(theta0).evaluated(objective)
    for _ in range(steps):
        if method.wants_sharpness:
            method.see_sharpness(sharpness_at(objective, at.theta, rtol=1e-9).sharpness)
        at, length = _step(method, at)
        assert length == pytest.approx(h, rel=1e-9)
    z = -h * linear_model.eigenvalues
    polynomial = 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24
    expected = linear_model.decayed(theta0, polynomial**steps)
    assert float((at.theta - expected).norm()) <= 1e-8 * float(expected.norm())


def test_rk4_follows_the_exponential_at_the_recorded_times(linear_model, trial, tmp_path):
    changes = {"depth": 0, "epsilons": (1e-9,), "max_steps": 300, "trajectory_every": 10}
    run = OngoingTrial(trial(None, flow_method="rk4", **changes), threads=1)
    run.save(tmp_path / "0")
    run.advance()
    theta0 = load_file(tmp_path / "0")["theta"]
    result = run.result()
    for point in result.trajectory:
        exact = linear_model.decayed(theta0, torch.exp(-point.time * linear_model.eigenvalues))
        # The error of a mode is that of the polynomial, at most z⁵/120 of e^-z for z ≤ 1, a step:
        # k z⁵/120 e^-kz ≤ (5/e)⁵ /120 k⁻⁴, that is 2e-5 of the initial distance at k = 10.
        assert point.train_loss == pytest.approx(linear_model.loss(exact), rel=1e-4)
        assert point.l2_norm == pytest.approx(float(exact.norm()), rel=1e-4)
    # S is the same everywhere, so that every step is 1/S to the tolerance of its measurement.
    row = result.crossings[0]
    assert row.max_sharpness == pytest.approx(linear_model.sharpness, rel=1e-3)
    assert row.sharpness == pytest.approx(linear_model.sharpness, rel=1e-3)
    for before, after in itertools.pairwise(result.trajectory):
        assert after.time - before.time == pytest.approx(10 / linear_model.sharpness, rel=1e-3)


def test_rk4_steps_by_one_over_the_sharpness_until_a_threshold_is_near(trial):
    changes = {"epsilons": (0.05,), "max_steps": 60, "trajectory_every": 1}
    points = run_trial(trial(None, flow_method="rk4", **changes), threads=1).trajectory
    for before, after in itertools.pairwise(points):
        if after is points[-1]:
            assert after.time - before.time <= 1.001 / before.sharpness
        else:
            assert after.time - before.time == pytest.approx(1 / before.sharpness, rel=1e-9)


@pytest.mark.parametrize("too_small", [10, 1000])
def test_a_step_of_rk4_that_is_too_long_is_halved_until_the_loss_does_not_rise(
    linear_model, too_small
):
    # Along the sharpest mode alone RK4 shrinks the distance where h S < 2.785, and nowhere else.
    at = _along_the_sharpest_mode(linear_model)
    method = RungeKutta4(linear_model.objective)
    method.see_sharpness(linear_model.sharpness / too_small)
    moved, h = _step(method, at)
    halvings = next(k for k in range(20) if too_small / 2**k < 2.785)
    assert h == pytest.approx(too_small / 2**halvings / linear_model.sharpness, rel=1e-12)
    assert moved.loss < at.loss
    assert method.wants_sharpness


def _along_the_sharpest_mode(linear_model):
    theta = _minimum(linear_model)
    weight, bias = linear_model.layout.split(theta)
    weight += linear_model.basis[:-1, -1]
    bias += linear_model.basis[-1, -1]
    return Iterate(theta).evaluated(linear_model.objective)


@NAMES
@pytest.mark.parametrize("too_small", [10, 1000])
def test_a_step_that_raised_the_loss_is_shortened_and_s_measured_again(
    linear_model, name, too_small
):
    at = _along_the_sharpest_mode(linear_model)
    method = METHODS[name](linear_model.objective)
    # Of two steps the first gives rkc2 its own length; both begin with a sharpness too small.
    for _ in range(2):
        before = at.loss
        method.see_sharpness(linear_model.sharpness / too_small)
        at, length = _step(method, at)
        assert length < too_small / linear_model.sharpness
        assert method.wants_sharpness
        assert at.loss < before


class _Alone:
    """Where there is one rank, its numbers are everybody's."""

    def agree(self, values):
        return values


@NAMES
def test_where_the_loss_is_flat_the_step_is_bounded(name):
    class Plain(_Alone):
        """The same loss everywhere."""

        def gradient(self, theta):
            return 0.5, torch.zeros_like(theta)

    method, at, lengths = METHODS[name](Plain()), Iterate(_random_theta(9)).evaluated(Plain()), []
    for _ in range(12):
        method.see_sharpness(0.0)
        at, length = _step(method, at, 0.1)
        lengths.append(length)
    # RKC takes h ≤ 0.65 s² / ρ with ρ ≥ 1/LARGEST_STEP and at most 100 stages.
    assert max(lengths) <= LARGEST_STEP * {"rk4": 1, "rkc2": 6_500}[name]
    # A hundred stages add up to θ again, but for rounding: 12 s² ε.
    assert torch.allclose(at.theta, _random_theta(9), rtol=1e-10, atol=0)


@NAMES
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_sharpness_that_is_not_finite_is_an_error_by_name(linear_model, name, bad):
    method = METHODS[name](linear_model.objective)
    at = Iterate(_random_theta(650)).evaluated(linear_model.objective)
    method.see_sharpness(bad)
    with pytest.raises(ValueError, match=f"sharpness is {bad}"):
        _step(method, at)


@NAMES
def test_a_step_before_any_measurement_is_an_error_by_name(linear_model, name):
    method = METHODS[name](linear_model.objective)
    at = Iterate(_random_theta(650)).evaluated(linear_model.objective)
    with pytest.raises(ValueError, match="sharpness is not measured"):
        _step(method, at)


@NAMES
def test_a_loss_that_is_not_a_number_anywhere_brings_the_step_to_an_end(name):
    class Exploded(_Alone):
        """A loss that is finite at first and not a number wherever one goes."""

        calls = 0

        def gradient(self, theta):
            self.calls += 1
            assert self.calls < 2_000, "the step is shortened for ever"
            return (1.0 if self.calls == 1 else math.nan), torch.full_like(theta, math.nan)

    objective = Exploded()
    method, at = METHODS[name](objective), Iterate(torch.ones(3)).evaluated(objective)
    method.see_sharpness(1.0)
    moved, _ = _step(method, at)
    assert math.isnan(moved.loss)


@NAMES
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_flow_from_an_absurd_point_ends_without_an_exception(trial, name, dtype):
    # Losses of 1e19 and more; in float32 they are infinite, and the trial has diverged at once.
    changes = {"activation": "relu", "init_scale": 1e10, "dtype": dtype, "max_steps": 12}
    result = run_trial(trial(None, flow_method=name, **changes), threads=1)
    (row,) = result.crossings
    assert row.status == ("diverged" if dtype == "float32" else "max_steps")
    if dtype == "float64":
        assert row.train_loss < result.trajectory[0].train_loss
        assert row.gradients < 12 * 101


@NAMES
@pytest.mark.parametrize(
    "changes",
    [
        {"activation": "tanh"},
        {"activation": "relu", "depth": 2},
        {"activation": "gelu", "loss": "ce"},
        {"activation": "relu", "loss": "ce", "depth": 2, "init_scale": 6, "width": 16},
        {"activation": "relu", "depth": 2, "init_scale": 6, "dtype": "float32"},
    ],
)
def test_the_flow_never_raises_the_loss(trial, name, changes):
    spec = trial(
        None, epsilons=(1e-3,), max_steps=55, trajectory_every=1, flow_method=name, **changes
    )
    losses = [point.train_loss for point in run_trial(spec, threads=1).trajectory]
    assert len(losses) > 50
    assert all(after <= before for before, after in itertools.pairwise(losses))


def _just_reached(loss, threshold):
    # Rounding of the bound itself: 1e-9.
    return threshold * (1 - CROSSING_RTOL) * (1 - 1e-9) <= loss <= threshold


@NAMES
@NETWORKS
def test_a_step_ends_where_the_loss_has_just_reached_the_threshold(trial, name, network):
    spec = trial(None, epsilons=(1e-9,), trajectory_every=1, flow_method=name, **network)
    run, met = OngoingTrial(spec, threads=1), 0
    for step in (0, 1, 3, 8, 14, 20):
        run.advance(lambda step=step: run.step >= step)
        state, objective = run.stepper.state(), run.objective
        start = run.at.evaluated(objective)
        measured = sharpness_at(objective, start.theta, rtol=1e-3).sharpness

        def taken(threshold, state=state, start=start, objective=objective, measured=measured):
            method = METHODS[name](objective)
            method.restore(state)
            method.see_sharpness(measured)
            moved, length = _step(method, start, threshold)
            return start.loss, moved.loss, length

        before, after, whole = taken(0.0)
        assert after < before
        within = [before - share * (before - after) for share in (1e-6, 0.02, 0.5, 0.9)]
        near_the_end = [after * (1 + 5e-4), after / (1 - 1.01e-3), after * (1 + 1.2e-3)]
        for threshold in within + near_the_end:
            if threshold < before:
                _, loss, length = taken(threshold)
                assert _just_reached(loss, threshold)
                assert 0 < length <= whole
                met += 1
    assert met > 30


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.8, 0.97])
def test_within_a_step_theta_is_as_accurate_as_at_its_end(linear_model, share):
    theta, h = _random_theta(650), 1 / linear_model.sharpness
    at = Iterate(theta).evaluated(linear_model.objective)
    ((end, _),) = answered([(linear_model.objective, runge_kutta_4(at, h))])
    point = _within(at, end, share)
    exact = linear_model.decayed(theta, torch.exp(-share * h * linear_model.eigenvalues))
    # RK4 leaves z⁵/120 of a mode, and so do its ends to the cubic between them, which adds z⁴/384.
    distance = float((theta - _minimum(linear_model)).norm())
    assert float((point - exact).norm()) <= (1 / 120 + 1 / 384) * distance


@NAMES
def test_a_crossing_takes_a_few_gradients(trial, name):
    run = OngoingTrial(trial(None, flow_method=name, epsilons=(1e-9,), depth=2), threads=1)
    run.advance(lambda: run.step >= 3)
    objective = run.objective
    start = run.at.evaluated(objective)

    def gradients_until(threshold):
        method = METHODS[name](objective)
        method.restore(run.stepper.state())
        method.see_sharpness(sharpness_at(objective, start.theta, rtol=1e-3).sharpness)
        gradients = objective.gradients
        moved, _ = _step(method, start, threshold)
        return objective.gradients - gradients, start.loss, moved.loss

    whole, before, after = gradients_until(0.0)
    for share in (0.05, 0.5, 0.95):
        assert 1 <= gradients_until(before + share * (after - before))[0] - whole <= 8


@NAMES
def test_several_thresholds_within_one_step_are_each_met(trial, name):
    start = run_trial(trial(None, max_steps=1), threads=1).trajectory[0].train_loss
    epsilons = tuple(start * (1 - share) for share in (0.005, 0.01, 0.015, 0.02))
    coarse = run_trial(trial(None, flow_method=name, epsilons=epsilons[-1:]), threads=1)
    assert coarse.crossings[0].steps == 1
    apart = run_trial(trial(None, flow_method=name, epsilons=epsilons), threads=1).crossings
    assert [(row.epsilon, row.steps) for row in apart] == list(
        zip(epsilons, (1, 2, 3, 4), strict=True)
    )
    assert all(_just_reached(row.train_loss, row.epsilon) for row in apart)
    # Each crossing may be late by this fraction of the loss, of which 2 % fell.
    late = CROSSING_RTOL / 0.02
    assert apart[-1].time == pytest.approx(coarse.crossings[0].time, rel=late)


@NAMES
def test_thresholds_closer_than_the_tolerance_share_a_step(trial, name):
    rows = run_trial(trial(None, flow_method=name, epsilons=(0.3, 0.3 - 1e-9)), threads=1).crossings
    assert rows[0].steps == rows[1].steps
    assert rows[0].sharpness == rows[1].sharpness


@NAMES
@pytest.mark.parametrize("below", [1e-12, 1e-6, 1e-3, 1e-2])
def test_a_threshold_may_be_reached_within_the_first_step(trial, name, below):
    start = run_trial(trial(None, max_steps=1), threads=1).trajectory[0]
    epsilon = start.train_loss * (1 - below)
    (row,) = run_trial(trial(None, flow_method=name, epsilons=(epsilon,)), threads=1).crossings
    assert (row.status, row.steps) == ("reached", 1)
    assert _just_reached(row.train_loss, epsilon)
    assert 0 < row.time < 1 / start.sharpness
