"""One training point: the minimisers against linear programs and random points of the manifold."""

import numpy as np
import pytest
from scipy.optimize import linprog, minimize_scalar

from jobs.diagonal import OnePoint, TrainingLoss, l1_norm, l2_norm, norm, risk

POINTS = [
    ([2.0, 1.0], 1.5),
    ([0.4, 3.0, 1.2, 0.7, 2.2], 0.9),
    ([1.3, -0.8, 0.5, 0.0, -2.0], 1.1),
    ([1.3, -0.8, 0.5, 0.0, -2.0], -1.1),
]


def random_points(point, count=100_000, seed=0):
    """Points of M: those of the simplex of its vertices, and some mass on what only costs."""
    rng = np.random.default_rng(seed)
    vertices = point.vertices()
    # Small concentrations also come close to faces and vertices.
    shares = rng.dirichlet(np.full(len(vertices), 0.3), count)
    beta = shares @ vertices
    costly = point.x * point.y <= 0
    beta[: count // 2, costly] = rng.exponential(size=(count // 2, costly.sum()))
    scale = (point.y - beta @ np.where(costly, point.x, 0)) / point.y
    beta[:, ~costly] *= scale[:, None]
    return beta


@pytest.mark.parametrize(("x", "y"), POINTS)
def test_on_the_manifold_s_is_the_largest_eigenvalue_and_loss_is_zero(x, y):
    point, loss = OnePoint(x, y), TrainingLoss([x], [y])
    beta = random_points(point, 50)
    w = np.sqrt(beta) * np.random.default_rng(1).choice([-1.0, 1.0], beta.shape)
    assert loss(w) == pytest.approx(np.zeros(50), abs=1e-24)
    assert point.sharpness(beta) == pytest.approx(loss.sharpness(w), rel=1e-10)
    assert loss.eigenvalues(w)[:, :-1] == pytest.approx(0, abs=1e-11)
    assert loss.gradient(w) == pytest.approx(0, abs=1e-12)
    assert l2_norm(beta) == pytest.approx(np.linalg.norm(w, axis=-1))
    assert l1_norm(beta) == pytest.approx(np.abs(w).sum(axis=-1))


@pytest.mark.parametrize(("x", "y"), POINTS)
def test_the_minimisers_are_those_of_linear_programs(x, y):
    point = OnePoint(x, y)
    for found, costs, value in (
        (point.norm_minimizer(), np.ones(len(x)), lambda m: m.l2_norm**2),
        (point.sharpness_minimizer(), 4 * point.x**2, lambda m: m.sharpness),
    ):
        program = linprog(costs, A_eq=[x], b_eq=[y], bounds=(0, None))
        assert value(found) == pytest.approx(program.fun, rel=1e-9)
        assert found.predictor == pytest.approx(program.x, abs=1e-9)


@pytest.mark.parametrize(("x", "y"), POINTS)
def test_no_random_point_of_the_manifold_beats_a_minimiser(x, y):
    point = OnePoint(x, y)
    beta = random_points(point)
    assert beta @ point.x == pytest.approx(np.full(len(beta), y))
    best = point.norm_minimizer().predictor
    for p in (0.5, 1, 2):
        assert norm(best, p) <= norm(beta, p).min() * (1 + 1e-12)
    assert l2_norm(beta).min() == pytest.approx(float(l2_norm(best)), rel=0.05)
    sharp = point.sharpness_minimizer()
    assert sharp.sharpness <= point.sharpness(beta).min() * (1 + 1e-12)
    assert point.sharpness(beta).min() == pytest.approx(sharp.sharpness, rel=0.05)


def test_each_minimiser_is_the_worst_for_the_other_if_all_x_are_positive():
    point = OnePoint(*POINTS[1])
    beta = random_points(point)
    norm_best, sharp_best = point.norm_minimizer(), point.sharpness_minimizer()
    assert norm_best.sharpness == pytest.approx(4 * 3.0 * 0.9)
    assert sharp_best.sharpness == pytest.approx(4 * 0.4 * 0.9)
    assert norm_best.l2_norm == pytest.approx(np.sqrt(0.9 / 3.0))
    assert sharp_best.l2_norm == pytest.approx(np.sqrt(0.9 / 0.4))
    assert point.sharpness(beta).max() <= norm_best.sharpness * (1 + 1e-12)
    assert l2_norm(beta).max() <= sharp_best.l2_norm * (1 + 1e-12)
    order = np.argsort(point.sharpness(point.vertices()))
    assert np.array_equal(order, np.argsort(-l2_norm(point.vertices())))


def test_ties_make_faces_of_equally_good_points():
    point = OnePoint([2.0, 1.0, 2.0, 1.0, -3.0], 1.5)
    norm_best, sharp_best = point.norm_minimizer(), point.sharpness_minimizer()
    assert norm_best.coordinates == (0, 2)
    assert sharp_best.coordinates == (1, 3)
    assert norm_best.predictor.tolist() == [0.75, 0, 0, 0, 0]
    between = np.array([0.25, 0, 0.5, 0, 0])
    assert between @ point.x == point.y
    assert l2_norm(between) == pytest.approx(norm_best.l2_norm)
    assert point.sharpness(between) == pytest.approx(norm_best.sharpness)
    assert l1_norm(between) > l1_norm(norm_best.predictor)
    assert point.edge([0.01, 10.0])[0].tolist() == norm_best.predictor.tolist()
    alike = OnePoint([2.0, 2.0], 1.0)
    assert alike.edge(0.3).tolist() == alike.norm_minimizer().predictor.tolist()


def test_coordinates_of_the_wrong_sign_are_never_used():
    point = OnePoint([1.0, -5.0, 0.0, 0.2], -2.0)
    assert point.vertices().tolist() == [[0, 0.4, 0, 0]]
    assert point.norm_minimizer().predictor.tolist() == [0, 0.4, 0, 0]
    assert point.sharpness_minimizer().coordinates == (1,)
    assert point.norm_minimizer().sharpness == pytest.approx(4 * 25 * 0.4)


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        ([1.0, 2.0], 0.0, "y is 0; it must be another number"),
        ([-1.0, 0.0], 1.0, "an entry of x must have the sign of y"),
        ([1.0, np.inf], 1.0, "x is .* of finite numbers"),
        ([[1.0]], 1.0, "x is .* 1-dimensional"),
        ([1.0], np.nan, "y is nan"),
    ],
)
def test_a_point_without_a_manifold_is_refused(x, y, said):
    with pytest.raises(ValueError, match=said):
        OnePoint(x, y)


def test_the_rates_are_those_of_the_ends_and_of_the_truth():
    point = OnePoint.labelled_by([0.5, 0.5], [2.0, 1.0])
    assert point.y == 1.5
    assert point.critical_rate == pytest.approx(1 / (2 * 2 * 1.5))
    assert point.largest_stable_rate == pytest.approx(1 / (2 * 1 * 1.5))
    assert point.sharpness([0.5, 0.5]) == 10
    assert point.rate_of([0.5, 0.5]) == 0.2


def test_along_the_segment_s_and_the_squared_norm_are_linear_and_the_l1_norm_concave():
    point, t = OnePoint([2.0, 1.0], 1.5), np.linspace(0, 1, 101)
    beta = point.segment(t)
    assert beta @ point.x == pytest.approx(np.full(101, 1.5))
    assert point.position(beta) == pytest.approx(t)
    assert point.sharpness(beta) == pytest.approx(4 * 1.5 * ((1 - t) * 2 + t * 1))
    assert l2_norm(beta) ** 2 == pytest.approx(1.5 * ((1 - t) / 2 + t / 1))
    assert np.all(np.diff(l1_norm(beta), 2) < 0)
    assert 0 < l1_norm(beta).argmax() < 100


def test_at_the_edge_s_is_two_over_eta_and_beyond_it_the_ends_remain():
    point = OnePoint([2.0, 1.0], 1.5)
    eta = np.array([0.1, 1 / 6, 0.2, 0.3, 1 / 3, 0.5])
    expected = [12, 12, 10, 2 / 0.3, 6, 6]
    assert point.sharpness(point.edge(eta)) == pytest.approx(expected)
    assert point.edge(0.2) == pytest.approx([0.5, 0.5])
    with pytest.raises(ValueError, match="must be positive"):
        point.edge([0.1, 0.0])


def test_gd_next_to_the_manifold_comes_back_exactly_if_s_is_below_two_over_eta():
    # The Jacobian of a step is 1 − ηH; along ∇f it multiplies by 1 − ηS.
    point, loss = OnePoint([2.0, 1.0], 1.5), TrainingLoss([[2.0, 1.0]], [1.5])
    for t, eta in ((0.0, 0.16), (0.0, 0.17), (0.5, 0.21), (0.5, 0.23), (1.0, 0.33), (1.0, 0.34)):
        w = np.sqrt(point.segment(t))
        moved = w + 1e-7 * point.x * w
        after = moved - eta * loss.gradient(moved)
        returns = bool(loss(after) < loss(moved))
        assert returns == (point.sharpness(point.segment(t)) < 2 / eta)


def quadrature(beta, truth, mean, covariance):
    """E⟨β − β*, x⟩² from the 2d points μ ± √d·(columns of Σ^½), exact for squares."""
    root = np.linalg.cholesky(covariance) * np.sqrt(len(mean))
    nodes = np.concatenate([mean + root.T, mean - root.T])
    return np.mean((nodes @ (beta - truth)) ** 2)


def test_the_risk_is_the_expected_squared_error():
    rng = np.random.default_rng(4)
    half = rng.normal(size=(3, 3))
    mean, covariance, truth = rng.normal(size=3), half @ half.T, rng.uniform(size=3)
    beta = rng.uniform(size=(5, 3))
    found = risk(beta, truth, mean, covariance)
    assert found == pytest.approx([quadrature(b, truth, mean, covariance) for b in beta])
    assert risk(beta, truth) == pytest.approx(((beta - truth) ** 2).sum(axis=-1))
    assert risk(beta, truth, mean) == pytest.approx(
        [quadrature(b, truth, mean, np.eye(3)) for b in beta]
    )
    assert risk(truth, truth, mean, covariance) == 0


def test_the_risks_of_the_minimisers_are_the_printed_ones_and_their_closed_forms():
    truth, point = np.array([0.5, 0.5]), OnePoint([2.0, 1.0], 1.5)
    for found, x, i, value in (
        (point.norm_minimizer(), 2.0, 0, 0.3125),
        (point.sharpness_minimizer(), 1.0, 1, 1.25),
    ):
        expected = truth @ truth - 2 * (1.5 / x) * truth[i] + (1.5 / x) ** 2
        assert risk(found.predictor, truth) == pytest.approx(expected)
        assert expected == pytest.approx(value)


@pytest.mark.parametrize("truth", [[0.5, 0.5], [0.1, 0.9], [0.7, 0.05]])
def test_the_risk_along_the_segment_is_least_at_the_truth(truth):
    point = OnePoint.labelled_by(truth, [2.0, 1.0])
    least = minimize_scalar(
        lambda t: float(risk(point.segment(t), truth)), bounds=(0, 1), method="bounded"
    )
    assert point.position(truth) == pytest.approx(truth[1] * 1.0 / point.y)
    assert least.x == pytest.approx(float(point.position(truth)), abs=1e-5)
    assert point.segment(point.position(truth)) == pytest.approx(truth)


def test_norms_need_a_positive_p():
    with pytest.raises(ValueError, match="p is 0; it must be positive"):
        norm([1.0], 0)
    assert norm([[16.0, 81.0]], 3, depth=4) == pytest.approx([(8 + 27) ** (1 / 3)])
