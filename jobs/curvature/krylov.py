"""Growing orthonormal bases of subspaces, and the images of these under operators: K at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Products = Callable[[Tensor], Tensor]
"""An operator applied to each row of a matrix of shape (k, P)."""

BatchedProducts = Callable[[Tensor], Tensor]
"""K operators, each applied to the rows of its matrix: shape (K, k, P)."""

Matrices = npt.NDArray[np.float64]
"""Small ones, with which the host decides: shape (K, ·, ·). For so few numbers, an operation of
torch costs more than the arithmetic."""

GROWTH = 16
"""Rows by which the storage of a basis grows."""

ALIGNED_BYTES = 128
"""Between the starts of rows of a matrix, a multiple: by the alignment of what it reads, a kernel
may sum in another order. Torch's kernels take two vectors of a CPU at a time, at most 64 bytes
each, and what is left over by other instructions, which may round otherwise."""

BLOCK = 2**14
"""Entries that are summed in the vectors' own dtype; blocks of them are summed in float64. One
float32 sum over 10⁶ entries is off by some 10⁻⁶, and would bound the residual from below."""


class Bases:
    """Orthonormal bases V of K subspaces, their images W = HV, and the projected matrices V H Vᵀ.

    All have one dimension: the first ``dimension`` rows of ``vectors[i]`` and ``images[i]``, of
    shape (·, P), are V and W of operator i. A direction that adds nothing to one basis, but
    something to another, puts the first out of step (``in_step``): what it holds from then on is
    of no use. Of one basis alone, it is left out.

    ``projected``, shape (K, dimension, dimension), is symmetric, in float64 and numpy's; its
    entries are inner products summed in float64. ``count`` is how often each operator was applied.

    On one CPU thread, no bit of what belongs to one operator depends on the others or on their
    number.

    Args:
        products: the operators.
        start: shape (K, k, P), whose rows the spaces begin with.
        agree: makes a small tensor the same on all processes that run this together.

    Raises:
        ValueError: no row of a ``start`` for one operator is finite and not zero.
    """

    def __init__(
        self,
        products: BatchedProducts,
        start: Tensor,
        agree: Callable[[Tensor], Tensor],
    ) -> None:
        self._products, self._agree = products, agree
        number, _, self.size = start.shape
        self.rounding = torch.finfo(start.dtype).eps
        self.vectors = start.new_empty((number, 0, self.size))
        self.images = start.new_empty((number, 0, self.size))
        self.projected: Matrices = np.zeros((number, 0, 0))
        self.in_step = np.ones(number, dtype=bool)
        self.dimension = 0
        self.count = 0
        if not self.append(start):
            raise ValueError("start has no row that is finite and not zero; it must have one")

    def __len__(self) -> int:
        return len(self.projected)

    def append(self, directions: Tensor) -> bool:
        """Add what is new in the rows of matrices, shape (K, k, P): one block of products.

        Returns whether there was anything.
        """
        first = self.dimension
        for direction in directions.unbind(1):
            if self.dimension < self.size:
                self._orthonormalised(direction)
        if self.dimension == first:
            return False
        new = slice(first, self.dimension)
        image = _aligned(self._products(self.vectors[:, new].clone()))
        self.count += image.shape[1]
        self.images = self._room(self.images)
        self.images[:, new] = image
        column = self._agree(self._inner(image).cpu()).numpy()
        grown = np.zeros((len(self), self.dimension, self.dimension))
        grown[:, :first, :first] = self.projected
        grown[:, :, new] = column
        grown[:, new, :first] = column[:, :first].transpose(0, 2, 1)
        square = grown[:, new, new].copy()
        grown[:, new, new] = (square + square.transpose(0, 2, 1)) / 2
        self.projected = grown
        return True

    def combined(self, weights: Matrices) -> tuple[Tensor, Tensor]:
        """X and HX for the columns of ``weights``, shape (K, dimension, k): of shape (K, k, P)."""
        rows = torch.from_numpy(weights.transpose(0, 2, 1).copy()).to(self.vectors)
        known = slice(self.dimension)
        vectors, images = self.vectors[:, known], self.images[:, known]
        return _combinations(rows, vectors), _combinations(rows, images)

    def ritz_pairs(self, weights: Matrices) -> tuple[Tensor, Tensor, Tensor]:
        """What the Ritz vectors of these weights, shape (K, dimension, k), are worth.

        Returns their Rayleigh quotients and the norms of their residuals, of shape (K, k), computed
        in float64 and on the CPU, and the residuals, of shape (K, k, P).
        """
        pairs, images = self.combined(weights)
        quotients = _dots(pairs, images) / _dots(pairs, pairs)
        residuals = images.sub_(quotients[..., None].to(pairs) * pairs)
        norms = torch.linalg.vector_norm(residuals, dim=2, dtype=torch.float64)
        quotients, norms = self._agree(torch.stack([quotients, norms]).cpu())
        return quotients, norms, residuals

    def compress(self, weights: Matrices, values: Matrices) -> None:
        """Keep nothing but the Ritz vectors of these weights and Ritz values, shape (K, k)."""
        kept = values.shape[1]
        self.vectors[:, :kept], self.images[:, :kept] = self.combined(weights)
        self.dimension = kept
        self.projected = values[:, :, None] * np.eye(kept)

    def keep(self, rows: Sequence[int]) -> None:
        """Keep the bases of these operators only, which ``products`` must have done before."""
        known = slice(self.dimension)
        there = torch.tensor(rows, device=self.vectors.device)
        self.vectors, self.images = (
            _aligned(storage[there, known]) for storage in (self.vectors, self.images)
        )
        self.projected, self.in_step = self.projected[list(rows)], self.in_step[list(rows)]

    def is_invariant(self, row: int, norm: float) -> bool:
        """Whether operator ``row`` maps its space into itself, up to rounding.

        Both ends may be exact, as a warm start's are where nothing moved, and yet a vector between
        them point outwards; most often the newest.
        """
        if self.dimension == self.size:
            return True
        known = self.vectors[row, : self.dimension]
        for number in reversed(range(self.dimension)):
            inside = torch.from_numpy(self.projected[row, number]).to(known) @ known
            outside = torch.linalg.vector_norm(
                self.images[row, number] - inside, dtype=torch.float64
            )
            if float(self._agree(outside.reshape(1).cpu())) > 10 * self.rounding * norm:
                return False
        return True

    def _orthonormalised(self, direction: Tensor) -> None:
        """Put directions, shape (K, P), into the bases, each made orthogonal to its own.

        A second pass is made where the first took much away, and with it the accuracy (Daniel,
        Gragg, Kaufman and Stewart, Math. Comp. 30 (1976)). One transfer to the host tells it.
        """
        known = self.vectors[:, : self.dimension]
        vector = _aligned(direction)
        left = np.ones(len(self), dtype=bool)
        original = whole = np.zeros(len(self))
        for number in range(3):
            norms = torch.linalg.vector_norm(vector, dim=1, dtype=torch.float64)
            overlaps = self._inner(vector[:, None])[:, :, 0]
            numbers = self._agree(torch.cat([overlaps, norms[:, None]], dim=1).cpu()).numpy()
            taken = torch.from_numpy(np.where(left[:, None], numbers[:, :-1], 0.0))
            vector.sub_(_combinations(taken[:, None].to(vector), known)[:, 0])
            whole = np.where(left, numbers[:, -1], whole)
            original = original if number else whole
            left &= ~(np.linalg.norm(numbers[:, :-1], axis=1) < 0.7 * whole)
            if not left.any():
                break
        new = whole > 100 * self.rounding * original
        if not (new & self.in_step).any():
            return
        self.in_step &= new
        self.dimension += 1
        self.vectors = self._room(self.vectors)
        norms = torch.linalg.vector_norm(vector, dim=1, dtype=torch.float64)
        scaled = vector / norms.to(vector)[:, None]
        if not new.all():
            scaled = torch.where(torch.from_numpy(new).to(vector.device)[:, None], scaled, 0)
        self.vectors[:, self.dimension - 1] = scaled

    def _inner(self, right: Tensor) -> Tensor:
        """The inner products of the vectors with rows, summed in float64 over blocks of entries.

        ``right`` has the shape (K, k, P), what is returned (K, dimension, k).
        """
        # With a single vector, a batch of one would be multiplied in another way than several.
        columns = max(self.dimension, 2)
        left = self.vectors[:, :columns]
        if self.size <= BLOCK:
            found = torch.bmm(right, left.mT).mT.double()
        else:
            blocks = zip(torch.split(left, BLOCK, 2), torch.split(right, BLOCK, 2), strict=True)
            parts = [torch.bmm(b, a.mT).mT for a, b in blocks]
            found = torch.stack(parts).sum(0, dtype=torch.float64)
        return found[:, : self.dimension]

    def _room(self, storage: Tensor) -> Tensor:
        """The storage, with room for as many rows in each basis as its dimension."""
        if self.dimension <= storage.shape[1]:
            return storage
        number, held, size = storage.shape
        grown = _aligned_empty(storage, (number, self.dimension + GROWTH, size))
        grown[:, :held] = storage
        return grown


def with_room(count: int, like: Tensor) -> int:
    """The entries of a row for so many, up to a multiple of :data:`ALIGNED_BYTES`."""
    entries = ALIGNED_BYTES // like.element_size()
    return -(-count // entries) * entries


def _combinations(weights: Tensor, vectors: Tensor) -> Tensor:
    """Matrices (K, k, dimension) times (K, dimension, P), into rows that begin where each would for
    K = 1: how a product is rounded depends on that.
    """
    found = _aligned_empty(vectors, (*weights.shape[:2], vectors.shape[2]))
    return torch.bmm(weights, vectors, out=found)


def _dots(left: Tensor, right: Tensor) -> Tensor:
    """The inner products of rows, summed in float64."""
    return (left * right).sum(dim=-1, dtype=torch.float64)


def _aligned(rows: Tensor) -> Tensor:
    """A copy of a tensor whose rows begin at multiples of :data:`ALIGNED_BYTES`."""
    copy = _aligned_empty(rows, rows.shape)
    copy.copy_(rows)
    return copy


def _aligned_empty(like: Tensor, shape: Sequence[int]) -> Tensor:
    """A tensor of the shape (…, P) with room after each row; uninitialised."""
    return like.new_empty((*shape[:-1], with_room(shape[-1], like)))[..., : shape[-1]]
