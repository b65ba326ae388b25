"""Losses as sums over samples, so that any split of the samples adds up exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from jobs.spec.loss_name import LossName

Loss = Callable[[Tensor, Tensor], Tensor]
"""Outputs of shape (samples, outputs) and labels, of shape (samples,) for classes or of the shape
of the outputs for numbers, to a scalar."""


def half_squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """½ Σ (output − target)², summed over outputs and samples."""
    return (outputs - targets(outputs, labels)).square().sum() / 2


def mean_squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """Σ (output − target)² / outputs, summed over samples: of it, torch's MSELoss is the mean."""
    return (outputs - targets(outputs, labels)).square().sum() / outputs.shape[1]


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """−Σ log softmax(outputs)[label], natural logarithm, summed over samples."""
    return functional.cross_entropy(outputs, labels, reduction="sum")


def logistic(outputs: Tensor, labels: Tensor) -> Tensor:
    """Σ log(1 + e^(−y f)) for labels y = ±1, natural logarithm, summed over samples."""
    return functional.softplus(-labels * outputs).sum()


@dataclass(frozen=True)
class SmoothedCrossEntropy:
    """Cross-entropy whose targets have 1 − s at the label, and s shared by all classes; as torch's
    ``label_smoothing``.
    """

    smoothing: float

    def __call__(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The sum over samples."""
        return functional.cross_entropy(
            outputs, labels, reduction="sum", label_smoothing=self.smoothing
        )


@dataclass(frozen=True)
class Huber:
    """Σ of d²/2 where |d| ≤ δ, and δ (|d| − δ/2) beyond, for d = output − target (Huber 1964);
    as torch's ``HuberLoss``.
    """

    delta: float

    def __call__(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The sum over outputs and samples."""
        return functional.huber_loss(
            outputs, targets(outputs, labels), reduction="sum", delta=self.delta
        )


LOSS_SUMS: dict[str, Loss] = {
    "mse": half_squared_error,
    "mse_mean": mean_squared_error,
    "ce": cross_entropy,
    "logistic": logistic,
    "huber": Huber(1.0),
}
"""By their names without an option."""


def named_loss(name: LossName) -> Loss:
    """A loss of this package; equal names have equal losses."""
    if name.base == "huber" and name.value is not None:
        return Huber(name.value)
    return SmoothedCrossEntropy(name.value) if name.value else LOSS_SUMS[name.base]


def correct(outputs: Tensor, labels: Tensor) -> int:
    """How many samples have their largest output at their label; of ±1, an output of that sign."""
    if labels.is_floating_point():
        return int(torch.count_nonzero((outputs * labels > 0).all(dim=1)))
    return int(torch.count_nonzero(outputs.argmax(dim=1) == labels))


def targets(outputs: Tensor, labels: Tensor) -> Tensor:
    """The numbers to be met: the labels themselves, or one-hot where they are classes."""
    if labels.is_floating_point():
        return labels
    # torch's one_hot looks at the numbers first, for which the host waits.
    classes = torch.arange(outputs.shape[1], device=labels.device)
    return (labels[:, None] == classes).to(outputs.dtype)
