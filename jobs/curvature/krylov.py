"""A growing orthonormal basis of a subspace, and the image of the subspace under an operator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Products = Callable[[Tensor], Tensor]
"""The operator applied to each row of a matrix of shape (k, P)."""

GROWTH = 16
"""Rows by which the storage of the basis grows."""

BLOCK = 2**14
"""Entries that are summed in the vectors' own dtype; blocks of them are summed in float64. One
float32 sum over 10⁶ entries is off by some 10⁻⁶, and would bound the residual from below."""


class Basis:
    """An orthonormal basis V of a subspace, its image W = HV, and the projected matrix V H Vᵀ.

    The first ``dimension`` rows of ``vectors`` and ``images``, of shape (·, P), are V and W.
    ``projected`` is symmetric, in float64, on the CPU; its entries are inner products summed in
    float64. ``count`` is the number of the operator's applications.

    Args:
        products: H applied to the rows of a matrix of shape (k, P).
        start: shape (k, P), whose rows the space begins with.
        agree: makes a small tensor the same on all processes that run this together.

    Raises:
        ValueError: ``start`` has no row that is finite and not zero.
    """

    def __init__(
        self, products: Products, start: Tensor, agree: Callable[[Tensor], Tensor]
    ) -> None:
        self._products, self._agree = products, agree
        self.size = start.shape[1]
        self.rounding = torch.finfo(start.dtype).eps
        self.vectors = start.new_empty((0, self.size))
        self.images = start.new_empty((0, self.size))
        self.projected = torch.zeros(0, 0, dtype=torch.float64)
        self.dimension = 0
        self.count = 0
        if not self.append(start):
            raise ValueError("start has no row that is finite and not zero; it must have one")

    def append(self, directions: Tensor) -> bool:
        """Add what is new in the rows of a matrix, if anything: one block of products."""
        first = self.dimension
        for direction in directions:
            if self.dimension < self.size:
                self._orthonormalised(direction)
        if self.dimension == first:
            return False
        new = slice(first, self.dimension)
        image = self._products(self.vectors[new].clone())
        self.count += len(image)
        self.images = _room(self.images, self.dimension)
        self.images[new] = image
        known = self.vectors[: self.dimension]
        column = self._agree(_inner(known, image).cpu())
        grown = torch.zeros(self.dimension, self.dimension, dtype=torch.float64)
        grown[:first, :first] = self.projected
        grown[:, new] = column
        grown[new, :first] = column[:first].mT
        square = grown[new, new]
        grown[new, new] = (square + square.mT) / 2
        self.projected = grown
        return True

    def combined(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """X and HX for the columns of ``weights``, shape (dimension, k): both of shape (k, P)."""
        rows = weights.mT.to(self.vectors)
        return rows @ self.vectors[: self.dimension], rows @ self.images[: self.dimension]

    def compress(self, weights: Tensor, values: Tensor) -> None:
        """Keep the Ritz vectors of these weights and Ritz values, and nothing else."""
        kept = len(values)
        self.vectors[:kept], self.images[:kept] = self.combined(weights)
        self.dimension = kept
        self.projected = torch.diag(values)

    def is_invariant(self, norm: float) -> bool:
        """Whether H maps the space into itself, up to rounding.

        Both ends may be exact, as a warm start's are where nothing moved, and yet a vector between
        them point outwards; most often the newest.
        """
        if self.dimension == self.size:
            return True
        known = self.vectors[: self.dimension]
        for row in reversed(range(self.dimension)):
            inside = self.projected[row].to(known) @ known
            if self._norm(self.images[row] - inside) > 10 * self.rounding * norm:
                return False
        return True

    def _orthonormalised(self, direction: Tensor) -> None:
        """Put a direction into the basis, made orthogonal to it; unless nothing is left of it.

        A second pass is made where the first took much away, and with it the accuracy (Daniel,
        Gragg, Kaufman and Stewart, Math. Comp. 30 (1976)). One transfer to the host tells it.
        """
        known, vector = self.vectors[: self.dimension], direction
        original = 0.0
        for _ in range(3):
            norm = torch.linalg.vector_norm(vector, dtype=torch.float64)
            overlaps = _inner(known, vector[None])[:, 0]
            numbers = self._agree(torch.cat([overlaps, norm[None]]).cpu())
            vector = vector - known.mT @ numbers[:-1].to(vector)
            taken, whole = float(numbers[:-1].norm()), float(numbers[-1])
            original = original or whole
            if taken < 0.7 * whole:
                break
        if not whole > 100 * self.rounding * original:
            return
        self.vectors = _room(self.vectors, self.dimension + 1)
        norm = torch.linalg.vector_norm(vector, dtype=torch.float64)
        self.vectors[self.dimension] = vector / norm.to(vector)
        self.dimension += 1

    def _norm(self, vector: Tensor) -> float:
        norm = torch.linalg.vector_norm(vector, dtype=torch.float64)
        return float(self._agree(norm.reshape(1).cpu()))


def _inner(left: Tensor, right: Tensor) -> Tensor:
    """The inner products of all rows of two matrices, summed in float64 over blocks of entries."""
    blocks = zip(torch.split(left, BLOCK, 1), torch.split(right, BLOCK, 1), strict=True)
    return torch.stack([a @ b.mT for a, b in blocks]).sum(dim=0, dtype=torch.float64)


def _room(storage: Tensor, rows: int) -> Tensor:
    """The storage, with room for so many rows."""
    if rows <= len(storage):
        return storage
    grown = storage.new_empty((rows + GROWTH, storage.shape[1]))
    grown[: len(storage)] = storage
    return grown
