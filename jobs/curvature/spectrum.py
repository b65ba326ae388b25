"""More of the spectrum of the Hessian: its eigenvalues of largest magnitude, its scaled norm."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jobs.curvature.eigenvalues import extremal_eigenvalues, start_vector
from jobs.curvature.krylov import Bases, Products
from jobs.curvature.ritz import ExtremalEigenvalues

SPARE = 2
"""Vectors of a block beyond the eigenvalues that are wanted: the last ones converge faster."""

LEAST_BLOCKS = 3
"""Blocks of products before a residual is believed: it says that an eigenvalue is near, not that
none of larger magnitude is left."""

MOST_PRODUCTS = 100
"""For each vector of a block."""


def adaptive_sharpness(
    products: Products,
    theta: Tensor,
    *,
    rtol: float,
    agree: Callable[[Tensor], Tensor] = lambda values: values,
) -> ExtremalEigenvalues:
    """The spectrum of D H D with D = diag|θ|, of which ``.sharpness`` is max |λ|.

    It is twice the largest |½ δᵀHδ| over ‖δ/|θ|‖₂ ≤ 1, and does not change where layers of a ReLU
    network are scaled against each other (Kwon et al., ICML 2021).

    Args:
        products: H applied to the rows of a matrix of shape (k, P).
        theta: shape (P,).
        rtol: the residual asked for, relative to the norm of D H D.
        agree: makes a small tensor the same on all processes that run this together.
    """
    scale = theta.abs()
    return extremal_eigenvalues(
        lambda vectors: products(vectors * scale).mul_(scale),
        start_vector(len(theta), theta),
        rtol=rtol,
        ends="dominant",
        agree=agree,
    )


@dataclass(frozen=True)
class LeadingEigenvalues:
    """The eigenvalues of largest magnitude, in descending order of their values.

    ``residuals`` are ‖Hv − λv‖ (‖v‖ = 1) in the same order, divided by the operator norm;
    ``converged`` says that they all satisfy the tolerance. ``products`` counts the operator's
    applications.
    """

    values: tuple[float, ...]
    residuals: tuple[float, ...]
    converged: bool
    products: int


def leading_eigenvalues(
    products: Products,
    like: Tensor,
    count: int,
    *,
    rtol: float,
    agree: Callable[[Tensor], Tensor] = lambda values: values,
) -> LeadingEigenvalues:
    """The ``count`` eigenvalues of largest |λ| of a symmetric operator H on vectors of shape (P,).

    The Rayleigh-Ritz method in a space that grows by a block of residuals at a time: block Lanczos,
    thickly restarted. The block has more vectors than eigenvalues are wanted and begins at random,
    so that an eigenvalue is found as often as it is there; from a single vector it would be found
    once. Residuals are computed and not inferred.

    Args:
        products: H applied to the rows of a matrix of shape (k, P).
        like: shape (P,), of the vectors' dtype and device.
        count: eigenvalues wanted, at least 1; there are at most P.
        rtol: the residual asked of each, relative to the operator norm.
        agree: makes a small tensor the same on all processes that run this together.
    """
    size = len(like)
    count, width = min(count, size), min(count + SPARE, size)
    start = torch.stack([start_vector(size, like, number) for number in range(width)])
    basis = Bases(lambda vectors: products(vectors[0])[None], start[None], agree)
    most, blocks = max(40, 4 * width), 1
    while True:
        if not np.isfinite(basis.projected).all():
            nothing = (math.nan,) * count
            return LeadingEigenvalues(nothing, nothing, False, basis.count)
        values, weights = np.linalg.eigh(basis.projected[0])
        order = np.argsort(-np.abs(values), kind="stable")
        (quotients,), (norms,), (residuals,) = basis.ritz_pairs(weights[None, :, order[:width]])
        norm = float(quotients.abs().max())
        relative = (norms / norm).clamp_(min=basis.rounding) if norm > 0 else norms
        accurate = bool((relative[:count] <= rtol).all())
        if (accurate and blocks >= LEAST_BLOCKS) or basis.count >= MOST_PRODUCTS * width:
            return _descending(quotients[:count], relative[:count], accurate, basis.count)
        if basis.dimension + width > most:
            kept = order[: most // 2]
            basis.compress(weights[None, :, kept], values[None, kept])
        # A pair that is far better than it must be has nothing but rounding left to give.
        rough = relative > (0.0 if accurate else rtol / 10)
        if not basis.append(residuals[None, rough.to(residuals.device)]):
            return _descending(quotients[:count], relative[:count], accurate, basis.count)
        blocks += 1


def _descending(
    values: Tensor, residuals: Tensor, converged: bool, products: int
) -> LeadingEigenvalues:
    order = values.argsort(descending=True, stable=True)
    found, quality = values[order].tolist(), residuals[order].tolist()
    return LeadingEigenvalues(tuple(found), tuple(quality), converged, products)
