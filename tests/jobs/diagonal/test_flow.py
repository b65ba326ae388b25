"""The flow of one point against numerical integration, and the largest sharpness on its way."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from jobs.diagonal import Flow, OnePoint
from jobs.golden import GOLDEN_S_GF

CASES = [
    ([2.0, 1.0], 1.5, [0.01, 0.01]),
    ([0.7, -1.2, 0.3, 2.0], 0.8, [0.2, 0.5, -0.1, 0.05]),  # a coordinate dies
    ([2.0, 1.0], 1.5, [1.4, -0.9]),  # from above: f falls
    ([-2.0, -1.0], -1.5, [0.1, 0.3]),
    ([-2.0, -1.0], -1.5, [1.0, 1.3]),  # f rises while every weight shrinks
]


def integrated(flow, time):
    return solve_ivp(
        lambda _, w: -flow.loss.gradient(w),
        (0, time),
        flow.start,
        method="DOP853",
        rtol=1e-12,
        atol=1e-14,
    ).y[:, -1]


class Crossing:
    """Where an integrated trajectory comes to the loss ε, and ends."""

    terminal = True

    def __init__(self, loss, epsilon):
        self.loss, self.epsilon = loss, epsilon

    def __call__(self, _, w):
        return float(self.loss(w)) - self.epsilon


@pytest.mark.parametrize(("x", "y", "start"), CASES)
@pytest.mark.parametrize("share", [0.3, 0.9, 0.9999])
def test_the_closed_form_is_where_numerical_integration_comes_to(x, y, start, share):
    flow = Flow(x, y, start)
    s = share * flow.end()
    assert flow.weights(s) == pytest.approx(integrated(flow, flow.time(s)), rel=1e-9)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(
    ("x", "y", "start"),
    [
        ([0.3, -0.004], -3.0, [0.0003, 0.007]),
        ([-0.3, 0.004], 3.0, [0.0003, 0.007]),
    ],
)
def test_the_time_is_right_although_a_weight_dies_below_the_least_number(x, y, start):
    """β₁(s_∞) = 9e-8 exp(−1241) is 0 in double precision, and exp(1241) is no number."""
    flow = Flow(x, y, start)
    assert flow.weights(flow.end())[0] ** 2 == 0
    for epsilon in (1.0, 1e-2, 1e-6):
        crossed = solve_ivp(
            lambda _, w: -flow.loss.gradient(w),
            (0, 1e4),
            flow.start,
            method="DOP853",
            events=Crossing(flow.loss, epsilon),
            rtol=1e-11,
            atol=1e-13,
        ).t_events[0]
        assert flow.time(flow.end(epsilon)) == pytest.approx(crossed[0], rel=1e-7)


@pytest.mark.parametrize(("x", "y", "start"), CASES)
def test_the_flow_ends_on_the_manifold_and_at_each_loss_before(x, y, start):
    flow = Flow(x, y, start)
    assert float(flow.output(flow.end())) == pytest.approx(y, rel=1e-13)
    shares = []
    for epsilon in (1e-2, 1e-6, 1e-10):
        s = flow.end(epsilon)
        shares.append(s / flow.end())
        assert float(flow.loss(flow.weights(s))) == pytest.approx(epsilon, rel=1e-8)
    assert shares == sorted(shares)
    assert flow.end(float(flow.loss(start)) * 1.01) == 0


@pytest.mark.parametrize(("x", "y", "start"), CASES)
def test_the_largest_sharpness_is_that_of_an_integrated_trajectory(x, y, start):
    flow = Flow(x, y, start)
    time = flow.time(flow.end(1e-8))
    path = solve_ivp(
        lambda _, w: -flow.loss.gradient(w),
        (0, time),
        flow.start,
        method="DOP853",
        rtol=1e-11,
        atol=1e-13,
        max_step=time / 2000,
    ).y.T
    largest = max(np.linalg.norm(flow.loss.hessian(w), 2) for w in path)
    assert flow.max_sharpness(1e-8) == pytest.approx(largest, rel=1e-5)
    assert flow.max_sharpness(1e-8) >= largest * (1 - 1e-9)


def test_the_printed_values_of_the_example():
    flow = Flow([2.0, 1.0], 1.5, [0.01, 0.01])
    assert flow.max_sharpness() == pytest.approx(GOLDEN_S_GF, abs=5.1e-5)
    assert flow.critical_rate(1e-12) == pytest.approx(0.16715, abs=5.1e-6)
    assert flow.max_sharpness(1e-12) == pytest.approx(GOLDEN_S_GF, abs=1e-4)


def test_from_a_small_start_negative_curvature_is_largest_and_s_falls_before_it_rises():
    flow = Flow([2.0, 1.0], 1.5, [1e-4, 1e-4])
    s = flow.sharpness(np.linspace(0, flow.end(), 400))
    assert s[0] == pytest.approx(2 * 1.5 * 2, rel=1e-6)
    assert flow.loss.eigenvalues(flow.start)[0] == pytest.approx(-6, rel=1e-6)
    lowest = s.argmin()
    assert np.all(np.diff(s[: lowest + 1]) < 0)
    assert np.all(np.diff(s[lowest:]) > 0)
    # At a loose ε the start is the sharpest: S there, not at the end, is s_GF.
    assert flow.max_sharpness(0.8) == pytest.approx(float(s[0]))
    assert float(flow.sharpness(flow.end(0.8))) < 0.9 * s[0]


def test_a_coordinate_that_dies_can_make_the_sharpest_point_an_inner_one():
    flow = Flow([1.0, -1.0], 0.2, [0.35, 0.6])
    largest = flow.max_sharpness()
    assert largest >= float(flow.sharpness(np.linspace(0, flow.end(), 5000)).max()) * (1 - 1e-12)


def test_ever_smaller_starts_lead_to_the_norm_minimiser_and_to_the_limit_of_eta_c():
    point = OnePoint([2.0, 1.0, 1.9, -3.0], 1.5)
    errors = []
    for alpha in (1e-2, 1e-8, 1e-32):
        flow = Flow(point.x, point.y, np.full(4, alpha))
        beta = flow.weights(flow.end()) ** 2
        errors.append(np.abs(beta - point.norm_minimizer().predictor).max())
        rate = flow.critical_rate()
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3
    assert rate == pytest.approx(point.critical_rate, rel=1e-3)
    assert point.critical_rate == pytest.approx(1 / (2 * 2 * 1.5))


def test_the_time_to_where_the_flow_already_is_is_zero_and_to_its_end_infinite():
    flow = Flow([2.0, 1.0], 1.5, [0.01, 0.01])
    assert flow.time(0.0) == 0
    with pytest.raises(ValueError, match="it must be from 0 to less than"):
        flow.time(flow.end())
    settled = Flow([1.0], 4.0, [2.0])
    assert settled.end() == settled.time(0.0) == 0
    assert settled.max_sharpness() == pytest.approx(16)


@pytest.mark.parametrize(
    ("x", "y", "start", "said"),
    [
        ([2.0, -1.0], 1.5, [0.0, 0.1], "from there f cannot come to y = 1.5"),
        ([-2.0, -1.0], 0.5, [0.1, 0.1], "f cannot come to y = 0.5"),
        ([2.0, 1.0], 1.5, [0.1], r"start has shape \(1,\); it must have that of x, \(2,\)"),
        ([2.0, 1.0], 1.5, [0.1, np.inf], "start is .* of finite numbers"),
    ],
)
def test_a_flow_that_never_gets_there_is_refused(x, y, start, said):
    with pytest.raises(ValueError, match=said):
        Flow(x, y, start)


def test_a_negative_threshold_is_refused():
    with pytest.raises(ValueError, match="epsilon is -1; it must not be negative"):
        Flow([1.0], 1.0, [0.1]).end(-1)
