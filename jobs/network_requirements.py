"""Which networks a trial can use: losses that are sums over samples, differentiable twice."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.utils.hooks import RemovableHandle


class NetworkError(ValueError):
    """A network that full-batch gradient descent with exact curvature cannot use."""


def refuse_unfit(module: nn.Module) -> None:
    """Make sure that the loss of a network is a sum over samples, the same at every evaluation.

    Raises:
        NetworkError: it is wrapped for data parallelism, normalises over the batch, or is random.
    """
    for name, layer in module.named_modules():
        place = f"module {name or 'itself'} is {type(layer).__name__}"
        if isinstance(layer, (DistributedDataParallel, DataParallel)):
            raise NetworkError(
                f"{place}, whose gradients are means over ranks; give the module it wraps "
                "(.module): ranks are summed here"
            )
        if isinstance(layer, _BatchNorm) and (layer.training or layer.running_mean is None):
            raise NetworkError(
                f"{place} in training mode, which mixes the samples of a batch; it must be in "
                "evaluation mode, or another normalisation such as GroupNorm"
            )
        if isinstance(layer, _DropoutNd) and layer.training and layer.p > 0:
            raise NetworkError(
                f"{place} in training mode, which is random; it must be in evaluation mode"
            )


def without_second_derivative(module: nn.Module, run: Callable[[], object]) -> str | None:
    """The name of the first innermost module of a network that cannot be differentiated twice.

    ``run`` runs the network once, on some samples. None where every module can.
    """
    culprits: list[str] = []
    trying = False

    def watch(name: str, layer: nn.Module) -> RemovableHandle:
        def hook(_: nn.Module, args: tuple[object, ...], output: object) -> None:
            nonlocal trying
            if trying or culprits:
                return
            trying = True
            if not _differentiable_twice(layer, args):
                culprits.append(f"{name or 'itself'} ({type(layer).__name__})")
            trying = False

        return layer.register_forward_hook(hook)

    # Hooks fire from the inside out: the first culprit is an innermost one.
    handles = [watch(name, layer) for name, layer in module.named_modules()]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return culprits[0] if culprits else None


def _differentiable_twice(layer: nn.Module, args: tuple[object, ...]) -> bool:
    """Whether the gradient of a module's squared output has itself a gradient."""
    inputs = [
        a.detach().requires_grad_(a.is_floating_point()) if isinstance(a, Tensor) else a
        for a in args
    ]
    leaves = [a for a in inputs if isinstance(a, Tensor) and a.requires_grad]
    leaves += [p for p in layer.parameters() if p.requires_grad]
    output = layer.forward(*inputs)
    if not leaves or not isinstance(output, Tensor) or not output.requires_grad:
        return True
    try:
        first = torch.autograd.grad(
            output.square().sum(), leaves, create_graph=True, allow_unused=True
        )
        squares = [g.square().sum() for g in first if g is not None and g.requires_grad]
        if squares:
            torch.autograd.grad(torch.stack(squares).sum(), leaves, allow_unused=True)
    except RuntimeError:
        return False
    return True
