"""Other diagonal networks: signed ones, deep ones, and classification.

The signed ones are the network with shared weights in other inputs, so that everything known of
that one holds for them: β ≥ 0 has 2d entries then, and no target lacks an interpolator.

- f = ⟨u∘u − v∘v, x⟩ is the network of w = (u, v) on (x, −x): S = 4 Σ xᵢ²(uᵢ² + vᵢ²) where f = y.
- f = ⟨u∘v, x⟩ is that of w = (u + v, u − v)/√2 on (x, −x)/2, for uv = ((u + v)² − (u − v)²)/4; the
  change of variables is a rotation, which leaves norm and spectrum: S = Σ xᵢ²(uᵢ² + vᵢ²).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from jobs.diagonal.loss import Array, checked_depth, finite
from jobs.diagonal.manifold import OnePoint


def difference_inputs(inputs: ArrayLike) -> Array:
    """(x, −x), of shape (..., 2d), on which w = (u, v) makes f = ⟨u∘u − v∘v, x⟩.

    With one point (x, y) both minimisers are as for the shared weights with |xᵢ| and |y|:
    4 |x|_max |y| is the sharpness of the one, 4 |x|_min |y| that of the other. A point of M has
    S ≥ 4 Σ xᵢ²|uᵢ² − vᵢ²|, with equality where uᵢvᵢ = 0 for all i with xᵢ ≠ 0.
    """
    x = np.asarray(inputs, dtype=np.float64)
    return np.concatenate([x, -x], axis=-1)


def product_inputs(inputs: ArrayLike) -> Array:
    """(x, −x)/2, of shape (..., 2d), on which :func:`product_weights` make f = ⟨u∘v, x⟩.

    A point of M has S ≥ 2 Σ xᵢ²|uᵢvᵢ|, with equality where |uᵢ| = |vᵢ| for all i with xᵢ ≠ 0.
    """
    return difference_inputs(inputs) / 2


def product_weights(u: ArrayLike, v: ArrayLike) -> Array:
    """(u + v, u − v)/√2, of shape (..., 2d)."""
    first, second = np.asarray(u, dtype=np.float64), np.asarray(v, dtype=np.float64)
    return np.concatenate([first + second, first - second], axis=-1) / math.sqrt(2)


def deep_sharpness(x: ArrayLike, predictor: ArrayLike, depth: int) -> Array:
    """S = depth² Σ xᵢ²|βᵢ|^(2−2/depth) where f = ⟨w^∘depth, x⟩ fits one point, of shape (...).

    Args:
        x: the input, of shape (d,).
        predictor: β, of shape (..., d).
        depth: how often a weight is a factor, at least 2.
    """
    checked_depth(depth)
    powers = np.abs(np.asarray(predictor, dtype=np.float64)) ** (2 - 2 / depth)
    return np.asarray(depth**2 * (finite("x", x, 1) ** 2 * powers).sum(axis=-1))


def deep_sharpness_minimizer(point: OnePoint, depth: int) -> Array:
    """The β of least S among those of M, for a depth above 2: it is inside, not a vertex.

    βᵢ = y xᵢ^(−depth/(depth−2)) / Σⱼ xⱼ^(−2/(depth−2)) over the xᵢ > 0 (for y > 0): there
    the derivatives of S are proportional to x. With Z that sum, S = depth² y^(2−2/depth) /
    Z^(1−2/depth). The norm minimiser is that of depth 2, for Σ βᵢ^(p/depth) is concave for
    p ≤ depth.

    An odd depth could have negative βᵢ too; this is the minimum over β ≥ 0.

    Raises:
        ValueError: depth is not a whole number above 2.
    """
    if checked_depth(depth) == 2:
        raise ValueError("depth is 2; the minimiser is OnePoint.sharpness_minimizer() then")
    used = point.x * point.y > 0
    x = np.abs(point.x[used])
    # In units of the smallest entry: powers of small numbers overflow.
    shares = (x / x.min()) ** (-2 / (depth - 2))
    predictor = np.zeros_like(point.x)
    predictor[used] = abs(point.y) * shares / shares.sum() / x
    return predictor


def logistic_margin(epsilon: float) -> float:
    """m_ε = −log(e^ε − 1), the margin at which the logistic loss log(1 + e^(−m)) is ε.

    Raises:
        ValueError: ε is not between 0 and log 2, so that no positive margin has that loss.
    """
    if not 0 < epsilon < math.log(2):
        raise ValueError(f"epsilon is {epsilon}; it must be between 0 and log 2 = 0.693…")
    return -math.log(math.expm1(epsilon))


def logistic_level_set(x: ArrayLike, label: int, epsilon: float) -> OnePoint:
    """Where the logistic loss of one point is ε: M of the point with m_ε in place of its target.

    So the norm minimiser is the vertex of largest margin, argmax label·xᵢ, at every ε.

    Args:
        x: the input, of shape (d,).
        label: 1 or -1.
        epsilon: ε.

    Raises:
        ValueError: label or ε is not as said, or no w∘w classifies the point correctly.
    """
    if label not in (1, -1):
        raise ValueError(f"label is {label}; it must be 1 or -1")
    return OnePoint(label * finite("x", x, 1), logistic_margin(epsilon))


def logistic_sharpness(level: OnePoint, predictor: ArrayLike) -> Array:
    """e^(−m)·4 Σ xᵢ²βᵢ on a level set, the sharpness but for a factor 1 + O(1/m), of shape (...).

    The Hessian is 4ℓ″(x∘w)(x∘w)ᵀ + 2ℓ′ diag(label·x) with ℓ″ ≈ −ℓ′ ≈ e^(−m), and Σ xᵢ²βᵢ grows
    like m. The order of the vertices is that of the square loss, but all values fall like
    ε log(1/ε): sharpness falls late in training.
    """
    return np.asarray(math.exp(-level.y) * level.sharpness(predictor))
