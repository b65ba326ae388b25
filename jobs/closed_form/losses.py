"""Losses with their first two derivatives by the outputs, over the samples of a chunk.

Outputs and what is of their shape are matrices (outputs, room), one for each trial, of which the
first columns are those of the samples; what stands in the others does not matter, if it is finite.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from jobs.losses import (
    Loss,
    cross_entropy,
    half_squared_error,
    logistic,
    mean_squared_error,
    targets,
)


class LossTerms(ABC):
    """The part of some samples in L, as a function of their outputs.

    Args:
        labels: of the samples.
        like: a matrix of the shape, dtype and device of one trial's outputs.
        samples: n, by which the sums are divided.
    """

    def __init__(self, labels: Tensor, like: Tensor, samples: int) -> None:
        self.count, self.samples = len(labels), samples
        self.targets = torch.zeros_like(like)
        outputs = like[:, : self.count].T
        self.targets[:, : self.count] = targets(outputs, labels).T

    @abstractmethod
    def first(self, outputs: Tensor, out: Tensor) -> Tensor:
        """Write ∂L/∂outputs; returns L of each trial."""

    @abstractmethod
    def curvature(self, outputs: Tensor) -> Tensor | None:
        """What :meth:`second` needs of the point."""

    @abstractmethod
    def second(self, curvature: Tensor | None, direction: Tensor, out: Tensor) -> None:
        """Write ∂²L/∂outputs² applied to a direction."""


class _SquaredError(LossTerms):
    """weight/2 · Σ (output − target)²."""

    def __init__(self, labels: Tensor, like: Tensor, samples: int) -> None:
        super().__init__(labels, like, samples)
        self.weight = 1 / samples

    def first(self, outputs: Tensor, out: Tensor) -> Tensor:
        torch.sub(outputs, self.targets, out=out)
        losses = out.square().sum((-2, -1)).mul_(self.weight / 2)
        out.mul_(self.weight)
        return losses

    def curvature(self, outputs: Tensor) -> Tensor | None:
        return None

    def second(self, curvature: Tensor | None, direction: Tensor, out: Tensor) -> None:
        torch.mul(direction, self.weight, out=out)


class _MeanSquaredError(_SquaredError):
    def __init__(self, labels: Tensor, like: Tensor, samples: int) -> None:
        super().__init__(labels, like, samples)
        self.weight = 2 / (len(like) * samples)


class _CrossEntropy(LossTerms):
    """Σ log Σⱼ e^(outputⱼ) − output[label]; its second derivative is diag(p) − p pᵀ."""

    def first(self, outputs: Tensor, out: Tensor) -> Tensor:
        shifted = outputs - outputs.amax(-2, keepdim=True)
        total = torch.exp(shifted, out=out).sum(-2, keepdim=True)
        chosen = shifted.mul_(self.targets).sum(-2, keepdim=True)
        out.div_(total).sub_(self.targets).mul_(1 / self.samples)
        of_samples = total.log_().sub_(chosen)[..., : self.count]
        return of_samples.sum((-2, -1)).mul_(1 / self.samples)

    def curvature(self, outputs: Tensor) -> Tensor | None:
        return torch.softmax(outputs, -2)

    def second(self, curvature: Tensor | None, direction: Tensor, out: Tensor) -> None:
        assert curvature is not None
        torch.mul(direction, curvature, out=out)
        mean = out.sum(-2, keepdim=True)
        out.sub_(mean * curvature).mul_(1 / self.samples)


class _Logistic(LossTerms):
    """Σ log(1 + e^(−y f)), y = ±1."""

    def first(self, outputs: Tensor, out: Tensor) -> Tensor:
        margins = outputs * self.targets
        of_samples = functional.softplus(-margins)[..., : self.count]
        torch.sigmoid(margins.neg_(), out=out)
        out.mul_(self.targets).mul_(-1 / self.samples)
        return of_samples.sum((-2, -1)).mul_(1 / self.samples)

    def curvature(self, outputs: Tensor) -> Tensor | None:
        chance = torch.sigmoid(outputs * self.targets)
        return (1 - chance).mul_(chance).mul_(self.targets.square()).mul_(1 / self.samples)

    def second(self, curvature: Tensor | None, direction: Tensor, out: Tensor) -> None:
        assert curvature is not None
        torch.mul(direction, curvature, out=out)


TERMS: dict[Loss, Callable[[Tensor, Tensor, int], LossTerms]] = {
    half_squared_error: _SquaredError,
    mean_squared_error: _MeanSquaredError,
    cross_entropy: _CrossEntropy,
    logistic: _Logistic,
}


def fit(loss: Loss, labels: Tensor, samples: int, outputs: int) -> bool:
    """Whether the derivatives of a loss are known, for labels of this kind."""
    numbers = labels.is_floating_point()
    if numbers and labels.shape != (samples, outputs):
        return False
    if not numbers and (labels.shape != (samples,) or labels.dtype != torch.int64):
        return False
    if loss is cross_entropy:
        return not numbers
    if loss is logistic:
        return numbers
    return loss in TERMS
