"""The training loss of a diagonal linear network with shared weights, and its exact derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
LossName = Literal["square", "logistic"]


@dataclass(frozen=True, eq=False)
class TrainingLoss:
    """L(w) = 1/n Σⱼ ℓ(fⱼ, yⱼ) of the network f = ⟨β, x⟩ with β = w^∘depth, entry by entry.

    ``square`` is ℓ = ½(f − y)², so that L = 1/2n Σ rⱼ² with r = f − y; ``logistic`` is
    ℓ = log(1 + e^(−yf)) with labels y = ±1. With D = diag(w^∘(depth−1)) and X the inputs,

    - ∇L(w) = depth/n · D Xᵀℓ′,
    - ∇²L(w) = depth²/n · D Xᵀ diag(ℓ″) X D + depth(depth−1)/n · diag(Xᵀℓ′ ∘ w^∘(depth−2));

    for the square loss of one point at depth 2 these are 2r x∘w and 4(x∘w)(x∘w)ᵀ + 2r diag(x).
    Derived by hand; the tests compare with finite differences.

    All methods take weights of shape (..., d), many points of the space at once. Sums over samples
    and coordinates are made term by term, so that the bits of a result do not depend on how many
    there are in the call.

    Args:
        inputs: X, of shape (n, d).
        targets: y, of shape (n,).
        depth: how often a weight is a factor, at least 2.
        loss: ``square`` or ``logistic``.

    Raises:
        ValueError: an argument is not as said above.
    """

    inputs: Array
    targets: Array
    depth: int = 2
    loss: LossName = "square"

    def __init__(
        self,
        inputs: ArrayLike,
        targets: ArrayLike,
        depth: int = 2,
        loss: LossName = "square",
    ) -> None:
        x, y = points(inputs, targets)
        if loss not in get_args(LossName):
            raise ValueError(f"loss is {loss!r}; it must be 'square' or 'logistic'")
        if loss == "logistic" and not np.all(np.abs(y) == 1):
            raise ValueError(f"targets are {y.tolist()}; labels of the logistic loss are 1 or -1")
        values = {"inputs": x, "targets": y, "depth": checked_depth(depth), "loss": loss}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def dimension(self) -> int:
        """d."""
        return int(self.inputs.shape[1])

    def predictor(self, weights: ArrayLike) -> Array:
        """β = w^∘depth, of the shape of w."""
        return self._power(self._weights(weights), self.depth)

    def outputs(self, weights: ArrayLike) -> Array:
        """f = Xβ, of shape (..., n)."""
        return _product(self.predictor(weights), self.inputs)

    def __call__(self, weights: ArrayLike) -> Array:
        """L(w), of shape (...)."""
        return self._mean(self._value_and_slope(self.outputs(weights))[0])

    def gradient(self, weights: ArrayLike) -> Array:
        """∇L(w), of the shape of w."""
        return self.value_and_gradient(weights)[1]

    def value_and_gradient(self, weights: ArrayLike) -> tuple[Array, Array]:
        """L(w) and ∇L(w), from one evaluation of the outputs."""
        w = self._weights(weights)
        inner = self._power(w, self.depth - 1)
        values, slopes = self._value_and_slope(_product(inner * w, self.inputs))
        pull = _product(slopes, self.inputs.T)
        return self._mean(values), self.depth / len(self.inputs) * (pull * inner)

    def hessian(self, weights: ArrayLike) -> Array:
        """∇²L(w), of shape (..., d, d)."""
        w, n = self._weights(weights), len(self.inputs)
        outputs = self.outputs(w)
        factors = self.inputs * self._power(w, self.depth - 1)[..., None, :]
        curvature = self._curvature(outputs)[..., None]
        hessian = self.depth**2 / n * np.swapaxes(factors, -1, -2) @ (curvature * factors)
        pull = _product(self._value_and_slope(outputs)[1], self.inputs.T)
        own = self.depth * (self.depth - 1) / n * pull * self._power(w, self.depth - 2)
        each = np.arange(self.dimension)
        hessian[..., each, each] += own
        return np.asarray(hessian)

    def eigenvalues(self, weights: ArrayLike) -> Array:
        """The spectrum of ∇²L(w), ascending, of shape (..., d)."""
        return np.asarray(np.linalg.eigvalsh(self.hessian(weights)))

    def sharpness(self, weights: ArrayLike) -> Array:
        """S(w) = max|λ(∇²L(w))|, of shape (...)."""
        ends = self.eigenvalues(weights)[..., [0, -1]]
        return np.asarray(np.abs(ends).max(axis=-1))

    def _weights(self, weights: ArrayLike) -> Array:
        w = np.asarray(weights, dtype=np.float64)
        if w.ndim == 0 or w.shape[-1] != self.dimension:
            raise ValueError(f"weights have shape {w.shape}; the last must be {self.dimension}")
        return w

    def _value_and_slope(self, outputs: Array) -> tuple[Array, Array]:
        """ℓ(f, y) of each point and its derivative in f, each of shape (..., n)."""
        if self.loss == "square":
            residuals = outputs - self.targets
            return residuals * residuals / 2, residuals
        margins = self.targets * outputs
        return np.asarray(np.logaddexp(0.0, -margins)), -self.targets * _sigmoid(-margins)

    def _curvature(self, outputs: Array) -> Array:
        """The second derivative of ℓ(f, y) in f at each point, of shape (..., n)."""
        if self.loss == "square":
            return np.ones_like(outputs)
        margins = self.targets * outputs
        return _sigmoid(margins) * _sigmoid(-margins)

    def _power(self, w: Array, exponent: int) -> Array:
        """By products, whose rounding is the same everywhere."""
        power = np.ones_like(w) if exponent == 0 else w
        for _ in range(exponent - 1):
            power = power * w
        return power

    def _mean(self, values: Array) -> Array:
        return np.asarray(sum(np.moveaxis(values, -1, 0)) / len(self.inputs))


def finite(name: str, value: ArrayLike, dimensions: int) -> Array:
    """The value as an array of finite numbers with this number of dimensions.

    Raises:
        ValueError: it is not one.
    """
    array = np.asarray(value, dtype=np.float64)
    if array.ndim != dimensions or not np.all(np.isfinite(array)):
        raise ValueError(
            f"{name} is {array.tolist()}; it must be {dimensions}-dimensional, of finite numbers"
        )
    return array


def points(inputs: ArrayLike, targets: ArrayLike) -> tuple[Array, Array]:
    """X and y of n ≥ 1 points, as arrays.

    Raises:
        ValueError: their shapes are not (n, d) and (n,), or a number is not finite.
    """
    x, y = finite("inputs", inputs, 2), finite("targets", targets, 1)
    if len(x) != len(y) or not x.size:
        raise ValueError(
            f"inputs have shape {x.shape} and targets {y.shape}; they must be (n, d) and (n,)"
        )
    return x, y


def checked_depth(depth: int) -> int:
    """The depth, a whole number from 2.

    Raises:
        ValueError: it is not.
    """
    if depth != int(depth) or depth < 2:
        raise ValueError(f"depth is {depth}; it must be a whole number, at least 2")
    return int(depth)


def _product(left: Array, matrix: Array) -> Array:
    """left @ matrix.T, summed term by term: BLAS rounds differently for different batches."""
    return np.asarray(sum(left[..., i, None] * matrix[:, i] for i in range(matrix.shape[1])))


def _sigmoid(margin: Array) -> Array:
    """1/(1 + e^(−m)), without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -margin)))
