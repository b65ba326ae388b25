"""The sharpness of a module, or again and again along a trajectory: warm starts and audits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from jobs.arguments import ArgumentError
from jobs.curvature.eigenvalues import (
    extremal_eigenvalues,
    extremal_eigenvalues_together,
    start_vector,
)
from jobs.curvature.hessian import BatchedHessian, Hessian
from jobs.curvature.ritz import Ends, ExtremalEigenvalues
from jobs.losses import Loss
from jobs.objective import Objective
from jobs.spec import LEAST_RTOL

WARM_VECTORS = 3
"""Eigenvectors of the last measurement with which the next one begins. At the edge of stability the
top eigenvalues lie close together, so that a single vector would often be the wrong one."""

AUDIT_EVERY = 10
"""One in so many measurements starts cold, and has a better chance of finding an eigenvalue that
grew out of directions which the old eigenvectors do not see. Until then a warm start may miss it,
and say that it converged; the next one, with another random vector, has a chance of its own."""


@dataclass(frozen=True)
class Sharpness:
    """S = max |λ| of the Hessian of a training loss, and how good it is.

    ``residual`` is ‖Hv − λv‖ / S for the unit ``eigenvector`` v of shape (P,): H has an eigenvalue
    within ``residual · value`` of it. ``converged`` says that both ends of the spectrum satisfy the
    tolerance. ``lambda_max`` and ``lambda_min`` are the ends, and ``products`` counts the
    Hessian-vector products.
    """

    value: float
    residual: float
    converged: bool
    lambda_max: float
    lambda_min: float
    products: int
    eigenvector: Tensor | None = field(repr=False, compare=False)


def sharpness(
    module: nn.Module, loss: str | Loss, inputs: Tensor, targets: Tensor, *, rtol: float = 1e-3
) -> Sharpness:
    """The sharpness of a torch module, at the parameters that it has now.

    The training loss is L(θ) = 1/n Σᵢ ℓ(f(θ, xᵢ), yᵢ) over all n samples. The measurement depends
    on the arguments alone: it begins with a vector that is always the same.

    >>> import torch
    >>> line = torch.nn.Linear(2, 1, bias=False, dtype=torch.float64)
    >>> x = torch.tensor([[3.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    >>> y = torch.zeros(2, 1, dtype=torch.float64)
    >>> found = sharpness(line, "mse", x, y)  # H = xᵀx/2 = diag(4.5, 0.5)
    >>> round(found.value, 6), round(found.lambda_min, 6), found.converged
    (4.5, 0.5, True)

    Args:
        module, loss, inputs, targets: as of :meth:`jobs.objective.Objective.from_module`.
        rtol: the residual asked of both ends of the spectrum, relative to S; at least
            :data:`jobs.spec.LEAST_RTOL` of the dtype.

    Raises:
        ArgumentError, NetworkError: an argument cannot be used; says which, and what is right.
    """
    objective = Objective.from_module(module, loss, inputs, targets)
    theta = objective.theta()
    least = LEAST_RTOL[str(theta.dtype).removeprefix("torch.")]
    if not least <= rtol < 1:
        raise ArgumentError(
            f"rtol is {rtol}; it must be from {least:g} in {theta.dtype} to below 1"
        )
    found = sharpness_at(objective, theta, rtol=rtol)
    return Sharpness(
        value=found.sharpness,
        residual=found.residual,
        converged=found.converged,
        lambda_max=found.lambda_max,
        lambda_min=found.lambda_min,
        products=found.products,
        eigenvector=None if found.vectors is None else found.vectors[0],
    )


def sharpness_at(
    objective: Objective,
    theta: Tensor,
    *,
    rtol: float,
    ends: Ends = "both",
    lambda_min_rtol: float | None = None,
) -> ExtremalEigenvalues:
    """The ends of the spectrum of ∇²L(θ): :func:`~jobs.curvature.eigenvalues.extremal_eigenvalues`.

    The start vector is always the same, so that a measurement depends on θ alone and not on what
    was measured before it.
    """
    return SharpnessMeter(objective, rtol, lambda_min_rtol).measure(theta, ends)


class SharpnessMeter:
    """Measures both ends of the spectrum of ∇²L(θ) at points that follow one another.

    A measurement begins with the eigenvectors of the one before and a pseudo-random vector, another
    one for each measurement since the last audit; an audit with a vector that is always the same.

    Args:
        objective: L.
        rtol: the residual asked of every eigenpair, relative to the sharpness.
        lambda_min_rtol: the residual asked of λ_min besides, relative to |λ_min|, where both ends
            are measured.
    """

    def __init__(
        self, objective: Objective, rtol: float, lambda_min_rtol: float | None = None
    ) -> None:
        self._objective, self._rtol, self._lambda_min_rtol = objective, rtol, lambda_min_rtol
        self._vectors: Tensor | None = None
        self._since_audit = 0

    def measure(
        self,
        theta: Tensor,
        ends: Ends = "dominant",
        *,
        audit: bool = False,
        scale: Tensor | None = None,
    ) -> ExtremalEigenvalues:
        """The ends of the spectrum at θ: :func:`~jobs.curvature.eigenvalues.extremal_eigenvalues`.

        With ``audit`` the measurement depends on θ alone, and not on what was measured before. With
        a ``scale`` d of shape (P,) it is that of diag(d) H diag(d).
        """
        products = Hessian(self._objective, theta).products
        found = extremal_eigenvalues(
            products if scale is None else lambda vectors: scale * products(scale * vectors),
            self.start(theta, audit=audit),
            ends=ends,
            agree=self._objective.agree,
            **self._asked,
        )
        self._vectors = found.vectors
        return found

    @property
    def _asked(self) -> dict[str, Any]:
        return {
            "rtol": self._rtol,
            "lambda_min_rtol": self._lambda_min_rtol,
            "keep": WARM_VECTORS,
        }

    def start(self, theta: Tensor, *, audit: bool) -> Tensor:
        """The start vectors of the next measurement, shape (k, P)."""
        if self._vectors is None or audit or self._since_audit >= AUDIT_EVERY - 1:
            self._since_audit = 0
        else:
            self._since_audit += 1
        start = start_vector(len(theta), theta, self._since_audit)[None]
        if self._since_audit:
            assert self._vectors is not None
            start = torch.cat([self._vectors, start])
        return start

    def take(self, found: ExtremalEigenvalues) -> None:
        """Take in a measurement from these vectors that was made elsewhere; its products, and the
        gradient of its graph, are counted.
        """
        self._vectors = found.vectors
        self._objective.count(gradients=1, hvps=found.products)

    def state(self) -> tuple[int, Tensor | None]:
        """What a checkpoint must keep: the measurements since the last audit, and the vectors."""
        return self._since_audit, self._vectors

    def restore(self, since_audit: int, vectors: Tensor | None) -> None:
        """Take up the state that :meth:`state` gave."""
        self._since_audit, self._vectors = since_audit, vectors


def measure_together(
    meters: Sequence[SharpnessMeter],
    thetas: Tensor,
    ends: Ends,
    *,
    audit: bool = False,
    scales: Tensor | None = None,
) -> list[ExtremalEigenvalues]:
    """What each meter measures at its row of ``thetas``, shape (K, P), as one computation; with
    its row of ``scales``, where there are any.

    The meters are of one loss and one tolerance, of one rank. Each has its own products counted,
    and the gradient of its graph. On one CPU thread, what it finds depends on no other.
    """
    if len(meters) == 1:
        scale = None if scales is None else scales[0]
        return [meters[0].measure(thetas[0], ends, audit=audit, scale=scale)]
    starts = [meter.start(theta, audit=audit) for meter, theta in zip(meters, thetas, strict=True)]
    points = (thetas, scales)
    alike: dict[int, list[int]] = defaultdict(list)
    for row, start in enumerate(starts):
        alike[len(start)].append(row)
    results: dict[int, ExtremalEigenvalues] = {}
    for rows in alike.values():
        results |= dict(zip(rows, _together(meters, points, starts, rows, ends), strict=True))
    for row, meter in enumerate(meters):
        meter.take(results[row])
    return [results[row] for row in range(len(meters))]


def _together(
    meters: Sequence[SharpnessMeter],
    points: tuple[Tensor, Tensor | None],
    starts: Sequence[Tensor],
    rows: Sequence[int],
    ends: Ends,
) -> list[ExtremalEigenvalues]:
    """Measurements with equally many start vectors; one that falls out of step comes by itself."""
    first, (thetas, scales) = meters[rows[0]], points
    operator: BatchedHessian | _Scaled
    operator = hessian = BatchedHessian(first._objective, thetas[list(rows)])
    if scales is not None:
        operator = _Scaled(hessian, scales[list(rows)])
    start = torch.stack([starts[row] for row in rows])
    found = extremal_eigenvalues_together(
        operator.products, start, ends=ends, only=operator.only, **first._asked
    )
    return [
        _together(meters, points, starts, [row], ends)[0] if one is None else one
        for row, one in zip(rows, found, strict=True)
    ]


class _Scaled:
    """diag(dᵢ) H(θᵢ) diag(dᵢ) at K points; d of shape (K, P)."""

    def __init__(self, hessian: BatchedHessian, scales: Tensor) -> None:
        self._hessian, self._scales = hessian, scales[:, None]

    def products(self, vectors: Tensor) -> Tensor:
        """The operators applied to the rows of matrix i, shape (K, k, P)."""
        return self._scales * self._hessian.products(self._scales * vectors)

    def only(self, rows: Tensor) -> None:
        """Go on with some of the points alone."""
        self._scales = self._scales[rows.to(self._scales.device)]
        self._hessian.only(rows)
