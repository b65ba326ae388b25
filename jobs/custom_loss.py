"""Losses of the user's own: a function in a file, ``FILE.py:FUNCTION@DIGEST``.

It takes the network's outputs, shape (samples, outputs), and the labels, int64 of shape (samples,)
for classes or of the shape of the outputs for numbers, and returns the loss of each sample, shape
(samples,). Autograd differentiates it twice. Where its file lies in this process is told to
:func:`jobs.models.custom.register`; it must stand alone, as that of a network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from jobs.curvature.hessian import Hessian
from jobs.datasets.source import Shape
from jobs.losses import Loss, named_loss
from jobs.models import custom
from jobs.models.examination import product_is_right
from jobs.models.user_code import user_code, user_forward
from jobs.network_requirements import NetworkError
from jobs.objective import Objective
from jobs.parameters import Layout
from jobs.spec.loss_name import loss_name
from jobs.spec.network_name import NetworkName

TRIED = 6
"""Samples at which a loss is tried."""

RTOL = 1e-9


class LossError(ValueError):
    """A loss of the user's own that cannot be used; says why, and what would be right."""


@dataclass(frozen=True)
class CustomLoss:
    """The sum over samples of a user's loss."""

    name: NetworkName

    def __call__(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The sum of the loss of each sample.

        Raises:
            NetworkError: the user's code would have ended the process.
        """
        with user_forward(f"loss {self.name.short} failed"):
            each: Tensor = _function(self.name)(outputs, labels)
        return each.sum()


def loss_of(name: str, shape: Shape) -> Loss:
    """The loss of a problem, for data of this shape.

    Raises:
        LossError: it is one of the user's own that cannot be used; each is tried once in a process.
    """
    found = loss_name(name)
    if not isinstance(found, NetworkName):
        return named_loss(found)
    key = found, shape.kind, shape.outputs
    if key not in _tried:
        try:
            _try(found, shape)
        except NetworkError as error:
            raise LossError(str(error)) from error.__cause__
        _tried.add(key)
    return CustomLoss(found)


_tried: set[tuple[NetworkName, str, int]] = set()


def _function(name: NetworkName, *, second: bool = False) -> Callable[..., Any]:
    assert name.digest is not None
    module = custom.module_of(name.file, name.digest, second, "loss")
    function = getattr(module, name.factory, None)
    if not callable(function):
        raise NetworkError(
            f"loss {name.short}: there is no function {name.factory} in the file; define one"
        )
    found: Callable[..., Any] = function
    return found


def _try(name: NetworkName, shape: Shape) -> None:
    """Try a loss in float64 at random outputs.

    Raises:
        NetworkError: it fails, gives something else than a number for each sample, mixes samples,
            is random, or has no right second derivative.
    """
    called = f"loss {name.short}"
    generator = torch.Generator().manual_seed(0)
    outputs = 2 * torch.randn(TRIED, shape.outputs, dtype=torch.float64, generator=generator)
    if shape.kind == "classes":
        labels = torch.arange(TRIED) % shape.outputs
    else:
        labels = torch.randn(TRIED, shape.outputs, dtype=torch.float64, generator=generator)
        labels = labels.sign() if shape.kind == "signs" else labels
    with user_code(f"{called}: on outputs of shape {tuple(outputs.shape)} it failed"):
        each, again = (_function(name)(outputs.clone(), labels.clone()) for _ in range(2))
        elsewhere = _function(name, second=True)(outputs.clone(), labels.clone())
        alone = [_function(name)(outputs[i : i + 1], labels[i : i + 1]) for i in range(TRIED)]
    if not isinstance(each, Tensor) or each.shape != (TRIED,) or each.dtype != torch.float64:
        what = f"{tuple(each.shape)} and {each.dtype}" if isinstance(each, Tensor) else type(each)
        raise NetworkError(
            f"{called}: it returned {what} for {TRIED} samples of float64; it must return the loss "
            f"of each sample, of shape ({TRIED},) and float64"
        )
    if not each.isfinite().all():
        raise NetworkError(f"{called}: it is not finite at random outputs; it must be")
    for other in (again, elsewhere, torch.cat(alone)):
        if not torch.allclose(each, other, rtol=RTOL, atol=1e-12):
            raise NetworkError(
                f"{called}: the loss of a sample depends on others or on chance; it must be a "
                "function of its outputs and its label"
            )
    _check_derivatives(CustomLoss(name), outputs, labels, called)


def _check_derivatives(loss: CustomLoss, outputs: Tensor, labels: Tensor, called: str) -> None:
    """Make sure that products with the Hessian are differences of gradients, for a linear network
    with an input for each sample: its parameters are the outputs.
    """
    network = nn.Linear(len(outputs), outputs.shape[1], bias=False, dtype=torch.float64)
    inputs = torch.eye(len(outputs), dtype=torch.float64)
    objective = Objective(network, Layout.of(network), loss, inputs, labels)
    theta = outputs.T.reshape(-1).clone()
    with user_code(f"{called}: it cannot be differentiated twice"):
        Hessian(objective, theta) @ theta
    if not any(product_is_right(objective, theta, seed) for seed in range(3)):
        raise NetworkError(
            f"{called}: its second derivative is not that of its first; every operation must have "
            "a right one, and detached tensors have none"
        )
