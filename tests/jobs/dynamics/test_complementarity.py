"""The complementarity problem: its conditions, closed forms, and a projected gradient method."""

import numpy as np
import pytest

from jobs.dynamics.complementarity import as_matrix, as_vector, pairs, scales, solve


def _problem(size, seed):
    """A positive definite β with a spread of sizes, and an α that X must lift."""
    rng = np.random.default_rng(seed)
    slopes = rng.standard_normal((len(pairs(size)), 300))
    slopes *= np.exp(rng.uniform(-3, 1, (len(slopes), 1)))
    alpha = rng.standard_normal((size, size))
    return slopes @ slopes.T / 2, (alpha + alpha.T) / 2 - np.eye(size) / 2


def _projected(beta, alpha, steps=20_000):
    """X by an accelerated projected gradient: each step clips the eigenvalues of X."""
    step = 1 / np.linalg.norm(beta, 2)
    x = ahead = np.zeros_like(alpha)
    for number in range(steps):
        values, vectors = np.linalg.eigh(
            ahead - step * (as_matrix(beta @ as_vector(ahead)) + alpha)
        )
        before, x = x, (vectors * np.maximum(values, 0)) @ vectors.T
        ahead = x + number / (number + 3) * (x - before)
    return x


@pytest.mark.parametrize("size", [1, 2, 3, 6, 12, 20])
@pytest.mark.parametrize("seed", range(5))
def test_both_are_positive_and_their_product_vanishes(size, seed):
    beta, alpha = _problem(size, seed)
    found = solve(beta, alpha)
    scale_x, scale_z = np.linalg.norm(found.x), np.linalg.norm(alpha)
    assert abs((found.x * found.z).sum()) <= 1e-8 * max(scale_x, 1e-300) * scale_z
    assert np.linalg.eigvalsh(found.x)[0] >= -1e-12 * scale_x
    assert np.linalg.eigvalsh(found.z)[0] >= -1e-8 * scale_z
    np.testing.assert_allclose(
        found.z, as_matrix(beta @ as_vector(found.x)) + alpha, atol=1e-8 * scale_z
    )


@pytest.mark.parametrize(("size", "seed"), [(2, 0), (3, 1), (4, 2)])
def test_it_is_where_a_projected_gradient_method_ends(size, seed):
    beta, alpha = _problem(size, seed)
    beta = beta + 0.2 * np.linalg.norm(beta, 2) * np.eye(len(beta))  # so that the other converges
    exact = _projected(beta, alpha)
    np.testing.assert_allclose(solve(beta, alpha).x, exact, atol=1e-5 * np.linalg.norm(exact))


def test_of_one_number_it_is_the_closed_form():
    assert solve(np.array([[2.0]]), np.array([[-3.0]])).x == pytest.approx(1.5, rel=1e-8)
    assert solve(np.array([[2.0]]), np.array([[3.0]])).x == 0.0


def test_where_the_problem_is_diagonal_so_is_x():
    beta = np.diag([2.0, 5.0, 4.0])  # entries (0, 0), (0, 1), (1, 1)
    found = solve(beta, np.diag([-3.0, 1.0]))
    np.testing.assert_allclose(found.x, np.diag([1.5, 0.0]), atol=1e-8)
    np.testing.assert_allclose(found.z, np.diag([0.0, 1.0]), atol=1e-8)


def test_scaling_the_problem_scales_its_solution():
    beta, alpha = _problem(3, 7)
    small = solve(1e-9 * beta, 1e6 * alpha)
    np.testing.assert_allclose(small.x, 1e15 * solve(beta, alpha).x, rtol=1e-6, atol=1e8)


@pytest.mark.parametrize(
    ("beta", "alpha"),
    [
        (np.zeros((1, 1)), np.array([[-1.0]])),
        (np.diag([1.0, 0.0, 0.0]), np.diag([-1.0, -1.0])),
        (np.array([[np.nan]]), np.array([[-1.0]])),
    ],
    ids=["nothing moves it", "nothing moves the second", "not a number"],
)
def test_where_nothing_lifts_alpha_there_is_none(beta, alpha):
    assert solve(beta, alpha) is None


def test_vectors_have_the_inner_products_of_their_matrices():
    rng = np.random.default_rng(3)
    one, other = (rng.standard_normal((4, 4)) for _ in range(2))
    one, other = one + one.T, other + other.T
    assert as_vector(one) @ as_vector(other) == pytest.approx((one * other).sum())
    np.testing.assert_allclose(as_matrix(as_vector(one)), one, rtol=1e-15)
    assert len(scales(4)) == len(pairs(4)) == 10
