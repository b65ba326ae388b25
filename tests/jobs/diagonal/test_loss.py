"""L(w) of diagonal networks against finite differences, the library's own networks and batches."""

import doctest

import numpy as np
import pytest

from jobs import diagonal
from jobs.diagonal import TrainingLoss, difference_inputs, product_inputs, product_weights

RNG = np.random.default_rng


def random_loss(depth=2, loss="square", n=3, d=4, seed=0):
    rng = RNG(seed)
    targets = rng.normal(size=n) if loss == "square" else rng.choice([-1.0, 1.0], n)
    return TrainingLoss(rng.normal(size=(n, d)), targets, depth, loss), rng.normal(size=d)


def slopes(function, w, step=1e-5):
    """Central differences of a function with values of any shape."""
    moved = [(function(w + step * e) - function(w - step * e)) / (2 * step) for e in np.eye(len(w))]
    return np.stack(moved, axis=-1)


CASES = [
    *((depth, "square") for depth in (2, 3, 4)),
    *((depth, "logistic") for depth in (2, 3)),
]


@pytest.mark.parametrize(("depth", "loss"), CASES)
def test_gradient_and_hessian_are_the_differences_of_loss_and_gradient(depth, loss):
    of, w = random_loss(depth, loss)
    assert of.gradient(w) == pytest.approx(slopes(of, w), rel=1e-7, abs=1e-8)
    assert of.hessian(w) == pytest.approx(slopes(of.gradient, w), rel=1e-7, abs=1e-8)


def test_the_hessian_of_one_point_is_its_closed_form():
    x, y, w = np.array([2.0, 1.0]), 1.5, np.array([0.7, -0.4])
    residual = x @ w**2 - y
    of = TrainingLoss([x], [y])
    expected = 4 * np.outer(x * w, x * w) + 2 * residual * np.diag(x)
    assert of(w) == pytest.approx(residual**2 / 2, rel=1e-14)
    assert of.gradient(w) == pytest.approx(2 * residual * x * w, rel=1e-14)
    assert of.hessian(w) == pytest.approx(expected, rel=1e-14)


def test_the_logistic_hessian_of_one_point_is_its_closed_form():
    # 4 ℓ″(m)(x∘w)(x∘w)ᵀ + 2y ℓ′(m) diag(x), with ℓ(m) = log(1 + e^(−m)) and m = y⟨β, x⟩
    x, y, w = np.array([2.0, -1.0]), -1.0, np.array([0.7, -0.4])
    margin = y * (x @ w**2)
    slope, curvature = -1 / (1 + np.exp(margin)), np.exp(margin) / (1 + np.exp(margin)) ** 2
    expected = 4 * curvature * np.outer(x * w, x * w) + 2 * y * slope * np.diag(x)
    of = TrainingLoss([x], [y], loss="logistic")
    assert of(w) == pytest.approx(np.log1p(np.exp(-margin)), rel=1e-14)
    assert of.hessian(w) == pytest.approx(expected, rel=1e-13)


def test_the_logistic_loss_is_right_far_from_zero():
    of = TrainingLoss([[1.0]], [1.0], loss="logistic")
    right = TrainingLoss([[-1.0]], [1.0], loss="logistic")
    assert of([30.0]) == pytest.approx(np.exp(-900.0))
    assert right([30.0]) == pytest.approx(900.0)
    assert np.isfinite(of.hessian([30.0])).all()
    assert right.gradient([30.0]) == pytest.approx([60.0])


@pytest.mark.parametrize(("depth", "loss"), CASES)
def test_a_point_has_the_same_bits_alone_and_among_many(depth, loss):
    of, _ = random_loss(depth, loss, n=5, d=17)
    many = RNG(1).normal(size=(6, 7, 17))
    values, gradients = of.value_and_gradient(many)
    assert values.shape == (6, 7)
    for index in np.ndindex(6, 7):
        value, gradient = of.value_and_gradient(many[index])
        assert value == values[index]
        assert np.array_equal(gradient, gradients[index])
    assert of.hessian(many)[2, 3] == pytest.approx(of.hessian(many[2, 3]), rel=1e-13)


def test_sharpness_is_the_operator_norm_also_where_negative_curvature_is_larger():
    # At a small start of one point the curvatures are about −2y xᵢ.
    of = TrainingLoss([[2.0, 1.0]], [1.5])
    assert of.eigenvalues([1e-6, 1e-6]) == pytest.approx([-6.0, -3.0])
    assert of.sharpness([1e-6, 1e-6]) == pytest.approx(6.0)
    matrix = of.hessian([0.3, 0.8])
    assert of.sharpness([0.3, 0.8]) == pytest.approx(np.linalg.norm(matrix, 2))


def test_the_signed_network_is_the_shared_one_on_doubled_inputs():
    rng = RNG(2)
    x, y, u, v = rng.normal(size=(3, 4)), rng.normal(size=3), rng.normal(size=4), rng.normal(size=4)
    of = TrainingLoss(difference_inputs(x), y)
    w = np.concatenate([u, v])
    assert of.outputs(w) == pytest.approx(x @ (u * u - v * v))
    assert of(w) == pytest.approx(np.mean((x @ (u * u - v * v) - y) ** 2) / 2)


def test_the_product_network_is_the_shared_one_after_a_rotation():
    rng = RNG(3)
    x, y = rng.normal(size=(3, 4)), rng.normal(size=3)

    def gradient(weights):  # of L(u, v), by hand
        u, v = weights[:4], weights[4:]
        pull = x.T @ (x @ (u * v) - y) / 3
        return np.concatenate([pull * v, pull * u])

    u, v = rng.normal(size=4), rng.normal(size=4)
    of, w = TrainingLoss(product_inputs(x), y), product_weights(u, v)
    assert of.outputs(w) == pytest.approx(x @ (u * v))
    spectrum = np.linalg.eigvalsh(slopes(gradient, np.concatenate([u, v])))
    assert of.eigenvalues(w) == pytest.approx(spectrum, abs=1e-8)
    assert np.linalg.norm(w) == pytest.approx(np.hypot(np.linalg.norm(u), np.linalg.norm(v)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([1.0, 2.0], [1.0]), "inputs is .* it must be 2-dimensional"),
        (([[1.0], [np.nan]], [1.0, 1.0]), "of finite numbers"),
        (([[1.0], [2.0]], [1.0]), r"inputs have shape \(2, 1\) and targets \(1,\)"),
        (([[1.0]], [1.0], 1), "depth is 1; it must be a whole number, at least 2"),
        (([[1.0]], [1.0], 2.5), "depth is 2.5"),
        (([[1.0]], [1.0], 2, "hinge"), "loss is 'hinge'"),
        (([[1.0]], [0.5], 2, "logistic"), "labels of the logistic loss are 1 or -1"),
    ],
)
def test_unusable_losses_are_named(arguments, said):
    with pytest.raises(ValueError, match=said):
        TrainingLoss(*arguments)


def test_weights_of_another_dimension_are_refused():
    with pytest.raises(ValueError, match=r"weights have shape \(3,\); the last must be 2"):
        TrainingLoss([[1.0, 2.0]], [1.0])([1.0, 2.0, 3.0])


def test_the_example_of_the_package_runs():
    outcome = doctest.testmod(diagonal)
    assert outcome.attempted >= 5
    assert outcome.failed == 0
