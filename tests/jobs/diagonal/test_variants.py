"""Signed and deep networks and classification: closed forms against brute force and Hessians."""

import math

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from jobs.diagonal import (
    OnePoint,
    TrainingLoss,
    deep_sharpness,
    deep_sharpness_minimizer,
    difference_inputs,
    l2_norm,
    logistic_level_set,
    logistic_margin,
    logistic_sharpness,
    norm,
    product_inputs,
    product_weights,
)

X, Y = np.array([1.3, -0.8, 0.5, -2.0]), -1.1


def random_weights(make, count=2000, seed=0):
    """Pairs (u, v) with ⟨make(u, v), X⟩ = Y."""
    u, v = np.random.default_rng(seed).normal(size=(2, count, 4))
    output = make(u, v) @ X
    fits = output * Y > 0
    scale = np.sqrt(Y / output[fits])[:, None]
    assert fits.sum() > count // 4
    return u[fits] * scale, v[fits] * scale


def test_the_sharpness_of_the_difference_network():
    u, v = random_weights(lambda u, v: u * u - v * v)
    x, w = difference_inputs(X), np.concatenate([u, v], axis=-1)
    loss, point = TrainingLoss([x], [Y]), OnePoint(x, Y)
    assert loss(w) == pytest.approx(np.zeros(len(w)), abs=1e-20)
    s = 4 * (X**2 * (u * u + v * v)).sum(axis=-1)
    assert loss.sharpness(w) == pytest.approx(s)
    assert point.sharpness(w * w) == pytest.approx(s)
    assert np.all(s >= 4 * (X**2 * np.abs(u * u - v * v)).sum(axis=-1))
    assert s.min() > point.sharpness_minimizer().sharpness
    assert l2_norm(w * w).min() > point.norm_minimizer().l2_norm
    assert point.norm_minimizer().sharpness == pytest.approx(4 * 2.0 * 1.1)
    assert point.sharpness_minimizer().sharpness == pytest.approx(4 * 0.5 * 1.1)


def test_the_sharpness_of_the_product_network():
    u, v = random_weights(lambda u, v: u * v)
    x, w = product_inputs(X), product_weights(u, v)
    loss, point = TrainingLoss([x], [Y]), OnePoint(x, Y)
    s = (X**2 * (u * u + v * v)).sum(axis=-1)
    assert loss(w) == pytest.approx(np.zeros(len(w)), abs=1e-20)
    assert loss.sharpness(w) == pytest.approx(s)
    assert np.all(s >= 2 * (X**2 * np.abs(u * v)).sum(axis=-1))
    assert s.min() > point.sharpness_minimizer().sharpness
    assert point.norm_minimizer().sharpness == pytest.approx(2 * 2.0 * 1.1)
    assert point.sharpness_minimizer().sharpness == pytest.approx(2 * 0.5 * 1.1)


def test_one_sign_at_a_coordinate_makes_the_bounds_equalities():
    u, v = np.array([0.0, 0.7, 0.0, 0.3]), np.array([0.4, 0.0, 0.2, 0.0])
    w = np.concatenate([u, v])
    s = OnePoint(difference_inputs(X), -1.0).sharpness(w * w)
    assert s == pytest.approx(4 * (X**2 * np.abs(u * u - v * v)).sum())
    balanced = product_weights(u, -u)
    s = OnePoint(product_inputs(X), -1.0).sharpness(balanced**2)
    assert s == pytest.approx(2 * (X**2 * u * u).sum())


@pytest.mark.parametrize("depth", [2, 3, 4, 5])
def test_the_sharpness_of_deep_networks_is_the_eigenvalue_of_their_hessian(depth):
    x = np.array([2.0, 1.0, 0.6])
    w = np.random.default_rng(0).uniform(0.3, 1, size=(20, 3))
    for one in w:
        loss = TrainingLoss([x], [x @ one**depth], depth)
        assert deep_sharpness(x, one**depth, depth) == pytest.approx(float(loss.sharpness(one)))
    assert deep_sharpness(x, w**depth, depth).shape == (20,)
    assert deep_sharpness(x, w**2, 2) == pytest.approx(OnePoint(x, 1.0).sharpness(w**2))


@pytest.mark.parametrize("depth", [3, 4, 6])
@pytest.mark.parametrize("y", [1.5, 0.4])
def test_the_sharpness_minimiser_of_deep_networks_is_that_of_a_convex_program(depth, y):
    point = OnePoint([2.0, 1.0, 0.6, -0.7], y)
    found = deep_sharpness_minimizer(point, depth)
    assert found @ point.x == pytest.approx(y)
    assert found[3] == 0
    # A second method, on the coordinates of positive x: the program is convex there.
    x = point.x[:3]
    program = minimize(
        lambda beta: deep_sharpness(x, beta, depth),
        np.full(3, y / x.sum()),
        method="SLSQP",
        bounds=[(0, None)] * 3,
        constraints={"type": "eq", "fun": lambda beta: beta @ x - y},
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    assert program.success
    least = float(deep_sharpness(point.x, found, depth))
    assert least == pytest.approx(program.fun, rel=1e-9)
    assert found[:3] == pytest.approx(program.x, rel=1e-3)
    z = (x ** (-2 / (depth - 2))).sum()
    assert least == pytest.approx(depth**2 * y ** (2 - 2 / depth) / z ** (1 - 2 / depth))
    rng = np.random.default_rng(0)
    beta = rng.dirichlet([0.5] * 3, 20_000) @ point.vertices()
    assert deep_sharpness(point.x, beta, depth).min() >= least * (1 - 1e-12)
    vertex = point.norm_minimizer().predictor
    for p in (1, 2):
        assert norm(vertex, p, depth) <= norm(beta, p, depth).min() * (1 + 1e-12)


def test_close_to_depth_two_the_minimiser_is_not_lost_in_large_powers():
    point = OnePoint([1e-160, 2e-160], 1e-160)
    assert deep_sharpness_minimizer(point, 3) == pytest.approx([1 * 0.8, 0.2 / 2])


@pytest.mark.parametrize(
    ("depth", "said"), [(2, "depth is 2; the minimiser is OnePoint"), (1, "at least 2")]
)
def test_other_depths_have_no_inner_minimiser(depth, said):
    with pytest.raises(ValueError, match=said):
        deep_sharpness_minimizer(OnePoint([1.0], 1.0), depth)


@pytest.mark.parametrize("epsilon", [0.6, 0.1, 1e-3, 1e-12])
def test_at_the_margin_the_logistic_loss_is_epsilon(epsilon):
    assert math.log1p(math.exp(-logistic_margin(epsilon))) == pytest.approx(epsilon)


@pytest.mark.parametrize("label", [1, -1])
@pytest.mark.parametrize("epsilon", [0.3, 1e-2, 1e-6])
def test_a_level_set_of_the_logistic_loss_is_the_polytope_of_its_margin(label, epsilon):
    x = np.array([2.0, 1.0, -0.6, -3.0])
    level = logistic_level_set(x, label, epsilon)
    beta = np.random.default_rng(0).dirichlet([1.0] * 2, 20) @ level.vertices()
    loss = TrainingLoss([x], [label], loss="logistic")
    assert loss(np.sqrt(beta)) == pytest.approx(np.full(20, epsilon))
    program = linprog(np.ones(4), A_eq=[label * x], b_eq=[level.y])
    assert level.norm_minimizer().predictor == pytest.approx(program.x)
    assert level.norm_minimizer().coordinates == (int(np.argmax(label * x)),)


def test_the_sharpness_of_the_logistic_loss_is_its_leading_term_up_to_one_over_the_margin():
    x, errors = np.array([2.0, 1.0]), []
    loss = TrainingLoss([x], [1], loss="logistic")
    for epsilon in (1e-2, 1e-4, 1e-8, 1e-16):
        level = logistic_level_set(x, 1, epsilon)
        beta = level.segment([0.0, 0.3, 1.0])
        exact = loss.sharpness(np.sqrt(beta))
        # At a vertex all is known: 2(1 − e^(−ε)) xᵢ(2m e^(−ε) − 1).
        vertex = -2 * math.expm1(-epsilon) * x * (2 * level.y * math.exp(-epsilon) - 1)
        assert exact[[0, 2]] == pytest.approx(vertex)
        errors.append(np.abs(exact / logistic_sharpness(level, beta) - 1) * level.y)
        assert np.all(np.diff(exact) < 0)
    assert np.all(np.array(errors) < 1)
    # It falls like ε log(1/ε).
    assert logistic_sharpness(level, beta[0]) == pytest.approx(8 * 1e-16 * math.log(1e16))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([1.0], 1, 0.7), "epsilon is 0.7; it must be between 0 and log 2"),
        (([1.0], 1, 0.0), "epsilon is 0.0"),
        (([1.0], 0, 0.1), "label is 0; it must be 1 or -1"),
        (([1.0], -1, 0.1), "must have the sign of y"),
    ],
)
def test_what_has_no_level_set_is_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        logistic_level_set(*arguments)
