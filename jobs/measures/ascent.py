"""How much the loss rises where every parameter is moved at random, in proportion to its size."""

from __future__ import annotations

import torch
from torch import Tensor

from jobs.measures.stochastic import Estimate
from jobs.objective import Objective

SEED = 2306
"""Of the perturbations; they are always the same, so that a measurement depends on θ alone."""


def average_sharpness(
    objective: Objective, theta: Tensor, *, radius: float, probes: int, seed: int = SEED
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
