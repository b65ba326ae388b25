"""The Ritz pairs at both ends of spectra, in subspaces that grow until the ends are known."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from jobs.curvature.krylov import Bases

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


@dataclass(frozen=True)
class Demand:
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


class Search:
    """The ends of one operator's spectrum in a growing space: when they are known, and what next.

    ``number`` says which operator it is among all, ``done`` that it needs no more.
    """

    def __init__(self, number: int, demand: Demand, least: int, rounding: float) -> None:
        self.number, self._demand, self._least, self._rounding = number, demand, least, rounding
        self.done = self.exhausted = False
        self.grows = True
        self.probes = 0
        self.settled = False
        self._history: list[float] = []

    def judge(
        self, row: int, bases: Bases, values: Sequence[float], norms: Sequence[float]
    ) -> None:
        """Find what the Rayleigh quotients (λ_max, λ_min) and the norms of their residuals say."""
        if not all(map(math.isfinite, (*values, *norms))):
            nan = math.nan
            self.found = ExtremalEigenvalues(nan, nan, nan, nan, False, False, False, bases.count)
            return
        (high, low), (at_high, at_low) = values, norms
        norm = max(abs(low), abs(high))
        scale = norm if norm > 0 else 1.0
        floor = self._rounding if norm > 0 or at_high > 0 else 0.0
        at_high, at_low = max(at_high / scale, floor), max(at_low / scale, floor)
        exact = max(at_high, at_low) <= 10 * self._rounding
        invariant = exact and bases.is_invariant(row, norm)
        self.exhausted = invariant or not self.grows
        enough = invariant or (bases.count >= self._least and self.probes >= PROBES)
        demand, ends = self._demand, (low, high, at_low, at_high)
        self.settled = demand.is_met(*ends)
        flags = (
            enough and demand.is_met_by_sharpness(*ends),
            enough and at_low <= demand.of_lambda_min(low, high),
            enough and self.settled,
        )
        self.found = ExtremalEigenvalues(high, low, at_high, at_low, *flags, bases.count)

    def stagnates(self) -> bool:
        """Whether the residual asked for is near the rounding of the products, and stays there.

        Called once after each judgement, whose residual it notes.
        """
        residuals = (self.found.residual_max, self.found.residual_min)
        both = self._demand.ends == "both"
        self._history.append(residuals[self._worse] if both else self.found.residual)
        recent, earlier = self._history[-PATIENCE:], self._history[:-PATIENCE]
        least = min(recent)
        return bool(earlier) and 0.9 * min(earlier) < least <= 1e3 * self._rounding

    @property
    def wants_image(self) -> bool:
        """Whether the image of the newest vector comes next, and no residual."""
        return self.probes < PROBES or self.settled

    @property
    def top(self) -> bool:
        """Whether λ_max is the end of larger magnitude."""
        return abs(self.found.lambda_max) >= abs(self.found.lambda_min)

    @property
    def neediest(self) -> int:
        """The end whose residual comes next: 0 for λ_max, 1 for λ_min."""
        if self._demand.ends == "both":
            return self._worse
        dominant, other = (0, 1) if self.top else (1, 0)
        return dominant if self.found.residual > self._demand.rtol else other

    @property
    def _worse(self) -> int:
        """The end that is farther from its tolerance."""
        of_max, of_min = self._demand.tolerances(self.found.lambda_min, self.found.lambda_max)
        return 0 if self.found.residual_max * of_min >= self.found.residual_min * of_max else 1


class Spaces:
    """The Ritz pairs of growing subspaces, and how these grow and are compressed, in step."""

    def __init__(self, bases: Bases, demand: Demand, most: int) -> None:
        self._bases, self._most = bases, most
        self._ends = demand.ends
        least = max(LEAST_PRODUCTS, bases.count + LEAST_GROWTH)
        self._searches = [
            Search(number, demand, least, bases.rounding) for number in range(len(bases))
        ]

    @property
    def active(self) -> list[int]:
        """The places of those that are not done, and in step."""
        in_step = self._bases.in_step
        return [row for row, one in enumerate(self._searches) if in_step[row] and not one.done]

    def judge(self) -> Iterator[tuple[int, Search]]:
        """The extremal Ritz pairs: Rayleigh quotients and residuals, accumulated in float64."""
        projected = self._bases.projected
        finite = np.logical_and.reduce(np.isfinite(projected), axis=(1, 2))
        sound = np.where(finite[:, None, None], projected, 0.0)
        self._values, self._vectors = np.linalg.eigh(sound)
        quotients, norms, self._residuals = self._bases.ritz_pairs(self._vectors[:, :, [-1, 0]])
        quotients[torch.from_numpy(~finite)] = math.nan
        values, residuals = quotients.tolist(), norms.tolist()
        for row in self.active:
            self._searches[row].judge(row, self._bases, values[row], residuals[row])
            yield row, self._searches[row]

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some of the operators alone."""
        self._bases.keep(rows)
        self._searches = [self._searches[row] for row in rows]
        self._values, self._vectors = self._values[list(rows)], self._vectors[list(rows)]
        self._residuals = self._residuals[torch.tensor(rows, device=self._residuals.device)]

    def expand(self) -> None:
        """Add to each space the residual of the Ritz pair that needs it most; at first, and where
        none does but the space is too small to be believed, the image of the newest vector.

        Where nothing can be added and nothing has changed, the space is exhausted: of an operator
        that is not symmetric, its residuals stay large.
        """
        active = [(row, self._searches[row]) for row in self.active]
        wanting = {row for row, search in active if search.wants_image}
        for row in wanting:
            self._searches[row].probes += 1
        images = self._bases.images[:, self._bases.dimension - 1]
        if len(wanting) == len(active) and self._bases.append(images[:, None]):
            return
        by_image = wanting if len(wanting) < len(active) else set()
        directions = self._directions(dict(active), by_image, images)
        full = self._bases.dimension >= self._most
        if full:
            self._compress()
        grew = self._bases.append(directions[:, None])
        for _, search in active:
            search.grows = grew or full

    def _directions(
        self, active: Mapping[int, Search], by_image: Collection[int], images: Tensor
    ) -> Tensor:
        """What is added to each space: the residual of a Ritz pair, or the image; shape (K, P)."""
        if len(self._searches) == 1:
            return self._residuals[:, self._searches[0].neediest]
        rows = range(len(self._searches))
        needs = [active[row].neediest if row in active else 0 for row in rows]
        directions = self._residuals[torch.arange(len(needs)), torch.tensor(needs)]
        if done := [row for row in rows if row not in active]:
            directions[done] = 0
        for row in by_image:
            directions[row] = images[row]
        return directions

    def best(self, row: int, keep: int) -> Tensor:
        """The Ritz vectors of largest |θ| at the dominant end; at both, one of the other end too.

        Where both ends are asked for, the other end's values lie far below those of the dominant
        one, and a start without its vector would have to find it again.
        """
        values = self._values[row].tolist()
        order = sorted(range(len(values)), key=lambda i: -abs(values[i]))
        other = len(values) - 1 - order[0]
        if self._ends == "dominant":
            order = [i for i in order if (values[i] >= 0) == (values[order[0]] >= 0)]
        elif keep > 1 and other not in order[:keep]:
            order.insert(keep - 1, other)
        weights = torch.from_numpy(self._vectors[row][:, order[:keep]].T.copy())
        vectors = self._bases.vectors[row, : len(values)]
        return torch.mm(weights.to(vectors), vectors)

    def _compress(self) -> None:
        """Keep half as many Ritz vectors as there may be, at the two ends of the spectra."""
        last, most = self._bases.dimension, self._most
        many, few = (most // 4,) * 2 if self._ends == "both" else (most // 2 - 2, 2)
        pairs = np.array(
            [
                [*range(few if one.top else many), *range(last - (many if one.top else few), last)]
                for one in self._searches
            ]
        )
        weights = np.take_along_axis(self._vectors, pairs[:, None], axis=2)
        self._bases.compress(weights, np.take_along_axis(self._values, pairs, axis=1))
