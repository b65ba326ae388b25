"""Both ends of the spectrum of a symmetric operator by the Lanczos process, with residuals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

MatVec = Callable[[Tensor], Tensor]
Ends = Literal["both", "dominant"]

LEAST_ITERATIONS = 6
"""A residual says that an eigenvalue is near, not that it is the extreme one: in a space of fewer
dimensions than this, a small residual is believed only when the space is invariant."""


@dataclass(frozen=True)
class ExtremalEigenvalues:
    """λ_max and λ_min, and how good they are.

    ``residual_max`` and ``residual_min`` are ‖Hv − λv‖ (‖v‖ = 1) at the two ends, divided by the
    operator norm: the operator has an eigenvalue within ``residual · sharpness`` of each.
    ``converged`` says that the ends that were asked for satisfy the tolerance. ``products`` counts
    the operator's applications.
    """

    lambda_max: float
    lambda_min: float
    residual_max: float
    residual_min: float
    converged: bool
    products: int

    @property
    def sharpness(self) -> float:
        """S = max |λ|, the operator norm."""
        return max(abs(self.lambda_max), abs(self.lambda_min))

    @property
    def residual(self) -> float:
        """The residual at the end that gives the sharpness."""
        top = abs(self.lambda_max) >= abs(self.lambda_min)
        return self.residual_max if top else self.residual_min


def start_vector(size: int, like: Tensor) -> Tensor:
    """A unit vector of shape (size,): pseudo-random, the same on every device and in every run."""
    generator = torch.Generator().manual_seed(size)
    vector = torch.randn(size, generator=generator, dtype=torch.float64)
    vector /= vector.norm()
    return vector.to(dtype=like.dtype, device=like.device)


def extremal_eigenvalues(
    matvec: MatVec, start: Tensor, *, rtol: float, ends: Ends = "both", max_iterations: int = 300
) -> ExtremalEigenvalues:
    """λ_max and λ_min of a symmetric operator on vectors of shape (P,).

    The Lanczos process with full reorthogonalisation (Gram-Schmidt twice against the whole basis),
    so that no copy of a converged eigenvalue appears; the tridiagonal matrix is kept in float64.
    The residual of a Ritz pair (θ, Vs) is β |s_last| (Parlett, The Symmetric Eigenvalue Problem,
    §13.2), never reported below the rounding of the vectors' dtype.

    The process ends when both ends satisfy ``rtol``, relative to the operator norm; or, with
    ``ends="dominant"``, when the end of larger |λ| does and the other cannot overtake it. It also
    ends when the space is invariant, and after ``max_iterations`` products.

    A residual proves that an eigenvalue is near, not that no larger one is: where two extreme
    eigenvalues are so close that the space has not told them apart, the lower may be found.
    """
    limit = min(start.numel(), max_iterations)
    basis = start.new_empty((0, start.numel()))
    vector = start / start.norm()
    alphas: list[float] = []
    betas: list[float] = []
    while True:
        if len(alphas) == len(basis):
            basis = torch.cat([basis, start.new_empty((min(limit - len(basis), 32), len(start)))])
        basis[len(alphas)] = vector
        product = matvec(vector)
        alphas.append(_dot(vector, product))
        known = basis[: len(alphas)]
        remainder = product - known.mT @ (known @ product)
        remainder -= known.mT @ (known @ remainder)
        beta = float(remainder.double().norm())
        found = _ritz_ends(alphas, betas, beta, start, rtol, ends)
        over = beta == 0 or len(alphas) >= limit or not math.isfinite(found.sharpness)
        if found.converged or over:
            return found
        betas.append(beta)
        vector = remainder / beta


def _ritz_ends(
    alphas: list[float], betas: list[float], beta: float, start: Tensor, rtol: float, ends: Ends
) -> ExtremalEigenvalues:
    """The extremal Ritz pairs of the space spanned so far, judged."""
    count = len(alphas)
    tridiagonal = np.diag(alphas) + np.diag(betas, 1) + np.diag(betas, -1)
    if not (np.isfinite(tridiagonal).all() and math.isfinite(beta)):
        return ExtremalEigenvalues(math.nan, math.nan, math.nan, math.nan, False, count)
    # torch's own routine keeps to the number of threads that the trial was given.
    values, vectors = (part.numpy() for part in torch.linalg.eigh(torch.from_numpy(tridiagonal)))
    low, high = float(values[0]), float(values[-1])
    norm = max(abs(low), abs(high))
    rounding = torch.finfo(start.dtype).eps
    invariant = beta <= 10 * rounding * norm or count == start.numel()
    reach = 0.0 if invariant else beta / norm if norm > 0 else math.inf
    floor = rounding if beta > 0 or norm > 0 else 0.0
    at_high = max(floor, reach * abs(float(vectors[-1, -1])))
    at_low = max(floor, reach * abs(float(vectors[-1, 0])))
    if ends == "both":
        accurate = max(at_high, at_low) <= rtol
    else:
        dominant, other = (at_high, at_low) if abs(high) >= abs(low) else (at_low, at_high)
        settled = other <= rtol or min(abs(low), abs(high)) + other * norm < norm
        accurate = dominant <= rtol and settled
    enough = invariant or count >= LEAST_ITERATIONS
    return ExtremalEigenvalues(high, low, at_high, at_low, bool(enough and accurate), count)


def _dot(left: Tensor, right: Tensor) -> float:
    return float(torch.dot(left.double(), right.double()))
