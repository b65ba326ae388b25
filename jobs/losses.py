"""Losses as sums over samples, so that any split of the samples adds up exactly."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]
"""Outputs of shape (samples, classes) and labels of shape (samples,) to a scalar."""


def half_squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """½ Σ (output − target)², summed over outputs and samples; targets are one-hot."""
    targets = functional.one_hot(labels, outputs.shape[1]).to(outputs.dtype)
    return (outputs - targets).square().sum() / 2


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """−Σ log softmax(outputs)[label], natural logarithm, summed over samples."""
    return functional.cross_entropy(outputs, labels, reduction="sum")


LOSS_SUMS: dict[str, Loss] = {"mse": half_squared_error, "ce": cross_entropy}


def correct(outputs: Tensor, labels: Tensor) -> int:
    """How many samples have their largest output at their label."""
    return int(torch.count_nonzero(outputs.argmax(dim=1) == labels))
