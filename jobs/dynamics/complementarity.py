"""The semidefinite complementarity problem of a flow that is held at the edge of stability."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.floating[Any]]

TOLERANCE = 1e-9
"""Of the solution's residual, at which the iteration ends."""

MOST_ITERATIONS = 60

TO_THE_BOUNDARY = 0.95
"""Of the way to the boundary of the cone, the longest step."""


@dataclass(frozen=True, eq=False)
class Solution:
    """X ⪰ 0 and Z = βX + α ⪰ 0, symmetric of shape (k, k), with ⟨X, Z⟩ = 0.

    ``residual`` is ⟨X, Z⟩ where X and Z are in units of their own size: how far they are from
    complementary. Both are positive definite up to rounding, and Z = βX + α up to ``residual``.
    """

    x: Matrix
    z: Matrix
    residual: float


def pairs(size: int) -> list[tuple[int, int]]:
    """The entries (i, j), i ≤ j, of a symmetric matrix in the order of its vector."""
    return [(i, j) for i in range(size) for j in range(i, size)]


def scales(size: int) -> Matrix:
    """What the entries of a symmetric matrix are multiplied with in its vector."""
    return _places(size)[2]


def as_vector(matrix: Matrix) -> Matrix:
    """The entries of a symmetric matrix as a vector of the same norm: √2 times those off the
    diagonal, so that inner products are those of the matrices.
    """
    rows, columns, scale, _ = _places(len(matrix))
    vector: Matrix = matrix[rows, columns] * scale
    return vector


def as_matrix(vector: Matrix) -> Matrix:
    """What :func:`as_vector` was given."""
    size = (math.isqrt(8 * len(vector) + 1) - 1) // 2
    rows, columns, scale, _ = _places(size)
    matrix = np.zeros((size, size))
    matrix[rows, columns] = matrix[columns, rows] = vector / scale
    return matrix


def solve(beta: Matrix, alpha: Matrix) -> Solution | None:
    """The X ⪰ 0 with Z = βX + α ⪰ 0 and ⟨X, Z⟩ = 0; None where there is none.

    It is where ½ ⟨X, βX⟩ + ⟨α, X⟩ is least over X ⪰ 0. There is none where that has no least value:
    no X can then do what is asked. An interior point method with the direction of Helmberg, Rendl,
    Vanderbei and Wolkowicz (SIAM J. Optim. 6 (1996)), in Mehrotra's predictor-corrector form.

    >>> import numpy as np
    >>> found = solve(np.array([[2.0]]), np.array([[-3.0]]))
    >>> found.x.round(6), found.z.round(6)
    (array([[1.5]]), array([[0.]]))

    Args:
        beta: positive semidefinite, on the vectors of symmetric matrices (:func:`as_vector`):
            shape (k(k+1)/2, k(k+1)/2).
        alpha: symmetric, shape (k, k).
    """
    size = len(alpha)
    if not (np.isfinite(alpha).all() and np.isfinite(beta).all()):
        return None
    if np.linalg.eigvalsh(alpha)[0] >= 0:
        return Solution(np.zeros((size, size)), alpha, 0.0)
    # In units in which alpha and beta are about 1, so are X and Z.
    of_alpha, of_beta = float(np.linalg.norm(alpha)), float(np.linalg.norm(beta, 2))
    if of_beta == 0:
        return None
    beta, alpha = beta / of_beta, alpha / of_alpha
    _, _, _, basis = _places(size)
    x: Matrix = np.eye(size)
    z: Matrix = np.eye(size)
    for _ in range(MOST_ITERATIONS):
        off = as_matrix(beta @ as_vector(x)) + alpha - z
        gap = float((x * z).sum())
        error = max(gap / max(1.0, float(np.linalg.norm(x))), float(np.linalg.norm(off)))
        if error <= TOLERANCE:
            scale = of_alpha / of_beta
            return Solution(x * scale, z * of_alpha, error)
        if not math.isfinite(error) or np.linalg.norm(x) > 1e8:
            return None
        inverse = np.linalg.inv(z)
        # ΔX + sym(X (βΔX + off) Z⁻¹) = μ Z⁻¹ − X − (correction)
        products = x @ basis @ inverse
        mixed = (products + products.transpose(0, 2, 1)) / 2
        operator = np.stack([as_vector(matrix) for matrix in mixed], axis=1)
        system = np.eye(len(beta)) + operator @ beta
        towards = -x - _sym(x @ off @ inverse)
        dx = as_matrix(np.linalg.solve(system, as_vector(towards)))
        dz = as_matrix(beta @ as_vector(dx)) + off
        ahead = float(((x + _longest(x, dx) * dx) * (z + _longest(z, dz) * dz)).sum())
        centred = min((ahead / gap) ** 2, 1.0) * gap / size
        towards += centred * inverse - _sym(dx @ dz @ inverse)
        dx = as_matrix(np.linalg.solve(system, as_vector(towards)))
        dz = as_matrix(beta @ as_vector(dx)) + off
        length = min(_longest(x, dx), _longest(z, dz))
        x, z = _sym(x + length * dx), _sym(z + length * dz)
    return None


def _longest(matrix: Matrix, change: Matrix) -> float:
    """How much of a change keeps a matrix positive definite, at most 1."""
    values, vectors = np.linalg.eigh(matrix)
    root = vectors / np.sqrt(np.maximum(values, 1e-18 * values[-1]))
    least = np.linalg.eigvalsh(_sym(root.T @ change @ root))[0]
    return min(1.0, -TO_THE_BOUNDARY / least) if least < 0 else 1.0


def _sym(matrix: Matrix) -> Matrix:
    return (matrix + matrix.T) / 2


@functools.cache
def _places(size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Matrix, Matrix]:
    """Rows and columns of the entries, what they are scaled with, and the basis that belongs to
    them: shape (k(k+1)/2, k, k).
    """
    rows, columns = np.array(pairs(size), dtype=np.int64).reshape(-1, 2).T
    scale = np.where(rows == columns, 1.0, math.sqrt(2))
    basis = np.zeros((len(rows), size, size))
    each = np.arange(len(rows))
    basis[each, rows, columns] = basis[each, columns, rows] = 1 / scale
    return rows, columns, scale, basis
