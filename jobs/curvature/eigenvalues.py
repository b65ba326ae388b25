"""Both ends of the spectrum of a symmetric operator, with residuals; cold or warm started."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from jobs.curvature.krylov import Bases, BatchedProducts, Products
from jobs.curvature.ritz import Demand, Ends, ExtremalEigenvalues, Spaces
from jobs.spec import LEAST_RTOL


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
    found = extremal_eigenvalues_together(
        lambda vectors: products(vectors[0])[None],
        start.reshape(1, -1, start.shape[-1]),
        rtol=rtol,
        ends=ends,
        lambda_min_rtol=lambda_min_rtol,
        keep=keep,
        max_products=max_products,
        most_vectors=most_vectors,
        agree=agree,
    )[0]
    assert found is not None  # one alone is always in step
    return found


def extremal_eigenvalues_together(
    products: BatchedProducts,
    starts: Tensor,
    *,
    rtol: float,
    ends: Ends = "both",
    lambda_min_rtol: float | None = None,
    keep: int = 0,
    max_products: int = 300,
    most_vectors: int = 40,
    agree: Callable[[Tensor], Tensor] = lambda values: values,
    only: Callable[[Tensor], None] | None = None,
) -> list[ExtremalEigenvalues | None]:
    """As :func:`extremal_eigenvalues` of K operators at once, in step with each other.

    What is found of one operator, and after how many products, does not depend on the others; on
    one CPU thread no bit of it does, if the same holds for ``products``. One that falls out of
    step, because a direction adds something to the other spaces and nothing to its own, is None:
    it is to be measured by itself.

    Args:
        products: the operators; each is applied to the rows of its matrix, shape (K, k, P).
        starts: shape (K, k, P).
        rtol, ends, lambda_min_rtol, keep, max_products, most_vectors, agree: as there.
        only: called when half of the operators or more are done, with the places of the others
            among those that are left: from then on ``products`` is given vectors for them alone.

    Raises:
        ValueError: no row of the starts is finite and not zero.
    """
    rows = starts[:, :max_products]
    bases = Bases(products, rows, agree)
    floor = LEAST_RTOL[str(starts.dtype).removeprefix("torch.")]
    demand = Demand(rtol, ends, lambda_min_rtol, floor)
    spaces = Spaces(bases, demand, max(most_vectors, rows.shape[1] + 2, 8))
    results: list[ExtremalEigenvalues | None] = [None] * len(starts)
    while True:
        for row, search in spaces.judge():
            found, finite = search.found, math.isfinite(search.found.sharpness)
            over = search.exhausted or not finite or search.stagnates()
            if found.converged or over or bases.count >= max_products:
                vectors = spaces.best(row, keep) if keep > 0 and finite else None
                results[search.number] = replace(found, vectors=vectors)
                search.done = True
        if not (left := spaces.active):
            return results
        if only is not None and 2 * len(left) <= len(bases):
            only(torch.tensor(left))
            spaces.keep(left)
        spaces.expand()
