"""What a custom network must fulfil: made the same way in every process, its samples apart, its
second derivatives right.

It is tried at θ0 and at points beside it, with random targets. At θ0 alone much is hidden: a head
that starts at zero has the outputs 0 whatever comes before it, and residuals of 0 have no curvature
but that of Gauss-Newton.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from jobs.curvature.hessian import Hessian
from jobs.datasets.source import Shape
from jobs.losses import half_squared_error
from jobs.network_requirements import NetworkError
from jobs.objective import Objective
from jobs.parameters import Layout

PROBED_SAMPLES = 3
DIFFERENCE = 1e-6
"""Distance to both sides at which gradients are compared: a compromise of kinks and rounding."""

MOVES = (1.0, 0.1, 0.01)
"""How far from θ0 a network is tried, relative to the common sizes of initial values."""

TWICE = "two calls after torch.manual_seed"
ELSEWHERE = "the file, executed twice and called with another seed between,"


def examine(
    network: nn.Module,
    again: nn.Module,
    elsewhere: nn.Module,
    shape: Shape,
    dtype: torch.dtype,
) -> None:
    """Try a network in float64 on random inputs, and whether it computes in another dtype.

    Args:
        network: the network; it is changed to the dtype, and the others to float64.
        again: what the same factory made from the same seed.
        elsewhere: what it makes from that seed where it met another seed before.
        shape: of the samples.
        dtype: in which it is to be used.

    Raises:
        NetworkError: it has no trainable parameters or no finite ones, is not made again by each
            call, or not the same way; it has another shape of outputs, mixes samples, is random,
            or has no right second derivative.
    """
    layout = Layout.of(network)
    _check_parameters(network)
    _refuse_shared(network, again)
    network.double()
    others = {TWICE: again.double(), ELSEWHERE: elsewhere.double()}
    for made, other in others.items():
        _refuse_unlike(network, other, made)
    generator = torch.Generator().manual_seed(0)
    inputs, targets = (
        torch.randn(PROBED_SAMPLES, size, dtype=torch.float64, generator=generator)
        for size in (shape.features, shape.outputs)
    )
    objective = Objective(network, layout, half_squared_error, inputs, targets)
    theta = layout.join([p.detach() for p in network.parameters() if p.requires_grad])
    _check_outputs(objective, theta, shape)
    points = [theta + move * _typical_move(layout) for move in MOVES]
    # Where a network has no value, as left of the zero of a root, it says nothing.
    points = [point for point in points if math.isfinite(objective.evaluate(point).loss)]
    for point in [theta, *points]:
        _check_samples_apart(objective, point)
        for made, other in others.items():
            like = Objective(other, layout, half_squared_error, inputs, targets)
            _refuse_other_outputs(objective, like, point, made)
    # Beside θ0 no unit is at its kink, as those of a layer that starts at zero may be.
    for point in points or [theta]:
        if not any(product_is_right(objective, point, seed) for seed in range(3)):
            raise NetworkError(
                "its Hessian products are not the differences of its gradients; every operation "
                "must have a right second derivative: custom ones and detached tensors have none, "
                "and some of torch's own have a wrong one"
            )
    # The network is left in the dtype in which it is to be used.
    inputs, targets = inputs.to(dtype), targets.to(dtype)
    of_dtype = Objective(network.to(dtype), layout, half_squared_error, inputs, targets)
    _check_outputs(of_dtype, theta.to(dtype), shape)


def _check_parameters(network: nn.Module) -> None:
    """Make sure that there are trainable parameters, all of them finite real numbers."""
    trained = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    if not any(parameter.numel() for _, parameter in trained):
        raise NetworkError("it has no trainable parameters; it must have at least one")
    for name, parameter in trained:
        if not parameter.is_floating_point():
            raise NetworkError(
                f"parameter {name} is of {parameter.dtype}; it must be of real numbers"
            )
        if not parameter.isfinite().all():
            raise NetworkError(f"parameter {name} has initial values that are not finite")


def _refuse_shared(network: nn.Module, again: nn.Module) -> None:
    """Make sure that two calls made two networks: a shared part keeps changes."""
    ours = {id(module) for module in network.modules() if _has_tensors(module)}
    shared = [name for name, module in again.named_modules() if id(module) in ours]
    places = {_place_of(parameter) for parameter in network.parameters()}
    shared += [name for name, p in again.named_parameters() if _place_of(p) in places - {0}]
    if shared:
        raise NetworkError(
            f"two calls of the factory gave networks that share {shared[0]}; it must build a new "
            "one each time"
        )


def _has_tensors(module: nn.Module) -> bool:
    return any(True for _ in (*module.parameters(recurse=False), *module.buffers(recurse=False)))


def _place_of(tensor: Tensor) -> int:
    """Where a tensor lies in memory; 0 for one without entries."""
    return tensor.untyped_storage().data_ptr()


def _refuse_unlike(network: nn.Module, other: nn.Module, made: str) -> None:
    """Make sure that parameters and buffers of two networks have the same values."""
    here, there = (
        {**dict(n.named_parameters()), **dict(n.named_buffers())} for n in (network, other)
    )
    if here.keys() != there.keys():
        raise NetworkError(f"{made} gave networks with other parameters; they must be the same")
    for name, value in here.items():
        if not _same(value.detach(), there[name].detach()):
            raise NetworkError(
                f"{made} gave different values of {name}; they must be drawn from PyTorch's "
                "generator alone, and depend on nothing else"
            )


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())


def _outputs(objective: Objective, theta: Tensor, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return objective.outputs(objective.layout.named(theta), inputs)


def _refuse_other_outputs(objective: Objective, other: Objective, theta: Tensor, made: str) -> None:
    """Make sure that two networks with the same parameters and buffers compute the same."""
    found, expected = (_outputs(each, theta, each.inputs) for each in (other, objective))
    if not torch.allclose(found, expected, rtol=1e-9, atol=1e-12, equal_nan=True):
        raise NetworkError(
            f"{made} gave networks with other outputs for the same parameters; what they compute "
            "with must be drawn from PyTorch's generator alone, and depend on nothing else"
        )


def _typical_move(layout: Layout) -> Tensor:
    """A random step of the size that initial values usually have: 1/√fan_in, of vectors ½."""
    generator = torch.Generator().manual_seed(1)
    tensors = []
    for shape in layout.shapes:
        scale = 1 / math.sqrt(max(1, math.prod(shape[1:]))) if len(shape) > 1 else 0.5
        tensors.append(scale * torch.randn(shape, dtype=torch.float64, generator=generator))
    return layout.join(tensors)


def _check_outputs(objective: Objective, theta: Tensor, shape: Shape) -> None:
    """Make sure that the outputs are a tensor of the right shape."""
    outputs = _outputs(objective, theta, objective.inputs)
    expected = (PROBED_SAMPLES, shape.outputs)
    if not isinstance(outputs, Tensor) or outputs.shape != expected:
        found = getattr(outputs, "shape", None)
        raise NetworkError(
            f"outputs are {type(outputs).__name__ if found is None else tuple(found)}; for "
            f"inputs of shape {(PROBED_SAMPLES, *shape.input)} they must be of shape {expected}"
        )
    if outputs.dtype != theta.dtype:
        raise NetworkError(
            f"outputs are of {outputs.dtype} for parameters and inputs of {theta.dtype}; they must "
            "be of the same"
        )


def _check_samples_apart(objective: Objective, theta: Tensor) -> None:
    """Make sure that the outputs of a sample are a function of the sample."""
    together = _outputs(objective, theta, objective.inputs)
    apart = torch.cat([_outputs(objective, theta, one[None]) for one in objective.inputs])
    if not torch.allclose(together, apart, rtol=1e-6, atol=1e-9, equal_nan=True):
        raise NetworkError(
            "the outputs of a sample depend on the others that go through the network with it, or "
            "on chance; they must be a function of the sample"
        )


def product_is_right(objective: Objective, theta: Tensor, seed: int) -> bool:
    """Whether H v, along a random v, is the central difference of the gradient.

    Autograd gives zeros where an operation is cut off. It may be wrong along one direction, where
    a unit crosses a kink, but not along several.
    """
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(theta.shape, dtype=theta.dtype, generator=generator)
    direction *= DIFFERENCE / direction.norm()
    product = Hessian(objective, theta) @ direction
    above, below = (objective.gradient(theta + sign * direction)[1] for sign in (1, -1))
    difference = (above - below) / 2
    rounding = 1e-13 * float(above.norm())
    return float((product - difference).norm()) <= 1e-3 * float(difference.norm()) + rounding
