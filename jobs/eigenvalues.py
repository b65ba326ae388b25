"""Both ends of the spectrum of a symmetric operator, with residuals; cold or warm started."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

Products = Callable[[Tensor], Tensor]
"""The operator applied to each row of a matrix of shape (k, P)."""

Ends = Literal["both", "dominant"]

LEAST_PRODUCTS = 6
"""A residual says that an eigenvalue is near, not that it is the extreme one: in a space of fewer
dimensions than this, a small residual is believed only when the space is invariant."""

PATIENCE = 20
"""Products after which a residual that no longer falls, and is small, is taken for rounding."""

GROWTH = 16
"""Rows by which the storage of the basis grows."""


@dataclass(frozen=True)
class ExtremalEigenvalues:
    """λ_max and λ_min, and how good they are.

    ``residual_max`` and ``residual_min`` are ‖Hv − λv‖ (‖v‖ = 1) at the two ends, divided by the
    operator norm: the operator has an eigenvalue within ``residual · sharpness`` of each.
    ``converged`` says that the ends that were asked for satisfy the tolerance. ``products`` counts
    the operator's applications. ``vectors`` are approximate eigenvectors, shape (k, P), with which
    the measurement of a slightly different operator can begin.
    """

    lambda_max: float
    lambda_min: float
    residual_max: float
    residual_min: float
    converged: bool
    products: int
    vectors: Tensor | None = field(default=None, repr=False, compare=False)

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
    products: Products,
    start: Tensor,
    *,
    rtol: float,
    ends: Ends = "both",
    keep: int = 0,
    max_products: int = 300,
    most_vectors: int = 40,
    agree: Callable[[Tensor], Tensor] = lambda values: values,
) -> ExtremalEigenvalues:
    """λ_max and λ_min of a symmetric operator H on vectors of shape (P,).

    The Rayleigh-Ritz method in a space that grows by the residual of the worst Ritz pair that is
    asked for. From one start vector that is the Krylov space, and the method that of Lanczos; from
    several, such as the eigenvectors of a similar operator, it is that of Davidson without a
    preconditioner. A basis V of the space and HV are both kept, so that residuals are computed and
    not inferred. When the basis is full, it is compressed to the Ritz vectors at both ends
    (thick restart: Wu and Simon, SIAM J. Matrix Anal. Appl. 22 (2000)).

    The process ends when both ends satisfy ``rtol``, relative to the operator norm; or, with
    ``ends="dominant"``, when the end of larger |λ| does and the other cannot overtake it. It also
    ends when the space is invariant, when rounding keeps the residual from falling, and after
    ``max_products``. Eigenvalues are Rayleigh quotients accumulated in float64.

    A residual proves that an eigenvalue is near, not that no larger one is: where the start has
    next to nothing of the extreme eigenvector, a lower eigenvalue may be found.

    Args:
        products: H applied to the rows of a matrix of shape (k, P).
        start: shape (P,), or (k, P); dependent rows do no harm.
        rtol: the relative residual asked for.
        ends: which ends must satisfy it.
        keep: how many Ritz vectors to return.
        max_products: applications of H at most.
        most_vectors: vectors in the basis at most.
        agree: makes a small tensor the same on all processes that run this together.
    """
    space = _Space(products, start.reshape(-1, start.shape[-1]), most_vectors, agree)
    while True:
        found = space.judge(rtol, ends)
        over = space.exhausted or not math.isfinite(found.sharpness) or space.stagnates(found, ends)
        if found.converged or over or space.count >= max_products:
            finite = keep > 0 and math.isfinite(found.sharpness)
            return replace(found, vectors=space.best(keep, ends)) if finite else found
        space.expand(found, rtol, ends)


class _Space:
    """A subspace with an orthonormal basis V, its image W = HV, and the Ritz pairs in it."""

    def __init__(
        self,
        products: Products,
        start: Tensor,
        most_vectors: int,
        agree: Callable[[Tensor], Tensor],
    ) -> None:
        self._products, self._agree = products, agree
        self._size = start.shape[1]
        self._most = max(most_vectors, len(start) + 2, 8)
        self._rounding = torch.finfo(start.dtype).eps
        self._basis = start.new_empty((0, self._size))
        self._image = start.new_empty((0, self._size))
        self._projected = torch.zeros(0, 0, dtype=torch.float64)
        self._dimension = 0
        self._history: list[float] = []
        self.count = 0
        self.exhausted = False
        self._append(start)
        if not self._dimension:
            raise ValueError("start has no row that is finite and not zero; it must have one")

    def judge(self, rtol: float, ends: Ends) -> ExtremalEigenvalues:
        """The extremal Ritz pairs: Rayleigh quotients and residuals, accumulated in float64."""
        if not torch.isfinite(self._projected).all():
            nan = math.nan
            return ExtremalEigenvalues(nan, nan, nan, nan, False, self.count)
        self._values, self._vectors = torch.linalg.eigh(self._projected)
        weights = self._vectors[:, [-1, 0]].mT.to(self._basis)
        pairs = weights @ self._basis[: self._dimension]
        images = weights @ self._image[: self._dimension]
        quotients = _dots(pairs, images) / _dots(pairs, pairs)
        self._residuals = images.sub_(quotients[:, None].to(pairs) * pairs)
        norms = torch.linalg.vector_norm(self._residuals, dim=1, dtype=torch.float64)
        numbers = self._agree(torch.stack([quotients, norms]).cpu())
        (high, low), (at_high, at_low) = numbers.tolist()
        norm = max(abs(low), abs(high))
        scale = norm if norm > 0 else 1.0
        floor = self._rounding if norm > 0 or at_high > 0 else 0.0
        at_high, at_low = max(at_high / scale, floor), max(at_low / scale, floor)
        invariant = max(at_high, at_low) <= 10 * self._rounding or self._dimension == self._size
        self.exhausted = invariant
        enough = invariant or self.count >= LEAST_PRODUCTS
        converged = enough and _accurate(low, high, at_low, at_high, rtol, ends)
        return ExtremalEigenvalues(high, low, at_high, at_low, converged, self.count)

    def stagnates(self, found: ExtremalEigenvalues, ends: Ends) -> bool:
        """Whether the residual asked for is near the rounding of the products, and stays there."""
        worst = max(found.residual_max, found.residual_min)
        self._history.append(worst if ends == "both" else found.residual)
        recent, earlier = self._history[-PATIENCE:], self._history[:-PATIENCE]
        least = min(recent)
        return bool(earlier) and 0.9 * min(earlier) < least <= 1e3 * self._rounding

    def expand(self, found: ExtremalEigenvalues, rtol: float, ends: Ends) -> None:
        """Add the residual of the Ritz pair that needs it most."""
        top = abs(found.lambda_max) >= abs(found.lambda_min)
        dominant, other = (0, 1) if top else (1, 0)
        residuals = (found.residual_max, found.residual_min)
        if ends == "both":
            chosen = 0 if residuals[0] >= residuals[1] else 1
        else:
            chosen = dominant if residuals[dominant] > rtol else other
        direction = self._residuals[chosen]
        if self._dimension >= self._most:
            many, few = (self._most // 4,) * 2 if ends == "both" else (self._most // 2 - 2, 2)
            self._compress(*((few, many) if top else (many, few)))
        before = self._dimension
        self._append(direction[None])
        self.exhausted = self._dimension == before

    def best(self, keep: int, ends: Ends) -> Tensor:
        """The Ritz vectors of largest |θ|; of the dominant end, unless both were asked for."""
        order = sorted(range(self._dimension), key=lambda i: -abs(float(self._values[i])))
        if ends == "dominant":
            sign = float(self._values[order[0]]) >= 0
            order = [i for i in order if (float(self._values[i]) >= 0) == sign]
        weights = self._vectors[:, order[:keep]].mT.to(self._basis)
        vectors: Tensor = weights @ self._basis[: self._dimension]
        return vectors

    def _append(self, directions: Tensor) -> None:
        """Add what is new in the rows of a matrix to the space: one block of products."""
        first = self._dimension
        for direction in directions:
            if self._dimension < self._size:
                self._orthonormalised(direction)
        if self._dimension == first:
            return
        new = slice(first, self._dimension)
        image = self._products(self._basis[new].clone())
        self.count += len(image)
        self._image = _room(self._image, self._dimension)
        self._image[new] = image
        known = self._basis[: self._dimension]
        column = self._agree((known @ image.mT).double().cpu())
        grown = torch.zeros(self._dimension, self._dimension, dtype=torch.float64)
        grown[:first, :first] = self._projected
        grown[:, new] = column
        grown[new, :first] = column[:first].mT
        square = grown[new, new]
        grown[new, new] = (square + square.mT) / 2
        self._projected = grown

    def _orthonormalised(self, direction: Tensor) -> None:
        """Put a direction into the basis, made orthogonal to it; unless nothing is left of it.

        A second pass is made where the first took much away, and with it the accuracy (Daniel,
        Gragg, Kaufman and Stewart, Math. Comp. 30 (1976)).
        """
        known, vector = self._basis[: self._dimension], direction
        norm = whole = self._norm(vector)
        for _ in range(3):
            before = norm
            vector = vector - known.mT @ (known @ vector)
            norm = self._norm(vector)
            if norm > 0.7 * before:
                break
        if not norm > 100 * self._rounding * whole:
            return
        self._basis = _room(self._basis, self._dimension + 1)
        self._basis[self._dimension] = vector / norm
        self._dimension += 1

    def _norm(self, vector: Tensor) -> float:
        norm = torch.linalg.vector_norm(vector, dtype=torch.float64)
        return float(self._agree(norm.reshape(1).cpu()))

    def _compress(self, low: int, high: int) -> None:
        """Keep so many Ritz vectors at the two ends of the spectrum."""
        pairs = [*range(low), *range(self._dimension - high, self._dimension)]
        weights = self._vectors[:, pairs].mT.to(self._basis)
        kept = len(pairs)
        self._basis[:kept] = weights @ self._basis[: self._dimension]
        self._image[:kept] = weights @ self._image[: self._dimension]
        self._dimension = kept
        self._projected = torch.diag(self._values[pairs])


def _accurate(
    low: float, high: float, at_low: float, at_high: float, rtol: float, ends: Ends
) -> bool:
    """Whether the ends that were asked for satisfy the tolerance."""
    if ends == "both":
        return max(at_high, at_low) <= rtol
    dominant, other = (at_high, at_low) if abs(high) >= abs(low) else (at_low, at_high)
    norm = max(abs(high), abs(low))
    settled = other <= rtol or min(abs(low), abs(high)) + other * norm < norm
    return dominant <= rtol and settled


def _dots(left: Tensor, right: Tensor) -> Tensor:
    """The inner products of rows, summed in float64."""
    return (left * right).sum(dim=1, dtype=torch.float64)


def _room(storage: Tensor, rows: int) -> Tensor:
    """The storage, with room for so many rows."""
    if rows <= len(storage):
        return storage
    grown = storage.new_empty((rows + GROWTH, storage.shape[1]))
    grown[: len(storage)] = storage
    return grown
