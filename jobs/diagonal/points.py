"""Several training points: the minimisers of norm and of sharpness by convex programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike

from jobs.diagonal.loss import Array, finite, points


@dataclass(frozen=True, eq=False)
class Minimum:
    """The least value of an objective over M = {β ≥ 0 : Xβ = Y}, and how good it is.

    ``predictor`` is β, of shape (d,), and ``value`` the objective there. No point of M is below
    ``lower_bound``, by duality; ``residual`` is max|Xβ − Y|. Solvers work in float64 with
    tolerances of about 1e-8, so gap and residual are of that size.
    """

    predictor: Array
    value: float
    lower_bound: float
    residual: float


def sharpness(inputs: ArrayLike, predictor: ArrayLike) -> Array:
    """S = 4/n λ_max(X diag(β) Xᵀ) at interpolators of shape (..., d), of shape (...).

    It is the largest eigenvalue of the Hessian of L = 1/2n Σ rⱼ² where all r = 0. Derived; the
    tests compare with the eigenvalues of that Hessian.

    Args:
        inputs: X, of shape (n, d).
        predictor: β.
    """
    x, beta = finite("inputs", inputs, 2), np.asarray(predictor, dtype=np.float64)
    gram = (x * beta[..., None, :]) @ x.T
    return np.asarray(4 / len(x) * np.linalg.eigvalsh(gram)[..., -1])


def norm_minimizer(inputs: ArrayLike, targets: ArrayLike) -> Minimum:
    """Least ‖w‖₂² = Σβᵢ over M, a linear program; ``value`` is ‖w‖₂².

    Args:
        inputs: X, of shape (n, d).
        targets: Y, of shape (n,).

    Raises:
        ValueError: no β ≥ 0 fits the points.
    """
    x, y = points(inputs, targets)
    return _least(x, y, np.ones(x.shape[1]))


def sharpness_minimizer(inputs: ArrayLike, targets: ArrayLike) -> Minimum:
    """Least S over M, a semidefinite program; ``value`` is S.

    Minimise τ over β ≥ 0 with Xβ = Y and X diag(β) Xᵀ ≼ τ·1; then S = 4τ/n. The bound holds for
    the multiplier Z of the last constraint, made positive semidefinite and of trace 1: on M,
    λ_max(X diag(β) Xᵀ) ≥ Σᵢ βᵢ xᵢᵀZxᵢ, with xᵢ the columns of X, whose minimum is a linear program.

    Args:
        inputs: X, of shape (n, d).
        targets: Y, of shape (n,).

    Raises:
        ImportError: cvxpy is not installed (it comes with the extra ``diagonal``).
        ValueError: no β ≥ 0 fits the points.
    """
    x, y = points(inputs, targets)
    cvxpy = _cvxpy()
    _least(x, y, np.ones(x.shape[1]))  # says what is wrong where M is empty
    beta, bound = cvxpy.Variable(x.shape[1], nonneg=True), cvxpy.Variable()
    below = bound * np.eye(len(x)) - x @ cvxpy.diag(beta) @ x.T >> 0
    problem = cvxpy.Problem(cvxpy.Minimize(bound), [x @ beta == y, below])
    problem.solve(solver=cvxpy.CLARABEL)
    if problem.status != cvxpy.OPTIMAL:
        raise RuntimeError(f"the semidefinite program ended with status {problem.status!r}")
    predictor = np.maximum(np.asarray(beta.value, dtype=np.float64), 0.0)
    values, vectors = np.linalg.eigh((below.dual_value + below.dual_value.T) / 2)
    weights = np.maximum(values, 0.0)
    multiplier = (vectors * (weights / weights.sum())) @ vectors.T
    costs = np.einsum("ji,jk,ki->i", x, multiplier, x)
    return Minimum(
        predictor,
        float(sharpness(x, predictor)),
        4 / len(x) * _least(x, y, costs).lower_bound,
        float(np.abs(x @ predictor - y).max()),
    )


def _least(x: Array, y: Array, costs: Array) -> Minimum:
    """The least ⟨costs, β⟩ over M, for costs that are not negative."""
    found = scipy.optimize.linprog(costs, A_eq=x, b_eq=y, bounds=(0, None), method="highs")
    if found.status == 2:
        raise ValueError(f"targets are {y.tolist()}; no β ≥ 0 fits them all")
    if found.status != 0:
        raise RuntimeError(f"the linear program ended without a minimum: {found.message}")
    predictor = np.asarray(found.x, dtype=np.float64)
    return Minimum(
        predictor,
        float(costs @ predictor),
        float(found.eqlin.marginals @ y),
        float(np.abs(x @ predictor - y).max()),
    )


def _cvxpy() -> Any:
    try:
        import cvxpy
    except ImportError as error:
        raise ImportError(
            "the sharpness minimiser of several points needs cvxpy, which is not installed; "
            "install it with: pip install 'eos-sweep[diagonal]'"
        ) from error
    return cvxpy
