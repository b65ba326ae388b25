"""The Runge-Kutta-Chebyshev flow: its polynomials, its order, and the same answers as RK4."""

import itertools
import math

import numpy as np
import pytest
import torch
from numpy.polynomial import Chebyshev
from safetensors.torch import load_file

from jobs import OngoingTrial, checkpoint, run_trial
from jobs.curvature.sharpness import SharpnessMeter, sharpness_at
from jobs.dynamics import flows
from jobs.dynamics.flows import (
    ADVANCE,
    DAMPING,
    MOST_STAGES,
    RADIUS_MARGIN,
    REACH,
    RK4_LONGEST,
    TOLERANCE,
    RungeKuttaChebyshev2,
    coefficients,
)
from jobs.dynamics.integrator import answered, runge_kutta_4
from jobs.dynamics.iterate import Bounds, Iterate

STAGES = range(2, MOST_STAGES + 1)


def _reach(stages):
    """β of the method: stable for −β ≤ z ≤ 0 (Sommeijer, Shampine and Verwer 1997)."""
    return (stages**2 - 1) / 1.54


def _staged(stages, z, one=1.0):
    """P_s(z): the stages applied to dy/dt = λy from y = 1, with z = hλ."""
    first, rest = coefficients(stages)
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
    method, at = RungeKuttaChebyshev2(objective), Iterate(_random_theta(650)).evaluated(objective)
    method.see_sharpness(linear_model.sharpness)
    for product in (1e-3, 0.5, 1.0, 1.9, 2.0, 7.3, 100.0, 5_000.0):
        h = product / linear_model.sharpness
        stages = method._stages(h)
        assert _reach(stages) >= RADIUS_MARGIN * product * (1 - 1e-12)
        assert stages == 2 or _reach(stages - 1) < RADIUS_MARGIN * product
        before = objective.gradients
        answered([(objective, flows._chebyshev(at, h, stages))])
        assert objective.gradients == before + stages
    assert method._stages(1e9) == MOST_STAGES


def test_no_step_is_longer_than_the_most_stages_are_stable_for(linear_model):
    """However small its error is: of a longer one, the steepest mode would grow."""
    method = RungeKuttaChebyshev2(linear_model.objective)
    method.see_sharpness(linear_model.sharpness)
    method._chebyshev_h = 1e9
    h = method._wanted()
    product = RADIUS_MARGIN * h * linear_model.sharpness
    assert product == pytest.approx(REACH * (MOST_STAGES**2 - 1), rel=1e-12)
    assert _reach(MOST_STAGES) >= product * (1 - 1e-12)


def _random_theta(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=generator, dtype=torch.float64) / 4


def _fixed(objective, theta, time, steps, stages):
    """Steps of one length, each of as many stages."""
    for _ in range(steps):
        at = Iterate(theta).evaluated(objective)
        (end,) = answered([(objective, flows._chebyshev(at, time / steps, stages))])
        theta = end.theta
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
    time = 4 / sharpness_at(objective, theta, rtol=1e-6).sharpness
    exact = theta.clone()
    for _ in range(200):  # an error of (1/50)⁴ /120 or so
        at = Iterate(exact).evaluated(objective)
        ((end, _),) = answered([(objective, runge_kutta_4(at, time / 200))])
        exact = end.theta
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
    run, path = OngoingTrial(spec, threads=1), tmp_path / "checkpoint"
    run.save(path)
    theta0 = load_file(path)["theta"]
    minimum = linear_model.decayed(theta0, torch.zeros(65, dtype=torch.float64))
    distance, largest = float((theta0 - minimum).norm()), float(theta0.norm())
    for step in (1, 2, 3, 5, 10, 20, 40, 60, 90):
        run.advance(lambda step=step: run.step >= step)
        run.save(path)
        saved = checkpoint.load(path, spec.trial_id)
        assert saved.at.step == step
        exact = linear_model.decayed(theta0, torch.exp(-saved.at.time * linear_model.eigenvalues))
        largest = max(largest, float(exact.norm()))
        # A step of RKC adds at most its estimate, which is TOLERANCE at most; none is enlarged
        # later. The steps of RK4 at the start add k z⁵/120 e^-kz ≤ (5/e)⁵ /120 k⁻⁴ of the distance.
        bound = step * TOLERANCE * largest + (5 / math.e) ** 5 / 120 / step**4 * distance
        assert float((saved.at.theta - exact).norm()) <= bound
    # It is far into the flow: only modes of small curvature are left.
    assert saved.at.time > 1000 / linear_model.sharpness
    run.advance()
    for row in run.result().crossings:
        assert row.max_sharpness == pytest.approx(linear_model.sharpness, rel=1e-3)
        assert row.sharpness == pytest.approx(linear_model.sharpness, rel=1e-3)


def test_a_smaller_tolerance_comes_nearer_to_the_exact_flow(linear_model):
    farthest = []
    for tolerance in (1e-3, 1e-5):
        method = RungeKuttaChebyshev2(linear_model.objective, tolerance)
        theta0, errors = _random_theta(650), []
        at = Iterate(theta0).evaluated(linear_model.objective)
        while at.time < 100 / linear_model.sharpness:
            if method.wants_sharpness:
                method.see_sharpness(linear_model.sharpness)
            at = method.move(at, Bounds(0.0, math.inf, 1))
            exact = linear_model.decayed(theta0, torch.exp(-at.time * linear_model.eigenvalues))
            errors.append(float((at.theta - exact).norm()))
        farthest.append(max(errors))
    assert farthest[1] < farthest[0] / 2  # the steps of RK4 at the start are the same


def _finely(objective, theta, epsilons):
    """(time, S, max S) where RK4 with h = 0.25/S first reaches each ε, S measured after 1/S.

    Within a step, time and S are linear in log L.
    """
    meter, time, largest, found, before = SharpnessMeter(objective, 1e-4), 0.0, 0.0, [], None
    loss, k1 = objective.gradient(theta)
    for count in itertools.count():
        reached = len(found) < len(epsilons) and loss <= epsilons[len(found)]
        if count % 4 == 0 or reached:
            s = meter.measure(theta).sharpness
            largest = max(largest, s)
        while len(found) < len(epsilons) and loss <= epsilons[len(found)]:
            share = math.log(before[0] / epsilons[len(found)]) / math.log(before[0] / loss)
            found.append((before[1] + share * (time - before[1]), s, largest))
        if len(found) == len(epsilons):
            return found
        h, before = 0.25 / s, (loss, time)
        k2 = objective.gradient(theta - h / 2 * k1)[1]
        k3 = objective.gradient(theta - h / 2 * k2)[1]
        k4 = objective.gradient(theta - h * k3)[1]
        theta = theta - h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        time += h
        loss, k1 = objective.gradient(theta)
    raise AssertionError


SAMPLES = {"n_train": 200, "width": 16, "depth": 2}


@pytest.mark.parametrize(
    ("activation", "loss", "epsilons"),
    [
        ("tanh", "mse", (0.3, 0.15)),
        ("tanh", "ce", (1.2, 0.5)),
        ("gelu", "mse", (0.3,)),
        ("relu", "mse", (0.3, 0.15)),
        ("relu", "ce", (1.2, 0.5)),
    ],
)
def test_the_sharpness_of_the_flow_is_within_half_a_per_cent(trial, activation, loss, epsilons):
    changes = {"activation": activation, "loss": loss, "epsilons": epsilons, **SAMPLES}
    run = OngoingTrial(trial(None, **changes), threads=1)
    expected = _finely(run.objective, run.at.theta, epsilons)
    run.objective.count_from(gradients=0, hvps=0)
    run.advance()
    rk4 = run_trial(trial(None, flow_method="rk4", **changes), threads=1).crossings
    # A kink that is passed a little earlier or later moves S by a jump, and then all that follows:
    # RK4 with h = 0.8/S is up to 1 % off too.
    kinked = activation == "relu"
    for row, own, (time, s, largest) in zip(run.result().crossings, rk4, expected, strict=True):
        assert row.time == pytest.approx(time, rel=1e-2 if kinked else 5e-3)
        assert row.sharpness == pytest.approx(s, rel=2e-2 if kinked else 2e-3)
        assert row.max_sharpness == pytest.approx(largest, rel=1e-2 if kinked else 5e-3)
        # A measurement of S takes a gradient too.
        assert row.gradients <= own.gradients + ADVANCE + row.steps - own.steps
    assert row.gradients <= own.gradients


def test_a_maximum_of_s_before_the_threshold_is_found(trial):
    changes = {"loss": "ce", "epsilons": (0.02,), "n_train": 100, "width": 16, "depth": 2}
    run = OngoingTrial(trial(None, **changes), threads=1)
    ((_, s, largest),) = _finely(run.objective, run.at.theta, (0.02,))
    assert largest > 1.5 * s
    run.advance()
    (row,) = run.result().crossings
    assert row.max_sharpness == pytest.approx(largest, rel=5e-3)


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
    method, theta = RungeKuttaChebyshev2(linear_model.objective), _random_theta(650)
    wished = 300 / linear_model.sharpness
    method.restore({**method.state(), "h": wished})
    at = Iterate(theta).evaluated(linear_model.objective)
    method.see_sharpness(linear_model.sharpness)
    moved = method.move(at, Bounds(0.0, math.inf, 1))
    assert moved.time < wished / 2
    assert moved.loss < at.loss
    exact = linear_model.decayed(theta, torch.exp(-moved.time * linear_model.eigenvalues))
    # One step of RKC within the tolerance, or one of RK4: z⁵/120 at most.
    assert float((moved.theta - exact).norm()) <= float(theta.norm()) * RK4_LONGEST**5 / 120


class Jumping:
    """½ Σ λᵢ θᵢ² in the plane until ``gradient`` was called ``calls`` times, then 50 λᵢ."""

    def __init__(self, calls):
        self.calls, self.gradients = calls, 0

    def gradient(self, theta):
        self.gradients += 1
        curvature = torch.tensor([1.0, 0.01], dtype=torch.float64)
        if self.gradients > self.calls:
            curvature = 50 * curvature
        return float((curvature * theta**2).sum() / 2), curvature * theta

    def agree(self, values):
        return values


def test_s_that_grew_unseen_is_measured_again_after_few_gradients():
    objective = Jumping(200)
    method, at = RungeKuttaChebyshev2(objective), Iterate(torch.ones(2, dtype=torch.float64))
    measurements, spent = 0, []
    while objective.gradients <= 200:
        at = at.evaluated(objective)
        if method.wants_sharpness:
            method.see_sharpness(1.0 if objective.gradients <= 200 else 50.0)
        at = method.move(at, Bounds(0.0, math.inf, 1))
    for _ in range(20):
        before, loss = objective.gradients, at.loss
        if method.wants_sharpness:
            measurements += 1
            method.see_sharpness(50.0)
        at = method.move(at, Bounds(0.0, math.inf, 1))
        spent.append(objective.gradients - before)
        assert at.loss <= loss * (1 + 1e-4)
    assert measurements > 0
    assert max(spent) <= 100


@pytest.mark.parametrize("jump", [1e-4, 1e-3, 3e-3, 1e-2])
def test_where_no_step_is_good_enough_it_costs_no_more_than_rk4_by_a_few_per_cent(jump):
    class Kinked:
        """A slow flow whose gradient has a jump of its own at every point."""

        gradients = 0

        def gradient(self, theta):
            self.gradients += 1
            slope = 0.02 * theta + jump * torch.sin(1e7 * theta)
            return float(theta.square().sum() / 100), slope

        def agree(self, values):
            return values

    objective, theta = Kinked(), torch.linspace(1, 2, 50, dtype=torch.float64)
    method, at = RungeKuttaChebyshev2(objective), Iterate(theta).evaluated(objective)
    while at.time < 100:
        if method.wants_sharpness:
            method.see_sharpness(1.0)
        at = method.move(at, Bounds(0.0, math.inf, 1))
    # RK4 with h = 1/S: four gradients in a unit of time.
    assert objective.gradients <= 1.04 * 4 * at.time + ADVANCE + 1


@pytest.mark.parametrize("loss", ["mse", "ce"])
def test_a_run_that_was_restored_ends_with_the_same_bits(trial, tmp_path, loss):
    spec = trial(None, activation="relu", loss=loss, width=12, epsilons=(0.3, 0.2))
    whole = OngoingTrial(spec, threads=1)
    whole.advance()
    broken, path = OngoingTrial(spec, threads=1), tmp_path / "checkpoint"
    while not broken.finished:
        until = broken.step + 7
        broken.advance(lambda run=broken, until=until: run.step >= until)
        broken.save(path)
        state, broken = broken.stepper.state(), OngoingTrial(spec, threads=1)
        broken.restore(path)
        assert broken.stepper.state() == state
    assert torch.equal(broken.at.theta, whole.at.theta)
    assert broken.result() == whole.result()
