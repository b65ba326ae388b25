"""GD at many learning rates: the printed table, single runs bit by bit, and how runs end."""

import numpy as np
import pytest

from jobs.diagonal import Flow, OnePoint, TrainingLoss, descend
from jobs.golden import GOLDEN_RUNS

X, Y, TRUTH, START = [2.0, 1.0], 1.5, [0.5, 0.5], [0.01, 0.01]
TABLE = np.array([(eta, *run) for eta, run in GOLDEN_RUNS.items()]).T
"""η, steps, S, S·η/2, ‖w‖₁, ‖w‖₂, R."""


def example():
    return TrainingLoss([X], [Y])


def one_run(loss, start, eta, epsilon, max_steps):
    """GD as one writes it down."""
    w, steps = np.array(start), 0
    while loss(w) > epsilon and steps < max_steps:
        w = w - eta * loss.gradient(w)
        steps += 1
    return w, steps


def test_the_printed_table_to_every_digit():
    runs = descend(example(), START, TABLE[0], epsilon=1e-12)
    assert runs.reached().all()
    assert np.array_equal(runs.steps, TABLE[1])
    found = (runs.sharpness, runs.edge_ratio, runs.l1_norm, runs.l2_norm, runs.risk(TRUTH))
    for values, printed in zip(found, TABLE[2:], strict=True):
        assert values == pytest.approx(printed, abs=5.1e-5)


def test_gd_slows_down_critically_just_above_eta_c():
    eta_c = Flow(X, Y, START).critical_rate(1e-12)
    rates = [0.15, 0.99 * eta_c, 1.02 * eta_c, 0.183]
    steps = descend(example(), START, rates).steps
    assert steps[[0, 1, 3]].tolist() == [58, 423, 1161]
    # Here the fifth digit of η_c, which is printed with five, is worth a few steps.
    assert steps[2] == pytest.approx(4374, abs=5)


def test_each_run_of_thousands_has_the_bits_that_it_has_alone():
    rates = np.linspace(0.02, 0.36, 2000)
    runs = descend(example(), START, rates, max_steps=500)
    for number in (0, 700, 1000, 1100, 1300, 1700, 1999):
        if runs.status[number] != "diverged":
            w, steps = one_run(example(), START, rates[number], 1e-12, 500)
            assert steps == runs.steps[number]
            assert np.array_equal(w, runs.weights[number])
    assert set(runs.status) == {"reached", "max_steps", "diverged"}


@pytest.mark.parametrize(("depth", "loss"), [(2, "square"), (3, "square"), (2, "logistic")])
def test_runs_of_other_losses_have_the_bits_that_they_have_alone(depth, loss):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3, 12)), rng.choice([-1.0, 1.0], 3)
    of, start = TrainingLoss(x, y, depth, loss), np.full(12, 0.4)
    runs = descend(of, start, [0.01, 0.02, 0.03], epsilon=1e-2, max_steps=300)
    for eta, w, steps in zip(runs.learning_rates, runs.weights, runs.steps, strict=True):
        alone = one_run(of, start, eta, 1e-2, 300)
        assert steps == alone[1]
        assert np.array_equal(w, alone[0])


def test_measures_are_those_of_the_last_iterate():
    runs = descend(example(), [0.3, -0.2], [0.1, 0.2], epsilon=1e-3)
    for number, w in enumerate(runs.weights):
        assert runs.losses[number] == example()(w) <= 1e-3
        assert np.array_equal(runs.predictors[number], w * w)
        assert runs.l1_norm[number] == pytest.approx(np.abs(w).sum())
        assert runs.l2_norm[number] == pytest.approx(np.linalg.norm(w))
        assert runs.sharpness[number] == pytest.approx(np.linalg.norm(example().hessian(w), 2))
        assert runs.risk(TRUTH, mean=[1, 0])[number] == pytest.approx(
            ((w * w - TRUTH) ** 2).sum() + (w[0] ** 2 - 0.5) ** 2
        )


def test_both_regimes_are_where_theory_puts_them():
    point, flow = OnePoint(X, Y), Flow(X, Y, START)
    eta_c = flow.critical_rate(1e-12)
    below = descend(example(), START, np.linspace(0.05, 0.98, 60) * eta_c)
    assert below.sharpness == pytest.approx(np.full(60, flow.max_sharpness()), rel=0.01)
    inside = np.linspace(1.1, 1.6, 60) * eta_c
    above = descend(example(), START, inside)
    assert above.reached().all()
    assert np.all((above.edge_ratio > 0.97) & (above.edge_ratio < 1))
    assert above.predictors == pytest.approx(point.edge(2 / above.sharpness), abs=1e-5)
    risks = above.risk(TRUTH)
    best = above.learning_rates[risks.argmin()]
    assert best == pytest.approx(point.rate_of(TRUTH), rel=0.02)
    assert risks.min() < 1e-3 < min(risks[0], risks[-1])
    assert (np.diff(risks) > 0).tolist() == sorted((np.diff(risks) > 0).tolist())
    # The side of 2/η depends on the threshold.
    loose = descend(example(), START, [0.18, 0.20, 0.22], epsilon=1e-3)
    assert np.all((loose.edge_ratio > 1.02) & (loose.edge_ratio < 1.045))


def test_runs_end_as_diverged_or_out_of_steps_and_say_so():
    runs = descend(example(), START, [0.2, 5.0, 1e300, 0.34], max_steps=100)
    assert runs.status.tolist() == ["max_steps", "diverged", "diverged", "max_steps"]
    assert runs.steps[0] == runs.steps[3] == 100
    assert not runs.losses[1] <= 1e3 * 1.125
    none = descend(example(), START, [0.2], max_steps=0)
    assert none.steps.tolist() == [0]
    assert none.weights.tolist() == [START]
    there = descend(example(), [0.0, 1.5**0.5], [0.2], epsilon=1e-20)
    assert there.status.tolist() == ["reached"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"start": [0.1]}, r"start has shape \(1,\); it must be \(2,\)"),
        ({"learning_rates": [0.1, 0.0]}, "learning_rates are .* must be positive"),
        ({"learning_rates": 0.1}, "learning_rates is 0.1; it must be 1-dimensional"),
        ({"epsilon": 0.0}, "epsilon is 0.0; it must be positive"),
        ({"max_steps": -1}, "max_steps is -1; it must not be negative"),
    ],
)
def test_unusable_arguments_are_named(changes, said):
    arguments = {"start": START, "learning_rates": [0.1], **changes}
    with pytest.raises(ValueError, match=said):
        descend(example(), **arguments)
