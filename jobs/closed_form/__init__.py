"""∇L and Hessian products of fully connected and diagonal networks by their formulas.

Autograd records every operation and allocates every result; for the matrices of most experiments
that costs more than the arithmetic. Here chunks of samples go through matrices of shape
(units, samples) that stay where they are, for K trials at once.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from jobs.closed_form.diagonal import DiagonalNetwork, powers_of
from jobs.closed_form.fully_connected import FullyConnected
from jobs.closed_form.losses import fit
from jobs.closed_form.network import Network
from jobs.curvature.memory import Chunks
from jobs.losses import Loss
from jobs.parameters import Layout

__all__ = ["ClosedForm", "closed_form_of"]

ClosedForm = FullyConnected | DiagonalNetwork


def closed_form_of(
    module: nn.Module,
    layout: Layout,
    loss: Loss,
    inputs: Tensor,
    labels: Tensor,
    *,
    samples: int,
    chunks: Chunks,
    multipliers: Mapping[str, float],
) -> ClosedForm | None:
    """The formulas of L for a module and a loss; None where one of them has none here.

    The arguments are those of :class:`jobs.objective.Objective`.
    """
    powers = powers_of(module)
    if powers is not None and not multipliers and fit(loss, labels, len(inputs), 1):
        return DiagonalNetwork(powers, loss, inputs, labels, samples=samples, chunks=chunks)
    network = Network.of(module, layout, multipliers, inputs.shape)
    if network is not None and fit(loss, labels, len(inputs), network.sizes[-1]):
        flat = inputs.flatten(1)
        return FullyConnected(network, loss, flat, labels, samples=samples, chunks=chunks)
    return None
