"""Both ends of the spectrum of a symmetric operator, with residuals; cold or warm started."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from jobs.curvature.krylov import Basis, Products
from jobs.spec import LEAST_RTOL

Ends = Literal["both", "dominant"]

LEAST_PRODUCTS = 6
"""A residual says that an eigenvalue is near, not that it is the extreme one: in a space of fewer
dimensions than this, a small residual is believed only when the space is invariant."""

LEAST_GROWTH = 3
"""Products after those of the start vectors, before a residual is believed: exact eigenvectors from
an earlier measurement have none, whatever has grown beside them."""

PROBES = 1
"""Products that follow the last start vector before any residual. Old eigenvectors say nothing of
an eigenvalue that grew in a direction they do not couple to; a random last row does, once it is
multiplied by H."""

PATIENCE = 20
"""Products after which a residual that no longer falls, and is small, is taken for rounding."""


@dataclass(frozen=True)
class ExtremalEigenvalues:
    """λ_max and λ_min, and how good they are.

    ``residual_max`` and ``residual_min`` are ‖Hv − λv‖ (‖v‖ = 1) at the two ends, divided by the
    operator norm: the operator has an eigenvalue within ``residual · sharpness`` of each. Both
    values are Rayleigh quotients: λ_max is never too large and λ_min never too small, but for
    rounding. ``sharpness_converged`` says that the end that gives the sharpness satisfies the
    tolerance and that the other one cannot overtake it, ``lambda_min_converged`` that λ_min
    satisfies its own, relative to itself, and ``converged`` that all does that was asked for.
    ``products`` counts the operator's applications. ``vectors`` are approximate eigenvectors, shape
    (k, P), with which the measurement of a slightly different operator can begin.
    """

    lambda_max: float
    lambda_min: float
    residual_max: float
    residual_min: float
    sharpness_converged: bool
    lambda_min_converged: bool
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

    @property
    def lambda_min_residual(self) -> float:
        """‖Hv − λv‖ / |λ| at λ_min; not finite where λ_min is 0 and its residual is not."""
        if self.lambda_min == 0:
            return math.inf if self.residual_min > 0 else 0.0
        return self.residual_min * (self.sharpness / abs(self.lambda_min))


def start_vector(size: int, like: Tensor, number: int = 0) -> Tensor:
    """A unit vector of shape (size,): pseudo-random, the same on every device and in every run.

    Another ``number`` gives another vector.
    """
    generator = torch.Generator().manual_seed(size + number)
    vector = torch.randn(size, generator=generator, dtype=torch.float64)
    vector /= vector.norm()
    return vector.to(dtype=like.dtype, device=like.device)


def extremal_eigenvalues(
    products: Products,
    start: Tensor,
    *,
    rtol: float,
    ends: Ends = "both",
    lambda_min_rtol: float | None = None,
    keep: int = 0,
    max_products: int = 300,
    most_vectors: int = 40,
    agree: Callable[[Tensor], Tensor] = lambda values: values,
) -> ExtremalEigenvalues:
    """λ_max and λ_min of a symmetric operator H on vectors of shape (P,).

    The Rayleigh-Ritz method in a space that grows by the image of the last start vector first, and
    then by the residual of the worst Ritz pair that is asked for. From one start vector that is the
    Krylov space, and the method that of Lanczos; from several, such as the eigenvectors of a
    similar operator and a random vector as the last, it is that of Davidson without a
    preconditioner. A basis V of the space and HV are both kept, so that residuals are computed and
    not inferred. When the basis is full, it is compressed to the Ritz vectors at both ends
    (thick restart: Wu and Simon, SIAM J. Matrix Anal. Appl. 22 (2000)).

    The process ends when both ends satisfy ``rtol``, relative to the operator norm; or, with
    ``ends="dominant"``, when the end of larger |λ| does and the other cannot overtake it. With
    ``lambda_min_rtol``, λ_min must satisfy that as well, relative to |λ_min|. It also ends when the
    space is invariant, when rounding keeps the residual from falling, and after ``max_products``.
    Eigenvalues are Rayleigh quotients accumulated in float64.

    A residual proves that an eigenvalue is near, not that no larger one is: where the start has
    next to nothing of the extreme eigenvector, a lower eigenvalue may be found, and ``converged``
    be true.

    Args:
        products: H applied to the rows of a matrix of shape (k, P).
        start: shape (P,), or (k, P); dependent rows and rows that are not finite do no harm.
        rtol: the relative residual asked for; :data:`jobs.spec.LEAST_RTOL` is in reach.
        ends: which ends must satisfy it.
        lambda_min_rtol: the residual asked of λ_min relative to |λ_min|, where both ends are asked
            for. Of a λ_min that is 0 within rounding nothing more than that can be known: a
            residual of :data:`jobs.spec.LEAST_RTOL` times the operator norm is always enough. With
            None nothing is asked for, and ``lambda_min_converged`` is about ``rtol``.
        keep: how many Ritz vectors to return.
        max_products: applications of H at most.
        most_vectors: vectors in the basis at most.
        agree: makes a small tensor the same on all processes that run this together.

    Raises:
        ValueError: ``start`` has no row that is finite and not zero.
    """
    rows = start.reshape(-1, start.shape[-1])[:max_products]
    basis = Basis(products, rows, agree)
    floor = LEAST_RTOL[str(start.dtype).removeprefix("torch.")]
    demand = _Demand(rtol, ends, lambda_min_rtol, floor)
    space = _Space(basis, demand, max(most_vectors, len(rows) + 2, 8), agree)
    while True:
        found = space.judge()
        over = space.exhausted or not math.isfinite(found.sharpness) or space.stagnates(found)
        if found.converged or over or basis.count >= max_products:
            finite = keep > 0 and math.isfinite(found.sharpness)
            return replace(found, vectors=space.best(keep)) if finite else found
        space.expand(found)


@dataclass(frozen=True)
class _Demand:
    """What is asked of the two ends; residuals are relative to the operator norm."""

    rtol: float
    ends: Ends
    lambda_min_rtol: float | None
    floor: float

    def of_lambda_min(self, low: float, high: float) -> float:
        """The residual at which λ_min is known to its own tolerance."""
        norm = max(abs(low), abs(high))
        rtol = self.rtol if self.lambda_min_rtol is None else self.lambda_min_rtol
        return max(rtol * abs(low) / norm if norm > 0 else 0.0, self.floor)

    def tolerances(self, low: float, high: float) -> tuple[float, float]:
        """What the residuals of λ_max and λ_min must come to where both are asked for."""
        if self.lambda_min_rtol is None:
            return self.rtol, self.rtol
        return self.rtol, min(self.rtol, self.of_lambda_min(low, high))

    def is_met_by_sharpness(self, low: float, high: float, at_low: float, at_high: float) -> bool:
        """Whether the end of larger |λ| is known, and the other cannot overtake it."""
        dominant, other = (at_high, at_low) if abs(high) >= abs(low) else (at_low, at_high)
        norm = max(abs(high), abs(low))
        settled = other <= self.rtol or min(abs(low), abs(high)) + other * norm < norm
        return dominant <= self.rtol and settled

    def is_met(self, low: float, high: float, at_low: float, at_high: float) -> bool:
        """Whether all is known that was asked for."""
        if self.ends == "dominant":
            return self.is_met_by_sharpness(low, high, at_low, at_high)
        of_max, of_min = self.tolerances(low, high)
        return at_high <= of_max and at_low <= of_min


class _Space:
    """The Ritz pairs of a growing subspace, and how it grows and is compressed."""

    def __init__(
        self, basis: Basis, demand: _Demand, most: int, agree: Callable[[Tensor], Tensor]
    ) -> None:
        self._basis, self._demand, self._most, self._agree = basis, demand, most, agree
        self._history: list[float] = []
        self._least = max(LEAST_PRODUCTS, basis.count + LEAST_GROWTH)
        self._probes = 0
        self._settled = False
        self._grows = True
        self.exhausted = False

    def judge(self) -> ExtremalEigenvalues:
        """The extremal Ritz pairs: Rayleigh quotients and residuals, accumulated in float64."""
        if not torch.isfinite(self._basis.projected).all():
            nan = math.nan
            flags = (False, False, False)
            return ExtremalEigenvalues(nan, nan, nan, nan, *flags, self._basis.count)
        self._values, self._vectors = torch.linalg.eigh(self._basis.projected)
        pairs, images = self._basis.combined(self._vectors[:, [-1, 0]])
        quotients = _dots(pairs, images) / _dots(pairs, pairs)
        self._residuals = images.sub_(quotients[:, None].to(pairs) * pairs)
        norms = torch.linalg.vector_norm(self._residuals, dim=1, dtype=torch.float64)
        numbers = self._agree(torch.stack([quotients, norms]).cpu())
        (high, low), (at_high, at_low) = numbers.tolist()
        norm = max(abs(low), abs(high))
        scale = norm if norm > 0 else 1.0
        floor = self._basis.rounding if norm > 0 or at_high > 0 else 0.0
        at_high, at_low = max(at_high / scale, floor), max(at_low / scale, floor)
        exact = max(at_high, at_low) <= 10 * self._basis.rounding
        invariant = exact and self._basis.is_invariant(norm)
        self.exhausted = invariant or not self._grows
        enough = invariant or (self._basis.count >= self._least and self._probes >= PROBES)
        demand, ends = self._demand, (low, high, at_low, at_high)
        self._settled = demand.is_met(*ends)
        flags = (
            enough and demand.is_met_by_sharpness(*ends),
            enough and at_low <= demand.of_lambda_min(low, high),
            enough and self._settled,
        )
        return ExtremalEigenvalues(high, low, at_high, at_low, *flags, self._basis.count)

    def stagnates(self, found: ExtremalEigenvalues) -> bool:
        """Whether the residual asked for is near the rounding of the products, and stays there."""
        residuals = (found.residual_max, found.residual_min)
        both = self._demand.ends == "both"
        self._history.append(residuals[self._worse(found)] if both else found.residual)
        recent, earlier = self._history[-PATIENCE:], self._history[:-PATIENCE]
        least = min(recent)
        return bool(earlier) and 0.9 * min(earlier) < least <= 1e3 * self._basis.rounding

    def expand(self, found: ExtremalEigenvalues) -> None:
        """Add the residual of the Ritz pair that needs it most; at first, and where none does but
        the space is too small to be believed, the image of the newest vector.

        Where nothing can be added and nothing has changed, the space is exhausted: of an operator
        that is not symmetric, its residuals stay large.
        """
        if self._probes < PROBES or self._settled:
            self._probes += 1
            if self._basis.append(self._basis.images[self._basis.dimension - 1][None]):
                return
        top = abs(found.lambda_max) >= abs(found.lambda_min)
        dominant, other = (0, 1) if top else (1, 0)
        both = self._demand.ends == "both"
        if both:
            chosen = self._worse(found)
        else:
            chosen = dominant if found.residual > self._demand.rtol else other
        direction = self._residuals[chosen]
        full = self._basis.dimension >= self._most
        if full:
            many, few = (self._most // 4,) * 2 if both else (self._most // 2 - 2, 2)
            self._compress(*((few, many) if top else (many, few)))
        self._grows = self._basis.append(direction[None]) or full

    def _worse(self, found: ExtremalEigenvalues) -> int:
        """The end that is farther from its tolerance: 0 for λ_max, 1 for λ_min."""
        of_max, of_min = self._demand.tolerances(found.lambda_min, found.lambda_max)
        return 0 if found.residual_max * of_min >= found.residual_min * of_max else 1

    def best(self, keep: int) -> Tensor:
        """The Ritz vectors of largest |θ| at the dominant end; at both, one of the other end too.

        Where both ends are asked for, the other end's values lie far below those of the dominant
        one, and a start without its vector would have to find it again.
        """
        order = sorted(range(self._basis.dimension), key=lambda i: -abs(float(self._values[i])))
        other = self._basis.dimension - 1 - order[0]
        if self._demand.ends == "dominant":
            sign = float(self._values[order[0]]) >= 0
            order = [i for i in order if (float(self._values[i]) >= 0) == sign]
        elif keep > 1 and other not in order[:keep]:
            order.insert(keep - 1, other)
        return self._basis.combined(self._vectors[:, order[:keep]])[0]

    def _compress(self, low: int, high: int) -> None:
        """Keep so many Ritz vectors at the two ends of the spectrum."""
        last = self._basis.dimension
        pairs = [*range(low), *range(last - high, last)]
        self._basis.compress(self._vectors[:, pairs], self._values[pairs])


def _dots(left: Tensor, right: Tensor) -> Tensor:
    """The inner products of rows, summed in float64."""
    return (left * right).sum(dim=1, dtype=torch.float64)
