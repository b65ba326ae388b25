"""The size of θ, whole and tensor by tensor."""

from __future__ import annotations

import torch
from torch import Tensor

from jobs.parameters import Layout


def l1_norm(theta: Tensor) -> float:
    """‖θ‖₁ = Σ|θᵢ|, summed in float64."""
    return float(theta.abs().sum(dtype=torch.float64))


def l2_norm(theta: Tensor) -> float:
    """‖θ‖₂ = √Σθᵢ², summed in float64."""
    return float(theta.double().norm())


def linf_norm(theta: Tensor) -> float:
    """‖θ‖∞ = max |θᵢ|."""
    return float(theta.abs().max())


NORMS = {"l1_norm": l1_norm, "l2_norm": l2_norm, "linf_norm": linf_norm}
"""The norms by their names in the tables."""


def all_norms(layout: Layout, theta: Tensor) -> list[tuple[str, str | None, float]]:
    """(norm, parameter tensor, value) for θ whole, where the tensor is None, and for each tensor.

    Of a tensor it is the norm of its entries as one vector, not that of a matrix.
    """
    parts = [(None, theta), *layout.named(theta).items()]
    return [(name, layer, norm(part)) for layer, part in parts for name, norm in NORMS.items()]
