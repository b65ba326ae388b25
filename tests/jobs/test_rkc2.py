"""The Runge-Kutta-Chebyshev flow: its polynomials, its order, and the same answers as RK4."""

import itertools
import math

import numpy as np
import pytest
import torch
from numpy.polynomial import Chebyshev
from safetensors.torch import load_file

from jobs import TrialRun, checkpoint, run_trial
from jobs.flow import RungeKutta4, RungeKuttaChebyshev2
from jobs.flow.rkc2 import DAMPING, MOST_STAGES, RADIUS_MARGIN, TOLERANCE, _coefficients
from jobs.measures import sharpness

STAGES = range(2, MOST_STAGES + 1)


def _reach(stages):
    """β of the method: stable for −β ≤ z ≤ 0 (Sommeijer, Shampine and Verwer 1997)."""
    return (stages**2 - 1) / 1.54


def _staged(stages, z, one=1.0):
    """P_s(z): the stages applied to dy/dt = λy from y = 1, with z = hλ."""
    first, rest = _coefficients(stages)
    before, current = one, one + first * z
    for c in rest:
        after = (1 - c.mu - c.nu) * one + c.mu * current + c.nu * before
        before, current = current, after + c.mu_tilde * z * current + c.gamma_tilde * z
    return current


def _closed(stages, z):
    """P_s(z) = a + b T_s(w0 + w1 z), T_s by cos and cosh and its derivatives by numpy."""
    w0, polynomial = 1 + DAMPING / stages**2, Chebyshev.basis(stages)
    t, dt, d2t = polynomial(w0), polynomial.deriv()(w0), polynomial.deriv(2)(w0)
    b, x = d2t / dt**2, w0 + dt / d2t * z
    inside = np.cos(stages * np.arccos(np.clip(x, -1, 1)))
    return 1 - b * t + b * np.where(x > 1, np.cosh(stages * np.arccosh(np.maximum(x, 1))), inside)


def test_the_polynomials_are_those_of_chebyshev_and_bounded_by_one():
    for stages in STAGES:
        z = -np.linspace(0, _reach(stages), 100 * stages)
        staged = _staged(stages, z)
        # Rounding grows with s²; 1.5e-11 was measured at s = 100.
        assert np.abs(staged - _closed(stages, z)).max() <= 1e-14 * stages**2
        assert np.abs(staged).max() <= 1 + 1e-12


def test_a_little_beyond_the_reach_an_even_number_of_stages_is_not_stable():
    for stages in STAGES[::2]:
        assert _staged(stages, -1.03 * _reach(stages)) > 1


def test_the_polynomials_agree_with_the_exponential_to_second_order():
    class Series:
        """A polynomial in z up to z²."""

        def __init__(self, *terms):
            self.terms = np.array(terms)

        def __add__(self, other):
            return Series(*(self.terms + other.terms))

        def __mul__(self, factor):
            if not isinstance(factor, Series):
                return Series(*(self.terms * factor))
            return Series(*np.convolve(self.terms, factor.terms)[:3])

        __rmul__ = __mul__

    for stages in STAGES:
        found = _staged(stages, Series(0.0, 1.0, 0.0), one=Series(1.0, 0.0, 0.0))
        assert found.terms == pytest.approx([1, 1, 1 / 2], abs=1e-11)


def test_the_estimate_of_the_error_is_never_below_the_error_of_a_linear_mode():
    for stages in STAGES:
        z = -np.linspace(0, _reach(stages), 50 * stages)[1:]
        p = _staged(stages, z)
        estimate = np.abs(0.8 * (1 - p) + 0.4 * z * (1 + p))
        assert (np.abs(p - np.exp(z)) <= estimate + 1e-11).all()


def test_a_step_takes_the_fewest_stages_that_are_stable_and_a_gradient_for_each(linear_model):
    objective = linear_model.objective
    method, theta = RungeKuttaChebyshev2(objective, 50), _random_theta(650)
    method.evaluate(theta)
    method.see_sharpness(linear_model.sharpness)
    for product in (1e-3, 0.5, 1.0, 1.9, 2.0, 7.3, 100.0, 5_000.0):
        h = product / linear_model.sharpness
        stages = method._stages(h)
        assert _reach(stages) >= RADIUS_MARGIN * product * (1 - 1e-12)
        assert stages == 2 or _reach(stages - 1) < RADIUS_MARGIN * product
        before = objective.gradients
        method._chebyshev(theta, h, stages)
        assert objective.gradients == before + stages
    assert method._stages(1e9) == MOST_STAGES


def _random_theta(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=generator, dtype=torch.float64) / 4


def _fixed(objective, theta, time, steps, stages):
    """Steps of one length, each of as many stages."""
    for _ in range(steps):
        method = RungeKuttaChebyshev2(objective, 50)
        method.evaluate(theta)
        theta = method._chebyshev(theta, time / steps, stages).theta
    return theta


def _is_of_second_order(objective, theta, time, exact, stages):
    errors = [
        float((_fixed(objective, theta, time, steps, stages) - exact).norm())
        for steps in (40, 80, 160)
    ]
    for longer, shorter in itertools.pairwise(errors):
        assert longer / shorter == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("stages", [2, 3, 5, 10])
def test_on_the_linear_model_it_is_of_second_order(linear_model, stages):
    theta, time = _random_theta(650), 4 / linear_model.sharpness
    exact = linear_model.decayed(theta, torch.exp(-time * linear_model.eigenvalues))
    _is_of_second_order(linear_model.objective, theta, time, exact, stages)


@pytest.mark.parametrize("stages", [2, 3, 5, 10])
def test_on_a_tanh_network_it_is_of_second_order(random_objective, stages):
    objective, theta = random_objective(activation="tanh", depth=2)
    time = 4 / sharpness(objective, theta, rtol=1e-6).sharpness
    exact, method = theta.clone(), RungeKutta4(objective, 50)
    for _ in range(400):  # an error of (1/100)⁴ /120 or so
        method.restore(method.state())
        method.evaluate(exact)
        exact = method._runge_kutta_4(exact, time / 400).theta
    _is_of_second_order(objective, theta, time, exact, stages)


def test_on_the_linear_model_one_step_is_its_polynomial_mode_by_mode(linear_model):
    theta = _random_theta(650)
    for stages in (2, 3, 7, 30):
        h = 0.9 * _reach(stages) / linear_model.sharpness
        factors = torch.from_numpy(_closed(stages, (-h * linear_model.eigenvalues).numpy()))
        found = _fixed(linear_model.objective, theta, h, 1, stages)
        expected = linear_model.decayed(theta, factors)
        assert float((found - expected).norm()) <= 1e-10 * float(expected.norm())


def test_a_trial_of_the_linear_model_follows_the_exponential(linear_model, trial, tmp_path):
    spec = trial(None, depth=0, epsilons=(0.5, 0.1, 0.02, 1e-9), max_steps=90)
    run, path = TrialRun(spec, threads=1), tmp_path / "checkpoint"
    run.save(path)
    theta0 = load_file(path)["theta"]
    minimum = linear_model.decayed(theta0, torch.zeros(65, dtype=torch.float64))
    distance, largest = float((theta0 - minimum).norm()), float(theta0.norm())
    for step in (1, 2, 3, 5, 10, 20, 40, 60, 90):
        run.advance(lambda step=step: run.step >= step)
        run.save(path)
        saved = checkpoint.load(path, spec.trial_id)
        assert saved.step == step
        exact = linear_model.decayed(theta0, torch.exp(-saved.time * linear_model.eigenvalues))
        largest = max(largest, float(exact.norm()))
        # A step of RKC adds at most its estimate, which is TOLERANCE at most; none is enlarged
        # later. The steps of RK4 at the start add k z⁵/120 e^-kz ≤ (5/e)⁵ /120 k⁻⁴ of the distance.
        bound = step * TOLERANCE * largest + (5 / math.e) ** 5 / 120 / step**4 * distance
        assert float((saved.theta - exact).norm()) <= bound
    # It is far into the flow: only modes of small curvature are left.
    assert saved.time > 1000 / linear_model.sharpness
    run.advance()
    for row in run.result().crossings:
        assert row.max_sharpness == pytest.approx(linear_model.sharpness, rel=1e-3)
        assert row.sharpness == pytest.approx(linear_model.sharpness, rel=1e-3)


SMOOTH = {"max_sharpness": 5e-3, "sharpness": 4e-3, "time": 6e-3, "l1_norm": 4e-4}
# A kink that is passed a little earlier or later moves S by a jump; RK4 with h = 1/S itself differs
# from RK4 with a tenth of h by up to 2.7e-2 in S, 1.4e-2 in time and 2e-3 in the norm.
KINKED = {"max_sharpness": 3e-2, "sharpness": 3e-2, "time": 2e-2, "l1_norm": 3e-3}


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
@pytest.mark.parametrize(("loss", "epsilons"), [("mse", (0.4, 0.2)), ("ce", (1.5, 0.7, 0.3))])
def test_it_finds_what_rk4_finds(trial, activation, loss, epsilons):
    changes = {"activation": activation, "loss": loss, "depth": 2, "width": 16}
    rk4, rkc2 = (
        run_trial(trial(None, flow_method=name, epsilons=epsilons, **changes), threads=1).crossings
        for name in ("rk4", "rkc2")
    )
    for one, other in zip(rk4, rkc2, strict=True):
        assert one.status == other.status == "reached"
        for name, bound in (KINKED if activation == "relu" else SMOOTH).items():
            assert getattr(other, name) == pytest.approx(getattr(one, name), rel=bound), name


def test_where_the_flow_is_stiff_it_takes_a_quarter_of_the_evaluations(trial):
    changes = {"depth": 2, "width": 16, "epsilons": (0.01,), "trajectory_every": 50}
    rk4, rkc2 = (
        run_trial(trial(None, flow_method=name, **changes), threads=1).crossings[0]
        for name in ("rk4", "rkc2")
    )
    assert rk4.status == rkc2.status == "reached"
    # Measured: 2,387 and 398.
    assert 4 * (rkc2.gradients + rkc2.hvps) <= rk4.gradients + rk4.hvps
    assert rkc2.sharpness == pytest.approx(rk4.sharpness, rel=1e-3)


def test_a_step_with_too_large_an_error_is_taken_again_and_shorter(linear_model):
    method, theta = RungeKuttaChebyshev2(linear_model.objective, 50), _random_theta(650)
    method.evaluate(theta)
    method.see_sharpness(linear_model.sharpness)
    wished = 300 / linear_model.sharpness
    method.restore({**method.state(), "h": wished})
    loss = method.evaluate(theta)
    start = theta.clone()
    taken = method.step(theta, 0.0)
    assert taken < wished / 2
    assert method.evaluate(theta) < loss
    exact = linear_model.decayed(start, torch.exp(-taken * linear_model.eigenvalues))
    # One step of RKC within the tolerance, or the shortest one, of RK4 with h = 1/S: 1/120.
    assert float((theta - exact).norm()) <= float(start.norm()) / 120
