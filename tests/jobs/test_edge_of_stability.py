"""The physics in small: what becomes of sharpness and norm as η passes η_c = 2/s_GF.

100 digits, a tanh network of 2×32, ε = 0.02. Measured when this was written, with S_GF = 16.79:

    η/η_c     0.3     0.5     0.7     1.3     1.6     2.0     2.4
    S/S_GF    0.9995  0.9992  0.9989  0.776   0.626   0.508   0.426
    S·η/2     0.300   0.500   0.699   1.008   1.002   1.017   1.022
    ℓ1−ℓ1_GF  -0.05   -0.09   -0.14   -0.34   0.91    2.28    3.26     (ℓ1_GF = 282.5)
"""

import itertools

import pytest

from jobs import Problem, Protocol, Trial, run_trial

PROBLEM = Problem(dataset="digits", n_train=100, width=32, activation="tanh")
PROTOCOL = Protocol(epsilons=(0.02,), trajectory_every=100)
BELOW = (0.3, 0.5, 0.7)
ABOVE = (1.3, 1.6, 2.0, 2.4)


@pytest.fixture(scope="module")
def flow():
    trial = Trial(problem=PROBLEM, protocol=PROTOCOL, kind="flow")
    return run_trial(trial, threads=1).crossings[0]


@pytest.fixture(scope="module")
def descents(flow):
    """A row for each η, by η/η_c."""

    def row(factor):
        eta = factor * 2 / flow.max_sharpness
        trial = Trial(problem=PROBLEM, protocol=PROTOCOL, kind="gd", learning_rate=eta)
        return run_trial(trial, threads=1).crossings[0]

    return {factor: row(factor) for factor in (*BELOW, *ABOVE)}


def test_every_run_reaches_the_threshold(flow, descents):
    assert all(row.status == "reached" for row in (flow, *descents.values()))
    assert all(row.sharpness_converged for row in (flow, *descents.values()))


def test_below_the_critical_rate_sharpness_and_norm_are_those_of_the_flow(flow, descents):
    for factor in BELOW:
        assert descents[factor].sharpness == pytest.approx(flow.sharpness, rel=0.02)
        assert descents[factor].l1_norm == pytest.approx(flow.l1_norm, rel=0.002)


def test_below_the_critical_rate_the_time_of_crossing_is_that_of_the_flow(flow, descents):
    for factor in BELOW:
        assert descents[factor].time == pytest.approx(flow.time, rel=0.05)


def test_above_the_critical_rate_the_sharpness_is_two_over_eta(flow, descents):
    for factor in ABOVE:
        ratio = descents[factor].sharpness * factor / flow.max_sharpness
        assert 0.9 <= ratio <= 1.15


def test_above_the_critical_rate_the_norm_grows_with_the_learning_rate(flow, descents):
    norms = [descents[factor].l1_norm for factor in ABOVE]
    assert all(smaller < larger for smaller, larger in itertools.pairwise(norms))
    assert norms[-1] > flow.l1_norm + 1
