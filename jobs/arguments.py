"""What Python users give to ``Objective.from_module``, checked: each error names the argument."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jobs.losses import Loss, named_loss
from jobs.spec.loss_name import LOSSES, LossName, loss_name
from jobs.spec.values import SpecError

ADDITIVITY_RTOL = 1e-3
"""How far the loss of two samples may be from the sum of their own losses: far more than rounding
in float32, and far less than the factor 2 between a sum and a mean."""


class ArgumentError(ValueError):
    """An argument that cannot be used; says which, what it is, and what would be right."""


def loss_sum(loss: str | Loss) -> Loss:
    """The loss of this name, or the callable itself.

    Raises:
        ArgumentError: there is none of this name.
    """
    if isinstance(loss, str):
        try:
            name = loss_name(loss)
        except SpecError:
            name = None
        if not isinstance(name, LossName):
            raise ArgumentError(
                f"loss is {loss!r}; it must be one of {', '.join(LOSSES)}, or a callable of "
                "outputs and targets that sums over samples"
            )
        return named_loss(name)
    if not callable(loss):
        raise ArgumentError(f"loss is {loss!r}; it must be a name or a callable")
    return loss


def check_tensors(module: nn.Module, inputs: Tensor, targets: Tensor) -> None:
    """Make sure that module and tensors go together: samples, dtypes and devices.

    Raises:
        ArgumentError: they do not.
    """
    if not isinstance(module, nn.Module):
        raise ArgumentError(f"module is {type(module).__name__}; it must be a torch.nn.Module")
    for name, tensor in (("inputs", inputs), ("targets", targets)):
        if not isinstance(tensor, Tensor):
            raise ArgumentError(f"{name} is {type(tensor).__name__}; it must be a torch.Tensor")
    if inputs.ndim == 0 or targets.ndim == 0 or len(inputs) != len(targets) or len(inputs) == 0:
        raise ArgumentError(
            f"inputs has the shape {tuple(inputs.shape)} and targets {tuple(targets.shape)}; the "
            "first dimension of both must be the number of samples, at least 1"
        )
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if not trained:
        raise ArgumentError("module has no parameter with requires_grad; it must have one")
    kinds = {(p.dtype, p.device) for p in trained.values()}
    if len(kinds) > 1:
        found = "; ".join(f"{name} {p.dtype} on {p.device}" for name, p in trained.items())
        raise ArgumentError(
            f"module has parameters of several dtypes or devices ({found}); they must have one "
            "dtype and be on one device"
        )
    ((dtype, device),) = kinds
    if dtype not in (torch.float32, torch.float64):
        raise ArgumentError(
            f"module is of {dtype}; it must be of torch.float32 or torch.float64, with "
            "module.float() or module.double()"
        )
    for name, tensor in (("inputs", inputs), ("targets", targets)):
        if tensor.device != device:
            raise ArgumentError(
                f"{name} is on {tensor.device} and module on {device}; they must be on one device: "
                f"use {name}.to({str(device)!r})"
            )
        if tensor.is_floating_point() and tensor.dtype != dtype:
            raise ArgumentError(
                f"{name} is of {tensor.dtype} and module of {dtype}; they must have one dtype: use "
                f"{name}.to({dtype})"
            )


def check_loss(module: nn.Module, loss: str | Loss, inputs: Tensor, targets: Tensor) -> None:
    """Make sure that the loss of the module's outputs is a sum over samples.

    Raises:
        ArgumentError: module or loss cannot take the first samples, or the loss of the first two is
            not the sum of the loss of each.
    """

    def of(part: slice) -> float:
        return _loss_of(module, loss, inputs[part], targets[part], targets)

    both, each = of(slice(0, 2)), [of(slice(i, i + 1)) for i in range(len(inputs[:2]))]
    if abs(both - sum(each)) > ADDITIVITY_RTOL * max(abs(both), abs(sum(each))):
        raise ArgumentError(
            f"loss is {both:.6g} for the first two samples together and {each[0]:.6g} and "
            f"{each[1]:.6g} for each alone; it must be a sum over samples, with reduction='sum' in "
            "torch's losses, and module must neither mix samples nor be random"
        )


def _loss_of(
    module: nn.Module, loss: str | Loss, inputs: Tensor, targets: Tensor, every: Tensor
) -> float:
    """The loss of some samples; ``every`` holds the targets of all."""
    with torch.no_grad():
        try:
            outputs = module(inputs)
        except Exception as error:
            raise ArgumentError(
                f"module fails on inputs of the shape {tuple(inputs.shape)} and {inputs.dtype}: "
                f"{error}"
            ) from error
        if not isinstance(outputs, Tensor):
            raise ArgumentError(
                f"module returns {type(outputs).__name__}; it must return one torch.Tensor"
            )
        if isinstance(loss, str):
            _check_targets(loss, outputs, targets, every)
        try:
            value = loss_sum(loss)(outputs, targets)
        except Exception as error:
            raise ArgumentError(
                f"loss fails on outputs of the shape {tuple(outputs.shape)} and targets of the "
                f"shape {tuple(targets.shape)} and {targets.dtype}: {error}"
            ) from error
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ArgumentError(f"loss returns {shape}; it must return a tensor with one number")
    return float(value)


def _check_targets(loss: str, outputs: Tensor, targets: Tensor, every: Tensor) -> None:
    """Make sure that a loss of the project's can compare outputs with targets.

    The targets are those of the outputs' samples, and ``every`` those of all.
    """
    if outputs.ndim != 2:
        raise ArgumentError(
            f"module returns the shape {tuple(outputs.shape)}; with loss {loss!r} it must be "
            "(samples, outputs)"
        )
    given = f"targets has the shape {tuple(targets.shape)} and {targets.dtype}; with loss {loss!r} "
    numbers = targets.is_floating_point() and targets.shape == outputs.shape
    classes = targets.dtype == torch.int64 and targets.ndim == 1
    of_outputs = f"numbers of the shape of the outputs, (samples, {outputs.shape[1]})"
    of_classes = "classes of the shape (samples,) and torch.int64"
    if loss.startswith("ce") and not classes:
        raise ArgumentError(f"{given}it must be {of_classes}")
    if loss == "logistic" and not numbers:
        raise ArgumentError(f"{given}it must be ±1 as {of_outputs}")
    if not (numbers or classes):
        raise ArgumentError(f"{given}it must be {of_outputs}, or {of_classes}")
    if classes and not 0 <= int(every.min()) <= int(every.max()) < outputs.shape[1]:
        raise ArgumentError(
            f"targets has classes from {int(every.min())} to {int(every.max())}; they must be "
            f"from 0 to {outputs.shape[1] - 1}, one for each output"
        )
