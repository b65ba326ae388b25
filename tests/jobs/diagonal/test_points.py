"""Several points: the published example, a second method without cvxpy, and GD at the edge."""

import sys

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import linprog

from jobs.diagonal import (
    OnePoint,
    TrainingLoss,
    descend,
    norm_minimizer,
    risk,
    sharpness,
    sharpness_minimizer,
)

X = np.array([[0.8301, 1.0197, 1.7071, 0.9956], [1.2343, 0.3469, 1.581, 1.2148]])
TRUTH = np.array([0.3968, 0.8096, 0.3729, 0.5081])
Y = X @ TRUTH


def by_cutting_planes(x, y, rounds=200):
    """Least S over M by linear programs: bounds from below and from above that meet.

    λ_max(A) is the largest zᵀAz over unit z. Each program has as many of these planes as there
    were rounds; its minimum is a lower bound, and the z that was missing is the eigenvector there.
    """
    n, d = x.shape
    planes, best = [(x**2).mean(axis=0)], (np.inf, np.zeros(d))
    for _ in range(rounds):
        cuts = np.hstack([np.array(planes), -np.ones((len(planes), 1))])
        found = linprog(
            [*np.zeros(d), 1],
            A_ub=cuts,
            b_ub=np.zeros(len(planes)),
            A_eq=np.hstack([x, np.zeros((n, 1))]),
            b_eq=y,
        )
        beta = found.x[:d]
        top = np.linalg.eigh((x * beta) @ x.T)[1][:, -1]
        best = min(best, (float(sharpness(x, beta)), beta), key=lambda one: one[0])
        if best[0] - 4 / n * found.fun < 1e-7 * best[0]:
            break
        planes.append((top @ x) ** 2)
    return 4 / n * found.fun, best[0], best[1]


def random_points(n, d, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    return x, x @ rng.exponential(size=d)


def test_the_targets_are_the_printed_ones():
    assert pytest.approx([2.2973, 1.9774], abs=2e-4) == Y


def test_at_interpolators_s_is_the_operator_norm_of_the_hessian():
    x, y = random_points(3, 5, 0)
    beta = norm_minimizer(x, y).predictor
    kernel = np.linalg.svd(x)[2][3:]
    many = np.array([beta, *np.random.default_rng(1).exponential(size=(3, 5))])
    for one in (*many, np.abs(beta + 0.1 * kernel[0])):
        loss = TrainingLoss(x, x @ one)
        assert float(sharpness(x, one)) == pytest.approx(float(loss.sharpness(np.sqrt(one))))
    assert sharpness(x, many) == pytest.approx([float(sharpness(x, one)) for one in many])


def test_the_norm_minimiser_of_the_printed_example():
    found = norm_minimizer(X, Y)
    assert found.predictor == pytest.approx([0, 0.2515, 1.1956, 0], abs=5.1e-5)
    assert found.value == pytest.approx(1.447, abs=5.1e-4)
    assert found.lower_bound == pytest.approx(found.value, rel=1e-12)
    assert found.residual < 1e-14
    assert float(sharpness(X, found.predictor)) == pytest.approx(13.435, abs=5.1e-4)
    assert float(risk(found.predictor, TRUTH)) == pytest.approx(1.404, abs=5.1e-4)
    assert float(sharpness(X, TRUTH)) == pytest.approx(9.728, abs=5.1e-4)


def test_cutting_planes_find_the_printed_sharpness_minimiser_without_a_semidefinite_program():
    below, above, beta = by_cutting_planes(X, Y)
    assert above == pytest.approx(below, rel=1e-6)
    # Printed as 7.652: the digits were cut, not rounded.
    assert above == pytest.approx(7.652, abs=1e-3)
    assert beta == pytest.approx([1.2563, 1.2303, 0, 0], abs=5.1e-5)
    assert beta.sum() == pytest.approx(2.487, abs=5.1e-4)
    assert float(risk(beta, TRUTH)) == pytest.approx(1.313, abs=5.1e-4)


@pytest.mark.parametrize(
    ("x", "y"), [(X, Y), random_points(3, 6, 0), random_points(2, 9, 1), random_points(4, 7, 2)]
)
def test_the_semidefinite_program_and_cutting_planes_agree(x, y):
    pytest.importorskip("cvxpy")
    found = sharpness_minimizer(x, y)
    below, above, _ = by_cutting_planes(x, y)
    assert below * (1 - 1e-6) <= found.value <= above * (1 + 1e-6)
    assert found.lower_bound == pytest.approx(found.value, rel=1e-6)
    assert found.residual < 1e-6
    assert np.all(found.predictor >= 0)


def test_for_one_point_both_programs_find_the_vertices():
    point = OnePoint([0.4, 3.0, -1.2, 0.7], 0.9)
    found = norm_minimizer([point.x], [point.y])
    assert found.predictor == pytest.approx(point.norm_minimizer().predictor, abs=1e-12)
    _, above, beta = by_cutting_planes(point.x[None], np.array([point.y]))
    assert above == pytest.approx(point.sharpness_minimizer().sharpness)
    assert beta == pytest.approx(point.sharpness_minimizer().predictor, abs=1e-9)


def test_for_one_point_the_semidefinite_program_finds_the_vertex_too():
    pytest.importorskip("cvxpy")
    point = OnePoint([0.4, 3.0, -1.2, 0.7], 0.9)
    found = sharpness_minimizer([point.x], [point.y])
    assert found.predictor == pytest.approx(point.sharpness_minimizer().predictor, abs=1e-6)


def test_points_that_no_predictor_fits_are_refused():
    with pytest.raises(ValueError, match=r"targets are .*; no β ≥ 0 fits them all"):
        norm_minimizer([[1.0, 2.0], [1.0, 2.0]], [1.0, 2.0])
    with pytest.raises(ValueError, match=r"inputs have shape \(1, 2\) and targets \(2,\)"):
        norm_minimizer([[1.0, 2.0]], [1.0, 2.0])


def test_the_semidefinite_program_refuses_points_that_no_predictor_fits():
    pytest.importorskip("cvxpy")
    with pytest.raises(ValueError, match="no β ≥ 0 fits them all"):
        sharpness_minimizer([[1.0, 2.0]], [-1.0])


def test_without_cvxpy_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "cvxpy", None)
    with pytest.raises(ImportError, match=r"pip install 'eos-sweep\[diagonal\]'"):
        sharpness_minimizer(X, Y)


def test_along_the_flow_of_the_printed_example_an_inner_point_is_sharpest():
    loss, start = TrainingLoss(X, Y), np.full(4, 0.05)
    path = solve_ivp(
        lambda _, w: -loss.gradient(w), (0, 400), start, method="LSODA", rtol=1e-9, atol=1e-12
    ).y.T
    s = loss.sharpness(path)
    # What is printed as S_GF, 13.148, is S at the end (where GD at η = 0.001 comes to 13.149).
    assert s[-1] == pytest.approx(13.148, abs=3e-3)
    # With another solver and smaller steps the largest is 13.49675, at a loss of 3e-3.
    assert s.max() == pytest.approx(13.49675, rel=1e-4)


def test_gd_on_the_printed_example_is_best_where_its_edge_passes_through_the_truth():
    factors = np.arange(1.1, 1.65, 0.1)
    runs = descend(TrainingLoss(X, Y), np.full(4, 0.05), 0.1521 * factors, epsilon=1e-12)
    assert runs.reached().all()
    risks = runs.risk(TRUTH)
    best = int(risks.argmin())
    assert factors[best] == pytest.approx(1.3)
    assert runs.learning_rates[best] == pytest.approx(0.198, abs=5.1e-4)
    assert risks[best] == pytest.approx(0.0053, abs=1e-4)
    assert runs.sharpness[best] == pytest.approx(9.945, abs=5.1e-4)
    assert runs.sharpness[best] == pytest.approx(float(sharpness(X, TRUTH)), rel=0.03)
