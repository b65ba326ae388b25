"""What is measured of a point θ: its norms, and its sharpness."""

from __future__ import annotations

import torch
from torch import Tensor

from jobs.eigenvalues import Ends, ExtremalEigenvalues
from jobs.objective import Objective
from jobs.sharpness import SharpnessMeter


def l1_norm(theta: Tensor) -> float:
    """‖θ‖₁ = Σ|θᵢ|, summed in float64."""
    return float(theta.abs().sum(dtype=torch.float64))


def l2_norm(theta: Tensor) -> float:
    """‖θ‖₂ = √Σθᵢ², summed in float64."""
    return float(theta.double().norm())


def sharpness(
    objective: Objective, theta: Tensor, *, rtol: float, ends: Ends = "both"
) -> ExtremalEigenvalues:
    """The ends of the spectrum of ∇²L(θ); see :func:`jobs.eigenvalues.extremal_eigenvalues`.

    The start vector is always the same, so that a measurement depends on θ alone and not on what
    was measured before it.
    """
    return SharpnessMeter(objective, rtol).measure(theta, ends)
