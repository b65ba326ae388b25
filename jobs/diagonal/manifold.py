"""One training point: where its loss is zero, and where norm or sharpness is least there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from jobs.diagonal.loss import Array, finite


def l1_norm(predictor: ArrayLike, depth: int = 2) -> Array:
    """‖w‖₁ = Σ |βᵢ|^(1/depth), of shape (...) for predictors of shape (..., d)."""
    return norm(predictor, 1, depth)


def l2_norm(predictor: ArrayLike, depth: int = 2) -> Array:
    """‖w‖₂, whose square is Σ |βᵢ|^(2/depth); at depth 2 that is ‖β‖₁."""
    return norm(predictor, 2, depth)


def norm(predictor: ArrayLike, p: float, depth: int = 2) -> Array:
    """‖w‖_p = (Σ |βᵢ|^(p/depth))^(1/p) of the weights of predictors, of shape (...).

    Raises:
        ValueError: p is not positive.
    """
    if not p > 0:
        raise ValueError(f"p is {p}; it must be positive")
    magnitudes = np.abs(np.asarray(predictor, dtype=np.float64))
    return np.asarray((magnitudes ** (p / depth)).sum(axis=-1) ** (1 / p))


def risk(
    predictor: ArrayLike,
    truth: ArrayLike,
    mean: ArrayLike | None = None,
    covariance: ArrayLike | None = None,
) -> Array:
    """R(β) = E⟨β − β*, x⟩² = (β − β*)ᵀ(Σ + μμᵀ)(β − β*) of predictors of shape (..., d).

    The targets of the test points are those of β* without noise; noise would add its variance.
    There is no ½, unlike in the training loss. Derived; the tests compare with a quadrature that
    is exact for squares.

    Args:
        predictor: β.
        truth: β*, of shape (d,).
        mean: μ of the test points, of shape (d,); None for 0.
        covariance: Σ of the test points, of shape (d, d); None for the identity.
    """
    error = np.asarray(predictor, dtype=np.float64) - np.asarray(truth, dtype=np.float64)
    spread = error if covariance is None else error @ np.asarray(covariance, dtype=np.float64)
    value = (spread * error).sum(axis=-1)
    if mean is not None:
        value = value + (error @ np.asarray(mean, dtype=np.float64)) ** 2
    return np.asarray(value)


@dataclass(frozen=True, eq=False)
class Minimizer:
    """A vertex of M that minimises a norm, or the sharpness.

    ``predictor`` is β; the weights are its roots, with any signs. ``coordinates`` are all that tie:
    each has a vertex as good as this one, which is that of the first. Mixtures of these vertices
    have the same ‖w‖₂ and the same sharpness, but a larger ‖w‖₁.
    """

    predictor: Array
    coordinates: tuple[int, ...]
    sharpness: float
    l2_norm: float


@dataclass(frozen=True, eq=False)
class OnePoint:
    """M = {β ≥ 0 : ⟨β, x⟩ = y}, where f = ⟨w∘w, x⟩ fits one point (x, y), with β = w∘w.

    There L = ½(f − y)² has the single non-zero curvature S = ‖∇f‖² = 4 Σ xᵢ²βᵢ. In β, ‖w‖₂² = Σβᵢ
    and S are linear, so that both are least at vertices (y/xᵢ)eᵢ of the polytope M, of which those
    with xᵢy > 0 are part. At a vertex ‖w‖₂² = y/xᵢ and S = 4xᵢy: the better for the norm, the
    worse for the sharpness. Coordinates with xᵢy ≤ 0 only cost, and no minimiser uses them (where
    xᵢ = 0, S does not mind them; the minimiser given here is then that of least norm).

    Derived; the tests compare with linear programs and with random points of M.

    Args:
        x: the input, of shape (d,).
        y: its target, not 0.

    Raises:
        ValueError: x or y is not finite, y is 0, or M is empty.
    """

    x: Array
    y: float

    def __init__(self, x: ArrayLike, y: float) -> None:
        object.__setattr__(self, "x", finite("x", x, 1))
        object.__setattr__(self, "y", float(finite("y", y, 0)))
        if self.y == 0:
            raise ValueError("y is 0; it must be another number: w = 0 fits it")
        if not np.any(self.x * self.y > 0):
            raise ValueError(
                f"x is {self.x.tolist()} and y is {self.y}; "
                "an entry of x must have the sign of y, or no w∘w fits the point"
            )

    @classmethod
    def labelled_by(cls, truth: ArrayLike, x: ArrayLike) -> OnePoint:
        """The manifold of x with the target y = ⟨β*, x⟩ of a predictor β*, which is on it."""
        return cls(x, float(np.asarray(truth, dtype=np.float64) @ finite("x", x, 1)))

    def vertices(self) -> Array:
        """All vertices, of shape (k, d), in the order of their coordinates."""
        return np.array([self._vertex(int(i)) for i in np.flatnonzero(self.x * self.y > 0)])

    def sharpness(self, predictor: ArrayLike) -> Array:
        """S = 4 Σ xᵢ²βᵢ at points of M of shape (..., d)."""
        return np.asarray(4 * (self.x**2 * np.asarray(predictor, dtype=np.float64)).sum(axis=-1))

    def norm_minimizer(self) -> Minimizer:
        """Where ‖w‖_p is least, for every p ≤ 2: all of β on the largest xᵢ (for y > 0).

        ‖w‖_p = √(y/x_max) and S = 4 x_max y. If all xᵢ > 0, S is largest there.
        """
        return self._minimizer(max)

    def sharpness_minimizer(self) -> Minimizer:
        """Where S is least: all of β on the smallest positive xᵢ (for y > 0).

        S = 4 x_min y and ‖w‖₂ = √(y/x_min). If all xᵢ > 0, ‖w‖₂ is largest there.
        """
        return self._minimizer(min)

    @property
    def critical_rate(self) -> float:
        """1/(2 x_max y), to which η_c of ever smaller starts α·(1, …, 1) converges.

        The flow then ends at the norm minimiser, and 2/η_c is the sharpness there.
        """
        return 2 / self.norm_minimizer().sharpness

    @property
    def largest_stable_rate(self) -> float:
        """η_max = 1/(2 x_min y): from here on GD is unstable at every point of M (S ≥ 2/η)."""
        return 2 / self.sharpness_minimizer().sharpness

    def rate_of(self, predictor: ArrayLike) -> float:
        """η = 2/S, at whose edge of stability a point of M lies; of β* it is η*.

        GD between η_c and η_max ends near points with S = 2/η, so that its risk is least near η*.
        """
        return 2 / float(self.sharpness(predictor))

    def segment(self, t: ArrayLike) -> Array:
        """β(t) = (1 − t)·(norm minimiser) + t·(sharpness minimiser), of shape (..., d).

        For d = 2 and x, y > 0 the segment 0 ≤ t ≤ 1 is all of M. S falls linearly in t, ‖w‖₂² rises
        linearly, ‖w‖₁ is concave, and R is quadratic.
        """
        share = np.asarray(t, dtype=np.float64)[..., None]
        ends = self.norm_minimizer().predictor, self.sharpness_minimizer().predictor
        return np.asarray((1 - share) * ends[0] + share * ends[1])

    def position(self, predictor: ArrayLike) -> Array:
        """t with β(t) = β on the segment: the share xᵢβᵢ/y of the sharpness minimiser's coordinate.

        Of β* it is t*, where R is least.
        """
        i = self.sharpness_minimizer().coordinates[0]
        return np.asarray(np.asarray(predictor, dtype=np.float64)[..., i] * self.x[i] / self.y)

    def edge(self, learning_rates: ArrayLike) -> Array:
        """The point of the segment with S = 2/η, or its end next to it, of shape (..., d).

        Where GD is predicted to end: below η_c at the norm minimiser, above it at the edge of
        stability.

        Raises:
            ValueError: a learning rate is not positive.
        """
        eta = np.asarray(learning_rates, dtype=np.float64)
        if not np.all(eta > 0):
            raise ValueError(f"learning_rates are {eta.tolist()}; they must be positive")
        high, low = self.norm_minimizer().sharpness, self.sharpness_minimizer().sharpness
        if high == low:
            return self.segment(np.zeros_like(eta))
        return self.segment(np.clip((high - 2 / eta) / (high - low), 0.0, 1.0))

    def _vertex(self, i: int) -> Array:
        vertex = np.zeros_like(self.x)
        vertex[i] = self.y / self.x[i]
        return vertex

    def _minimizer(self, extreme: Callable[[Iterable[float]], float]) -> Minimizer:
        """The vertex with the extreme xᵢy among those of M."""
        products = self.x * self.y
        best = extreme(products[products > 0].tolist())
        ties = tuple(int(i) for i in np.flatnonzero(products == best))
        predictor = self._vertex(ties[0])
        return Minimizer(
            predictor, ties, float(self.sharpness(predictor)), float(l2_norm(predictor))
        )
