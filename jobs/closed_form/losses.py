"""Losses with their first two derivatives by the outputs, over the samples of a chunk.

Outputs and what is of their shape are matrices (outputs, room), one for each trial, of which the
first columns are those of the samples; what stands in the others does not matter, if it is finite.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable

import torch
from torch import Tensor
from torch.nn import functional

from jobs.losses import (
    Huber,
    Loss,
    SmoothedCrossEntropy,
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
    """Σ log Σⱼ e^(outputⱼ) − Σⱼ tⱼ outputⱼ; its second derivative is diag(p) − p pᵀ.

    The targets t are those of label smoothing; without it, one-hot.
    """

    def __init__(self, labels: Tensor, like: Tensor, samples: int, smoothing: float = 0.0) -> None:
        super().__init__(labels, like, samples)
        if smoothing:
            of_samples = self.targets[:, : self.count]
            of_samples.mul_(1 - smoothing).add_(smoothing / len(like))

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


class _Huber(LossTerms):
    """Σ d²/2 where |d| ≤ δ, δ (|d| − δ/2) beyond, d = output − target."""

    def __init__(self, labels: Tensor, like: Tensor, samples: int, delta: float) -> None:
        super().__init__(labels, like, samples)
        self.delta = delta

    def first(self, outputs: Tensor, out: Tensor) -> Tensor:
        torch.sub(outputs, self.targets, out=out)
        far = out[..., : self.count].abs()
        near = far.clamp(max=self.delta)  # near (far − near/2) is the one and the other
        losses = far.sub_(near / 2).mul_(near).sum((-2, -1)).mul_(1 / self.samples)
        out.clamp_(-self.delta, self.delta).mul_(1 / self.samples)
        return losses

    def curvature(self, outputs: Tensor) -> Tensor | None:
        near = (outputs - self.targets).abs_() <= self.delta
        return near.to(outputs.dtype).mul_(1 / self.samples)

    def second(self, curvature: Tensor | None, direction: Tensor, out: Tensor) -> None:
        assert curvature is not None
        torch.mul(direction, curvature, out=out)


Terms = Callable[[Tensor, Tensor, int], LossTerms]

_TERMS: dict[Loss, Terms] = {
    half_squared_error: _SquaredError,
    mean_squared_error: _MeanSquaredError,
    cross_entropy: _CrossEntropy,
    logistic: _Logistic,
}


def terms_of(loss: Loss) -> Terms | None:
    """The terms of a loss whose derivatives are known; None for others."""
    if isinstance(loss, SmoothedCrossEntropy):
        return functools.partial(_CrossEntropy, smoothing=loss.smoothing)
    if isinstance(loss, Huber):
        return functools.partial(_Huber, delta=loss.delta)
    return _TERMS.get(loss) if isinstance(loss, Hashable) else None


def fit(loss: Loss, labels: Tensor, samples: int, outputs: int) -> bool:
    """Whether the derivatives of a loss are known, for labels of this kind."""
    numbers = labels.is_floating_point()
    if numbers and labels.shape != (samples, outputs):
        return False
    if not numbers and (labels.shape != (samples,) or labels.dtype != torch.int64):
        return False
    if loss is cross_entropy or isinstance(loss, SmoothedCrossEntropy):
        return not numbers
    if loss is logistic:
        return numbers
    return terms_of(loss) is not None
