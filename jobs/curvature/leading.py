"""The eigenvectors of H whose eigenvalues are above a level, from those of a point near by."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jobs.curvature.eigenvalues import start_vector
from jobs.curvature.krylov import Bases, Products

GUARDS = 2
"""Ritz vectors below the level that are kept: the next ones that may come up to it."""

GUARD_RTOL = 0.02
"""The residual asked of the first of them, so that none above the level is taken for one below."""

MOST_ABOVE = 20
"""Eigenvalues above the level at most."""

MOST_PRODUCTS = 600

COLD_BLOCKS = 3
"""Blocks of products before what is found is believed, where nothing was known."""


@dataclass(frozen=True, eq=False)
class Leading:
    """Eigenpairs in descending order: all above the level, and some guards below it.

    ``vectors`` has the shape (k + guards, P), of which the first ``above`` = k are those above;
    ``values`` are of all.
    """

    values: tuple[float, ...]
    vectors: Tensor
    above: int


def eigenpairs_above(
    products: Products,
    start: Tensor | None,
    level: float,
    *,
    like: Tensor,
    rtol: float,
    number: int = 0,
    agree: Callable[[Tensor], Tensor] = lambda values: values,
) -> Leading:
    """The eigenpairs of a symmetric operator H on vectors of shape (P,) with λ ≥ ``level``.

    The Rayleigh-Ritz method in a space that begins with the vectors of ``start`` and a
    pseudo-random one, and grows by the residuals of the pairs that are not accurate yet: block
    Davidson without a preconditioner, a block Lanczos method where nothing is known.

    Args:
        products: H applied to the rows of a matrix of shape (k, P).
        start: the vectors of a measurement near by, shape (k, P); None where there is none.
        level: the eigenvalues asked for are at least this.
        like: shape (P,), of the vectors' dtype and device.
        rtol: the residual asked of each, relative to the operator norm.
        number: of the pseudo-random vector.
        agree: makes a small tensor the same on all processes that run this together.
    """
    random = start_vector(len(like), like, number)[None]
    block = random if start is None else torch.cat([start, random])
    basis = Bases(lambda vectors: products(vectors[0])[None], block[None], agree)
    most, fewest = 3 * (MOST_ABOVE + GUARDS), COLD_BLOCKS if start is None else 1
    for blocks in itertools.count(1):
        if not np.isfinite(basis.projected).all():
            raise FloatingPointError("the Hessian is not finite")
        values, weights = (found[..., ::-1] for found in np.linalg.eigh(basis.projected[0]))
        above = min(int((values >= level).sum()), MOST_ABOVE)
        wanted = min(above + GUARDS, len(values))
        (quotients,), (norms,), (residuals,) = basis.ritz_pairs(weights[None, :, :wanted])
        asked = np.full(wanted, math.inf)
        asked[above : above + 1], asked[:above] = GUARD_RTOL, rtol
        rough = norms.numpy() > asked * np.abs(values).max()
        if (not rough.any() and blocks >= fewest) or basis.count >= MOST_PRODUCTS:
            break
        grow = rough if rough.any() else np.ones(wanted, dtype=bool)
        if basis.dimension + wanted > most:
            kept = most // 2
            basis.compress(weights[None, :, :kept], values[None, :kept])
        if not basis.append(residuals[None, torch.from_numpy(grow).to(residuals.device)]):
            values, weights = (found[..., ::-1] for found in np.linalg.eigh(basis.projected[0]))
            break
    (vectors,), _ = basis.combined(weights[None, :, :wanted])
    return Leading(tuple(quotients.tolist()), vectors, int((quotients[:above] >= level).sum()))
