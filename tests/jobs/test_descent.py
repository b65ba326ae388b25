"""GD on the linear model, where it has a closed form, and beside the flow where it has none."""

import itertools

import pytest
import torch
from safetensors.torch import load_file

from jobs import TrialRun, run_trial
from jobs.descent import GradientDescent
from jobs.flow import RungeKutta4
from jobs.measures import sharpness


def _random_theta(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=generator, dtype=torch.float64) / 4


def _descend(objective, theta, learning_rate, steps):
    method = GradientDescent(objective, learning_rate)
    theta = theta.clone()
    for _ in range(steps):
        method.evaluate(theta)
        method.step(theta, 0.0)
    return theta


@pytest.mark.parametrize("steps", [1, 10, 300])
@pytest.mark.parametrize("edge", [0.1, 0.9, 1.01])
def test_gd_on_the_linear_model_is_a_power_of_one_minus_eta_lambda(linear_model, steps, edge):
    learning_rate = edge * 2 / linear_model.sharpness
    theta0 = _random_theta(650)
    expected = linear_model.decayed(theta0, (1 - learning_rate * linear_model.eigenvalues) ** steps)
    found = _descend(linear_model.objective, theta0, learning_rate, steps)
    assert float((found - expected).norm()) <= 1e-11 * float(expected.norm())


def test_a_gd_step_takes_one_gradient_and_eta_of_time(linear_model):
    method, theta = GradientDescent(linear_model.objective, 0.01), _random_theta(650)
    before = linear_model.objective.gradients
    assert not method.evaluated
    for _ in range(5):
        loss = method.evaluate(theta)
        assert method.evaluate(theta) == loss == pytest.approx(linear_model.loss(theta), rel=1e-12)
        assert method.evaluated
        assert method.step(theta, 0.0) == 0.01
        assert not method.evaluated
    assert linear_model.objective.gradients == before + 5


def test_a_gd_step_is_the_same_wherever_the_next_threshold_lies(linear_model):
    ends = []
    for share in (0.0, 0.9, 0.999999, 2.0):
        method, theta = GradientDescent(linear_model.objective, 0.01), _random_theta(650)
        loss = method.evaluate(theta)
        assert method.step(theta, share * loss) == 0.01
        ends.append(theta)
    assert all(torch.equal(end, ends[0]) for end in ends)


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
    run = TrialRun(spec, threads=1)
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
    """Moves θ along the flow by RK4 with h = 1/(10 S); the time that passed."""
    method, time = RungeKutta4(objective, 50), 0.0
    for _ in range(steps):
        method.evaluate(theta)
        if method.wants_sharpness:
            method.see_sharpness(10 * sharpness(objective, theta, rtol=1e-9).sharpness)
        time += method.step(theta, 0.0)
    return time


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_gd_approaches_the_flow_at_first_order_in_eta(random_objective, activation):
    objective, theta0 = random_objective(activation=activation, depth=2)
    theta = theta0.clone()
    time = _fine_flow(objective, theta, 100)
    errors = [
        float((_descend(objective, theta0, time / steps, steps) - theta).norm())
        for steps in (500, 1_000)
    ]
    assert errors[1] < 0.05 * float((theta - theta0).norm())
    # Halving η halves the distance; the flow's own error is of fourth order and far smaller.
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)
