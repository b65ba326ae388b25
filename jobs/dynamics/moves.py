"""What optimisers make of gradients: the move of one step, and the preconditioner."""

from __future__ import annotations

import torch
from torch import Tensor

from jobs.spec import Optimizer

Moments = tuple[Tensor, ...]
"""What an optimiser remembers of earlier gradients, each of the shape of θ: m, v, or both."""


def first_moments(optimizer: Optimizer, theta: Tensor) -> Moments:
    """What is remembered before the first step: zeros."""
    count = {"gd": 0, "adam": 2}.get(optimizer.name, 1)
    return tuple(torch.zeros_like(theta) for _ in range(count))


def corrects(optimizer: Optimizer) -> bool:
    """Whether the size of a step depends on its number."""
    return optimizer.name == "adam"


def corrected(optimizer: Optimizer, learning_rate: float, t: int) -> list[float]:
    """η / (1 − βᵗ), and 1 / √(1 − β₂ᵗ) by which Adam's √v is multiplied, in step t = 1, 2, …"""
    beta, beta2 = optimizer.momentum or 0.0, optimizer.beta2 or 0.0
    return [learning_rate / (1 - beta**t), (1 - beta2**t) ** -0.5]


def move(
    optimizer: Optimizer, sizes: Tensor, gradients: Tensor, moments: Moments
) -> tuple[Tensor, Moments]:
    """What is taken from θ, shape (K, P), and the moments afterwards.

    Args:
        optimizer: see :class:`jobs.spec.Optimizer` for the formulas.
        sizes: η of each, shape (K, 1); where :func:`corrects`, those of :func:`corrected`, (K, 2).
        gradients: ∇L(θ), shape (K, P).
        moments: those before the step.
    """
    eta, name = sizes[:, :1], optimizer.name
    if name == "gd":
        return eta * gradients, ()
    beta, beta2 = optimizer.momentum or 0.0, optimizer.beta2 or 0.0
    damping = optimizer.damping or 0.0
    if name == "rmsprop":
        squares = _averaged(moments[0], gradients.square(), beta2)
        return eta * (gradients / (squares.sqrt() + damping)), (squares,)
    if name == "adam":
        mean = _averaged(moments[0], gradients, beta)
        squares = _averaged(moments[1], gradients.square(), beta2)
        return eta * (mean / (squares.sqrt() * sizes[:, 1:] + damping)), (mean, squares)
    velocity = beta * moments[0] + gradients
    along = gradients + beta * velocity if name == "nesterov" else velocity
    return eta * along, (velocity,)


def preconditioner(
    optimizer: Optimizer, step: int, gradient: Tensor, moments: Moments
) -> Tensor | None:
    """The diagonal of P in the step from θ, shape (P,); None where P is the identity.

    √v + δ for RMSProp, and (1 − βᵗ) (√(v / (1 − β₂ᵗ)) + δ) for Adam (Cohen et al. 2022), with v as
    it is in that step, t = ``step`` + 1.

    Args:
        optimizer: the optimiser.
        step: the steps that were made before.
        gradient: ∇L(θ), shape (P,).
        moments: those after these steps, each of shape (P,).
    """
    if not optimizer.is_adaptive:
        return None
    beta2, damping = optimizer.beta2 or 0.0, optimizer.damping or 0.0
    squares = _averaged(moments[-1], gradient.square(), beta2)
    if optimizer.name == "rmsprop":
        return squares.sqrt() + damping
    t, beta = step + 1, optimizer.momentum or 0.0
    correction: float = (1 - beta2**t) ** -0.5
    return (squares.sqrt() * correction + damping) * (1 - beta**t)


def _averaged(mean: Tensor, new: Tensor, decay: float) -> Tensor:
    return decay * mean + (1 - decay) * new
