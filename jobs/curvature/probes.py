"""Means over random vectors: the trace and the Frobenius norm of the Hessian, average sharpness."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from jobs.curvature.krylov import Products
from jobs.objective import Objective

SEED = 2505
"""Of the probes; they are always the same, so that a measurement depends on θ alone."""

ASCENT_SEED = 2306
"""Of the perturbations of average sharpness; they are always the same, too."""

BLOCK = 8
"""Probes that are multiplied together, so that graphs which do not stay in memory are built once
for them all."""


@dataclass(frozen=True)
class Estimate:
    """A mean over random draws, and its standard error: the deviation that it has itself."""

    value: float
    standard_error: float

    @classmethod
    def of(cls, draws: Tensor) -> Estimate:
        """The mean of at least two independent draws, shape (m,): s/√m, s with m − 1."""
        deviation = float(draws.std(correction=1))
        return cls(float(draws.mean()), deviation / math.sqrt(len(draws)))


def hutchinson(
    products: Products,
    like: Tensor,
    probes: int,
    *,
    seed: int = SEED,
    agree: Callable[[Tensor], Tensor] = lambda values: values,
) -> tuple[Estimate, Estimate]:
    """tr H and ‖H‖_F of a symmetric operator H on vectors of shape (P,), by one product a probe.

    For v of independent signs, E vᵀHv = tr H, with variance 2 Σ_{i≠j} H_ij² (Hutchinson 1990), so
    that a diagonal H is exact; and E‖Hv‖² = ‖H‖_F². The norm is the root of the second mean: it is
    too small by about its standard error squared, divided by twice itself.

    Args:
        products: H applied to the rows of a matrix of shape (k, P).
        like: shape (P,), of the vectors' dtype and device.
        probes: how many, at least 2.
        seed: of the probes, which are drawn on the CPU and are the same on every device.
        agree: makes a small tensor the same on all processes that run this together.
    """
    forms, squares = [], []
    for signs in _signs(like, probes, seed):
        images = products(signs)
        forms.append((signs * images).sum(dim=1, dtype=torch.float64))
        norms = torch.linalg.vector_norm(images, dim=1, dtype=torch.float64)
        squares.append(norms.square())
    trace, square = agree(torch.stack([torch.cat(forms), torch.cat(squares)]).cpu())
    return Estimate.of(trace), _root(Estimate.of(square))


def average_sharpness(
    objective: Objective, theta: Tensor, *, radius: float, probes: int, seed: int = ASCENT_SEED
) -> Estimate:
    """E L(θ + δ) − L(θ) for δᵢ ~ N(0, ρ²θᵢ²), independent (Andriushchenko et al., ICML 2023).

    Each draw is the mean over δ and −δ, in which the odd orders of δ cancel and with them most of
    the variance; to second order in ρ the expectation is ½ρ² Σᵢ θᵢ² H_ii.

    Args:
        objective: L; it is evaluated 2 · ``probes`` + 1 times.
        theta: shape (P,).
        radius: ρ.
        probes: pairs of perturbations, at least 2.
        seed: of the perturbations, which are drawn on the CPU and are the same on every device.
    """
    generator = torch.Generator().manual_seed(seed)
    here = objective.evaluate(theta).loss
    rises = []
    for _ in range(probes):
        normal = torch.randn(theta.shape, generator=generator, dtype=torch.float64)
        shift = normal.to(dtype=theta.dtype, device=theta.device).mul_(theta).mul_(radius)
        both = objective.evaluate(theta + shift).loss + objective.evaluate(theta - shift).loss
        rises.append(both / 2 - here)
    return Estimate.of(torch.tensor(rises, dtype=torch.float64))


def _signs(like: Tensor, probes: int, seed: int) -> Iterator[Tensor]:
    """Blocks of probes: matrices of ±1 with P columns."""
    generator = torch.Generator().manual_seed(seed)
    for first in range(0, probes, BLOCK):
        rows = [
            torch.randint(2, like.shape, generator=generator)
            for _ in range(min(BLOCK, probes - first))
        ]
        yield torch.stack(rows).mul_(2).sub_(1).to(dtype=like.dtype, device=like.device)


def _root(square: Estimate) -> Estimate:
    """√x of an estimate of x, its error to first order."""
    root = math.sqrt(max(square.value, 0.0))
    return Estimate(root, square.standard_error / (2 * root) if root > 0 else 0.0)
