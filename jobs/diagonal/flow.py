"""The gradient flow of a diagonal linear network on one point, in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy  # its solvers are imported when they are named: a run's figure can do without
from numpy.typing import ArrayLike

from jobs.diagonal.loss import Array, TrainingLoss, finite

_NODES = 1025
"""Points of the flow at which its sharpness is computed before the largest is made exact."""


@dataclass(frozen=True, eq=False)
class Flow:
    """dw/dt = −∇L(w) for L = ½(⟨w∘w, x⟩ − y)², from w(0).

    Each weight solves dwᵢ/dt = −2r xᵢwᵢ, so that with s = −∫ r dt

        wᵢ² = wᵢ(0)² exp(4xᵢs).

    The output F(s) = Σ xᵢwᵢ(0)² exp(4xᵢs) increases in s, and s goes from 0 monotonically to the
    only root of F(s) = y. So s is a clock of the flow; its time is t(s) = ∫₀ˢ ds/(y − F(s)).

    Derived; the tests compare with numerical integration.

    Args:
        x: the input, of shape (d,).
        y: its target.
        start: w(0), of shape (d,).

    Raises:
        ValueError: an argument is not finite, shapes differ, or the flow does not reach y.
    """

    x: Array
    y: float
    start: Array

    def __init__(self, x: ArrayLike, y: float, start: ArrayLike) -> None:
        object.__setattr__(self, "x", finite("x", x, 1))
        object.__setattr__(self, "y", float(finite("y", y, 0)))
        object.__setattr__(self, "start", finite("start", start, 1))
        if self.x.shape != self.start.shape:
            raise ValueError(
                f"start has shape {self.start.shape}; it must have that of x, {self.x.shape}"
            )
        self.end()

    @property
    def loss(self) -> TrainingLoss:
        """L."""
        return TrainingLoss(self.x[None], [self.y])

    def weights(self, s: ArrayLike) -> Array:
        """wᵢ = wᵢ(0) exp(2xᵢs), of shape (..., d)."""
        return np.asarray(self.start * np.exp(2 * self.x * np.asarray(s)[..., None]))

    def output(self, s: ArrayLike) -> Array:
        """F(s) = ⟨w∘w, x⟩, of shape (...)."""
        return np.asarray((self.x * self.weights(s) ** 2).sum(axis=-1))

    def end(self, epsilon: float = 0.0) -> float:
        """s where the loss first is ε; s_∞, where the flow ends, for ε = 0.

        Raises:
            ValueError: ε is negative.
        """
        if not epsilon >= 0:
            raise ValueError(f"epsilon is {epsilon}; it must not be negative")
        gap = math.sqrt(2 * epsilon)
        before = float(self.output(0.0)) - self.y
        if abs(before) <= gap:
            return 0.0
        return self._root(self.y + math.copysign(gap, before))

    def time(self, s: float) -> float:
        """t(s), for s between 0 and s_∞ (where it is infinite).

        The residual is Σ xᵢ(βᵢ(s_∞) − βᵢ(s)), whose terms all have one sign. Each difference is the
        larger of both βᵢ times expm1 of how far the exponents are apart, which neither cancels nor
        overflows where a weight dies on the way. Over log(s_∞ − s) the integrand is smooth.

        Raises:
            ValueError: s is not between 0 and s_∞.
        """
        end = self.end()
        if not 0 <= s / end < 1 if end else s != 0:
            raise ValueError(f"s is {s}; it must be from 0 to less than {end}")
        if s == 0:
            return 0.0

        def integrand(depth: float) -> float:
            distance = end * math.exp(-depth)
            larger_at = np.where(self.x * end > 0, end, end - distance)
            apart = -np.expm1(-np.abs(4 * self.x * distance))
            beta = self.start**2 * np.exp(4 * self.x * larger_at)
            return abs(distance) / float((np.abs(self.x) * beta * apart).sum())

        last = -math.log1p(-s / end)
        return float(
            scipy.integrate.quad(integrand, 0.0, last, epsabs=0.0, epsrel=1e-11, limit=500)[0]
        )

    def sharpness(self, s: ArrayLike) -> Array:
        """S = max|λ| along the flow, of shape (...).

        From a small start it falls first: there the curvature −2y x_max of the residual dominates.
        """
        return self.loss.sharpness(self.weights(s))

    def max_sharpness(self, epsilon: float = 0.0) -> float:
        """s_GF: the largest S on the way to the loss ε."""
        end = self.end(epsilon)
        nodes = np.linspace(0.0, end, _NODES)
        values = self.sharpness(nodes)
        best = int(values.argmax())
        around = sorted((nodes[max(best - 1, 0)], nodes[min(best + 1, _NODES - 1)]))
        if around[0] == around[1]:
            return float(values[best])
        found = scipy.optimize.minimize_scalar(
            lambda s: -float(self.sharpness(s)),
            bounds=around,
            method="bounded",
            options={"xatol": 1e-9 * abs(end)},
        )
        return max(float(values[best]), -float(found.fun))

    def critical_rate(self, epsilon: float = 0.0) -> float:
        """η_c = 2/s_GF."""
        return 2 / self.max_sharpness(epsilon)

    def _root(self, output: float) -> float:
        """s with F(s) = output, on the side to which the flow goes."""
        # A flow that lowers f is that of −x and −y, which raises it, with s reversed.
        sign = 1.0 if output > float(self.output(0.0)) else -1.0
        x, target, squares = sign * self.x, sign * output, self.start**2
        moves = squares > 0
        grows, shrinks = moves & (x > 0), moves & (x < 0)
        if np.any(grows):
            # A term that grows is enough once it makes up for all those that are negative now.
            needed = (target - (x * squares)[shrinks].sum()) / (x * squares)[grows]
            bound = float((np.log(needed) / (4 * x[grows])).min())
        elif np.any(shrinks) and target < 0:
            # All terms are negative; each must get below its share.
            left = len(x) * (-x * squares)[shrinks] / -target
            bound = float((np.log(left) / (-4 * x[shrinks])).max())
        else:
            raise ValueError(
                f"start is {self.start.tolist()}; from there f cannot come to y = {self.y}: no "
                "weight that is not 0 has an entry of x of the sign that it needs"
            )
        bound *= 1 + 1e-12
        root = scipy.optimize.brentq(
            lambda s: float((x * squares * np.exp(4 * x * s)).sum()) - target,
            0.0,
            bound,
            xtol=1e-15 * bound,
            rtol=1e-15,
        )
        return sign * float(root)
