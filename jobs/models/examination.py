"""What a network of the user's own must fulfil: its samples apart, its second derivatives right.

It is tried at θ0 and at points beside it, with random targets. At θ0 alone much is hidden: a head
that starts at zero has the outputs 0 whatever comes before it, and residuals of 0 have no curvature
but that of Gauss-Newton.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from jobs.admission import NetworkError
from jobs.datasets.source import Shape
from jobs.hessian import Hessian
from jobs.losses import half_squared_error
from jobs.objective import Objective
from jobs.parameters import Layout

PROBED_SAMPLES = 3
DIFFERENCE = 1e-6
"""How far to both sides gradients are looked at: a compromise of kinks and rounding."""

MOVES = (1.0, 0.1, 0.01)
"""How far from θ0 a network is tried, relative to usual sizes of initial values."""


def examine(network: nn.Module, shape: Shape) -> None:
    """Try a network in float64 on random inputs.

    Raises:
        NetworkError: it has another shape of outputs, mixes samples, is random, or has no right
            second derivative.
    """
    layout = Layout.of(network)
    generator = torch.Generator().manual_seed(0)
    inputs, targets = (
        torch.randn(PROBED_SAMPLES, size, dtype=torch.float64, generator=generator)
        for size in (shape.features, shape.outputs)
    )
    objective = Objective(network, layout, half_squared_error, inputs, targets)
    theta = layout.join([p.detach() for p in network.parameters() if p.requires_grad])
    _check_outputs(objective, theta, shape)
    points = [theta + move * _usual_move(layout) for move in MOVES]
    # Where a network has no value, as left of the zero of a root, it says nothing.
    points = [point for point in points if math.isfinite(objective.evaluate(point).loss)]
    for point in [theta, *points]:
        _check_samples_apart(objective, point)
    # Beside θ0 no unit is at its kink, as those of a layer that starts at zero may be.
    for point in points or [theta]:
        if not any(_product_is_right(objective, point, seed) for seed in range(3)):
            raise NetworkError(
                "its Hessian products are not the differences of its gradients; every operation "
                "must have a right second derivative: custom ones and detached tensors have none, "
                "and some of torch's own have a wrong one"
            )


def _usual_move(layout: Layout) -> Tensor:
    """A random step of the size that initial values usually have: 1/√fan_in, of vectors ½."""
    generator = torch.Generator().manual_seed(1)
    tensors = []
    for shape in layout.shapes:
        scale = 1 / math.sqrt(max(1, math.prod(shape[1:]))) if len(shape) > 1 else 0.5
        tensors.append(scale * torch.randn(shape, dtype=torch.float64, generator=generator))
    return layout.join(tensors)


def _check_outputs(objective: Objective, theta: Tensor, shape: Shape) -> None:
    """Make sure that the outputs are a tensor of the right shape."""
    with torch.no_grad():
        outputs = objective.outputs(objective.layout.named(theta), objective.inputs)
    expected = (PROBED_SAMPLES, shape.outputs)
    if not isinstance(outputs, Tensor) or outputs.shape != expected:
        found = getattr(outputs, "shape", None)
        raise NetworkError(
            f"outputs are {type(outputs).__name__ if found is None else tuple(found)}; for "
            f"inputs of shape {(PROBED_SAMPLES, *shape.input)} they must be of shape {expected}"
        )


def _check_samples_apart(objective: Objective, theta: Tensor) -> None:
    """Make sure that the outputs of a sample are a function of the sample."""
    views = objective.layout.named(theta)
    with torch.no_grad():
        together = objective.outputs(views, objective.inputs)
        apart = torch.cat([objective.outputs(views, one[None]) for one in objective.inputs])
    if not torch.allclose(together, apart, rtol=1e-6, atol=1e-9, equal_nan=True):
        raise NetworkError(
            "the outputs of a sample depend on the others that go through the network with it, or "
            "on chance; they must be a function of the sample"
        )


def _product_is_right(objective: Objective, theta: Tensor, seed: int) -> bool:
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
