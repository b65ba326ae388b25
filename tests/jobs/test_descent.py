"""GD and the gradient flow on the linear model, where both have closed forms."""

import itertools

import pytest
import torch
from safetensors.torch import load_file

from jobs import TrialRun, run_trial
from jobs.descent import GradientDescent
from jobs.flow import RungeKutta4
from jobs.flow.integrator import LARGEST_STEP
from jobs.measures import sharpness


def _random_theta(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=generator, dtype=torch.float64) / 4


def _descend(objective, theta, learning_rate, steps):
    method = GradientDescent(objective, learning_rate)
    theta = theta.clone()
    for _ in range(steps):
        method.evaluate(theta)
        method.step(theta)
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
        assert method.step(theta) == 0.01
        assert not method.evaluated
    assert linear_model.objective.gradients == before + 5


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


def _flow(objective, theta, steps, finer=1):
    """The flow's method as a trial drives it, at h = 1/(finer·S); yields the step lengths."""
    method = RungeKutta4(objective, 50)
    for _ in range(steps):
        method.evaluate(theta)
        if method.wants_sharpness:
            method.see_sharpness(finer * sharpness(objective, theta, rtol=1e-9).sharpness)
        yield method.step(theta)


@pytest.mark.parametrize("steps", [1, 7, 100])
def test_the_flow_is_the_fourth_order_polynomial_of_the_exponential(linear_model, steps):
    theta0 = _random_theta(650)
    theta = theta0.clone()
    lengths = list(_flow(linear_model.objective, theta, steps))
    h = 1 / linear_model.sharpness
    assert lengths == pytest.approx([h] * steps, rel=1e-9)
    z = -h * linear_model.eigenvalues
    polynomial = 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24
    expected = linear_model.decayed(theta0, polynomial**steps)
    assert float((theta - expected).norm()) <= 1e-8 * float(expected.norm())


def test_the_flow_of_the_linear_model_is_the_exponential_at_the_recorded_times(
    linear_model, trial, tmp_path
):
    spec = trial(None, depth=0, epsilons=(1e-9,), max_steps=300, trajectory_every=10)
    run = TrialRun(spec, threads=1)
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
def test_the_flow_never_raises_the_loss(trial, changes):
    spec = trial(None, epsilons=(0.05,), max_steps=100, trajectory_every=1, **changes)
    losses = [point.train_loss for point in run_trial(spec, threads=1).trajectory]
    assert len(losses) > 50
    assert all(after <= before for before, after in itertools.pairwise(losses))


def test_the_flow_steps_by_one_over_the_sharpness(trial):
    spec = trial(None, epsilons=(0.05,), max_steps=60, trajectory_every=1)
    points = run_trial(spec, threads=1).trajectory
    for before, after in itertools.pairwise(points):
        assert after.time - before.time == pytest.approx(1 / before.sharpness, rel=1e-9)


@pytest.mark.parametrize("too_small", [10, 1000])
def test_a_step_that_is_too_long_is_halved_until_the_loss_does_not_rise(linear_model, too_small):
    # Along the sharpest mode alone RK4 shrinks the distance where h S < 2.785, and nowhere else.
    theta0 = linear_model.decayed(_random_theta(650), torch.zeros(65, dtype=torch.float64))
    weight, bias = linear_model.layout.split(theta0)
    weight += linear_model.basis[:-1, -1]
    bias += linear_model.basis[-1, -1]
    method, theta = RungeKutta4(linear_model.objective, 50), theta0.clone()
    before = method.evaluate(theta)
    method.see_sharpness(linear_model.sharpness / too_small)
    h = method.step(theta)
    halvings = next(k for k in range(20) if too_small / 2**k < 2.785)
    assert h == pytest.approx(too_small / 2**halvings / linear_model.sharpness, rel=1e-12)
    assert method.evaluate(theta) < before
    assert method.wants_sharpness


def test_where_the_loss_is_flat_the_step_is_bounded(linear_model):
    minimum = linear_model.decayed(_random_theta(650), torch.zeros(65, dtype=torch.float64))
    method = RungeKutta4(linear_model.objective, 50)
    method.evaluate(minimum)
    method.see_sharpness(0.0)
    assert method.step(minimum) <= LARGEST_STEP


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_flow_whose_sharpness_is_not_a_number_comes_to_an_end(bad):
    class Exploded:
        """A loss that is finite at first and not a number wherever one goes."""

        calls = 0

        def gradient(self, theta):
            self.calls += 1
            assert self.calls < 2_000, "the step is halved for ever"
            return (1.0 if self.calls == 1 else float("nan")), torch.full_like(theta, float("nan"))

    theta = torch.ones(3)
    method = RungeKutta4(Exploded(), 50)
    method.evaluate(theta)
    method.see_sharpness(bad)
    method.step(theta)
    assert not method.evaluate(theta) <= 1.0


def test_the_time_between_measurements_adapts_to_how_fast_s_changes(linear_model):
    method, theta = RungeKutta4(linear_model.objective, 6), _random_theta(650)

    def steps_until_the_next_measurement(measured):
        method.see_sharpness(measured)
        for count in itertools.count(1):
            method.evaluate(theta)
            method.step(theta)
            if method.wants_sharpness:
                return count
        raise AssertionError

    s = linear_model.sharpness
    assert method.wants_sharpness
    counts = [steps_until_the_next_measurement(s) for _ in range(5)]
    assert counts == [1, 2, 4, 6, 6]
    assert steps_until_the_next_measurement(1.2 * s) == 3
    assert steps_until_the_next_measurement(1.2 * 1.07 * s) == 3
    assert steps_until_the_next_measurement(s) == 1


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_gd_approaches_the_flow_at_first_order_in_eta(random_objective, activation):
    objective, theta0 = random_objective(activation=activation, depth=2)
    theta = theta0.clone()
    time = sum(_flow(objective, theta, 100, finer=10))
    errors = [
        float((_descend(objective, theta0, time / steps, steps) - theta).norm())
        for steps in (500, 1_000)
    ]
    assert errors[1] < 0.05 * float((theta - theta0).norm())
    # Halving η halves the distance; the flow's own error is of fourth order and far smaller.
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)
