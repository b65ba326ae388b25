"""GD on the linear model, where it has a closed form, and beside the flow where it has none."""

import itertools
import math

import pytest
import torch
from safetensors.torch import load_file

from jobs import OngoingTrial, run_trial
from jobs.curvature.sharpness import sharpness_at
from jobs.dynamics.descent import GradientDescent
from jobs.dynamics.flows import RungeKutta4
from jobs.dynamics.iterate import Bounds, Iterate

NO_BOUNDS = Bounds(threshold=0.0, divergence=math.inf, steps=1)


def _random_theta(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=generator, dtype=torch.float64) / 4


def _descend(objective, theta, learning_rate, steps):
    method, at = GradientDescent(objective, learning_rate), Iterate(theta).evaluated(objective)
    for _ in range(steps):
        at = method.move(at, NO_BOUNDS)
    return at.theta


@pytest.mark.parametrize("steps", [1, 10, 300])
@pytest.mark.parametrize("edge", [0.1, 0.9, 1.01])
def test_gd_on_the_linear_model_is_a_power_of_one_minus_eta_lambda(linear_model, steps, edge):
    learning_rate = edge * 2 / linear_model.sharpness
    theta0 = _random_theta(650)
    expected = linear_model.decayed(theta0, (1 - learning_rate * linear_model.eigenvalues) ** steps)
    found = _descend(linear_model.objective, theta0, learning_rate, steps)
    assert float((found - expected).norm()) <= 1e-11 * float(expected.norm())


def test_a_gd_step_takes_one_gradient_and_eta_of_time(linear_model):
    objective, at = linear_model.objective, Iterate(_random_theta(650))
    method, before = GradientDescent(objective, 0.01), objective.gradients
    assert not at.is_evaluated
    for step in range(1, 6):
        at = at.evaluated(objective)
        assert at.evaluated(objective) is at
        assert at.loss == pytest.approx(linear_model.loss(at.theta), rel=1e-12)
        moved = method.move(at, NO_BOUNDS)
        assert moved.is_evaluated
        assert (moved.step, moved.time) == (step, 0.01 * step)
        assert torch.equal(moved.previous, at.theta)
        at = moved
    assert linear_model.objective.gradients == before + 6  # that of the last point is at hand


@pytest.mark.parametrize("block", [2, 7, 64])
@pytest.mark.parametrize("stop", [0.0, 0.5, 0.9])
def test_in_blocks_gd_ends_at_the_same_step_with_the_same_bits(linear_model, block, stop):
    theta0, counts = _random_theta(650), []
    ends = []
    for size in (1, block):
        objective = linear_model.objective
        method = GradientDescent(objective, 0.02, block=size)
        at = Iterate(theta0).evaluated(objective)
        threshold, before = stop * at.loss, objective.gradients
        while at.loss > threshold and at.step < 100:
            at = method.move(at, Bounds(threshold, math.inf, 100 - at.step))
            assert at.time == pytest.approx(0.02 * at.step, rel=1e-14)
        ends.append((at.theta, at.previous, at.step, at.loss))
        counts.append(objective.gradients - before)
    (one, one_before, one_steps, one_loss), (many, many_before, many_steps, many_loss) = ends
    assert (one_steps, one_loss, counts[0]) == (many_steps, many_loss, counts[1])
    assert torch.equal(one, many)
    assert torch.equal(one_before, many_before)
    assert stop == 0.0 or 0 < one_steps < 100


def test_a_block_ends_where_the_loss_is_no_longer_finite(linear_model):
    method = GradientDescent(linear_model.objective, 1e150, block=50)
    at = Iterate(_random_theta(650)).evaluated(linear_model.objective)
    bounds = Bounds(0.0, 1e3 * at.loss, 50)
    moved = method.move(at, bounds)
    assert moved.step == 1
    assert bounds.broken_by(moved.loss)
    assert bounds.broken_by(math.nan)


@pytest.mark.parametrize(("edge", "status"), [(0.98, "max_steps"), (1.02, "diverged")])
def test_on_the_linear_model_two_over_eta_is_the_edge_exactly(linear_model, trial, edge, status):
    # The mode of the sharpness grows by |1 − 2·edge|² a step above the edge, and shrinks below it.
    spec = trial(edge * 2 / linear_model.sharpness, depth=0, epsilons=(1e-9,), max_steps=400)
    result = run_trial(spec, threads=1)
    losses = [point.train_loss for point in result.trajectory]
    assert result.crossings[0].status == status
    if status == "max_steps":
        assert all(b < a for a, b in itertools.pairwise(losses))
    else:
        assert losses[-1] > 1000 * losses[0]


def test_a_gd_trial_follows_the_closed_form(linear_model, trial, tmp_path):
    spec = trial(0.5 / linear_model.sharpness, depth=0, epsilons=(1e-9,), max_steps=60)
    run = OngoingTrial(spec, threads=1)
    run.save(tmp_path / "0")
    run.advance()
    run.save(tmp_path / "60")
    theta0, theta = (load_file(tmp_path / name)["theta"] for name in ("0", "60"))
    factors = (1 - spec.learning_rate * linear_model.eigenvalues) ** 60
    expected = linear_model.decayed(theta0, factors)
    assert float((theta - expected).norm()) <= 1e-12 * float(expected.norm())
    row = run.result().crossings[0]
    assert row.train_loss == pytest.approx(linear_model.loss(expected), rel=1e-11)
    assert row.l1_norm == pytest.approx(float(expected.abs().sum()), rel=1e-12)
    assert row.l2_norm == pytest.approx(float(expected.square().sum().sqrt()), rel=1e-12)
    moved = float((expected - theta0).square().sum().sqrt())
    assert row.distance_from_init == pytest.approx(moved, rel=1e-10)
    assert row.time == pytest.approx(60 * spec.learning_rate, rel=1e-13)
    assert row.sharpness == pytest.approx(linear_model.sharpness, rel=1e-3)


def _fine_flow(objective, theta, steps):
    """θ after so many steps of RK4 with h = 1/(10 S), and the time that passed."""
    method, at = RungeKutta4(objective), Iterate(theta).evaluated(objective)
    for _ in range(steps):
        if method.wants_sharpness:
            method.see_sharpness(10 * sharpness_at(objective, at.theta, rtol=1e-9).sharpness)
        at = method.move(at, Bounds(0.0, math.inf, 1))
    return at.theta, at.time


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_gd_approaches_the_flow_at_first_order_in_eta(random_objective, activation):
    objective, theta0 = random_objective(activation=activation, depth=2)
    theta, time = _fine_flow(objective, theta0, 50)
    errors = [
        float((_descend(objective, theta0, time / steps, steps) - theta).norm())
        for steps in (250, 500)
    ]
    assert errors[1] < 0.05 * float((theta - theta0).norm())
    # Halving η halves the distance; the flow's own error is of fourth order and far smaller.
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)
