"""``diagonal`` and ``diagonal-difference``: linear predictors ⟨β, x⟩ with β a power of weights.

All weights start at 1, and a problem's ``init_scale`` makes that α, the usual name of the scale.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Diagonal(nn.Module):
    """f(x) = ⟨w^depth, x⟩, the power taken of every weight."""

    def __init__(self, features: int, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.weight = nn.Parameter(torch.ones(features))

    def forward(self, inputs: Tensor) -> Tensor:
        """(samples, features) to (samples, 1)."""
        return inputs @ self.weight.pow(self.depth)[:, None]


class DiagonalDifference(nn.Module):
    """f(x) = ⟨u∘u − v∘v, x⟩, whose β can have either sign, and starts at 0."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.u = nn.Parameter(torch.ones(features))
        self.v = nn.Parameter(torch.ones(features))

    def forward(self, inputs: Tensor) -> Tensor:
        """(samples, features) to (samples, 1)."""
        return inputs @ (self.u.square() - self.v.square())[:, None]
