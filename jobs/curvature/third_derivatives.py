"""Gradients of the Hessian: ∇(uᵀ H v) for pairs of directions, by differentiating three times."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from jobs.curvature.hessian import differentiated
from jobs.objective import Objective, PartialGradient


def hessian_gradients(
    objective: Objective, theta: Tensor, vectors: Tensor, pairs: Sequence[tuple[int, int]]
) -> Tensor:
    """∇(uᵢᵀ H(θ) uⱼ), uᵢ and uⱼ constant, for each pair (i, j): shape (pairs, P).

    Exact: one product H uᵢ with its graph serves all pairs of i. Of a network with ReLU they are
    those of the piece in which θ lies, as its Hessian is. Weight decay has none.

    >>> import torch
    >>> class Cubic(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.weight = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    ...     def forward(self, inputs):
    ...         return inputs * self.weight**3
    >>> x = torch.tensor([[3.0, 5.0]], dtype=torch.float64)
    >>> objective = Objective.from_module(Cubic(), lambda outputs, _: outputs.sum(), x, x)
    >>> axes = torch.eye(2, dtype=torch.float64)
    >>> hessian_gradients(objective, objective.theta(), axes, [(0, 0), (0, 1)])
    tensor([[18.,  0.],
            [ 0.,  0.]], dtype=torch.float64)

    Args:
        objective: L; counts them, and the gradient of their graph.
        theta: where, shape (P,).
        vectors: the directions u, shape (k, P).
        pairs: their numbers.
    """
    found = theta.new_zeros((len(pairs), len(theta)))
    if not pairs:
        return found
    for inputs, labels in objective.split(objective.chunks.thrice):
        graph = objective.partial_gradient(theta, inputs, labels, create_graph=True)
        _add(found, objective, graph, vectors, pairs)
    objective.count(gradients=1, third_derivatives=len(pairs))
    return objective.ranks.sum_(found)


def _add(
    found: Tensor,
    objective: Objective,
    graph: PartialGradient,
    vectors: Tensor,
    pairs: Sequence[tuple[int, int]],
) -> None:
    """Add the part of some samples to each row."""
    directions = [objective.layout.split(vector) for vector in vectors]
    for first in sorted({i for i, _ in pairs}):
        products = differentiated(graph.tensors, graph.leaves, directions[first], create_graph=True)
        for row, (i, j) in enumerate(pairs):
            if i == first:
                tensors = differentiated(products, graph.leaves, directions[j])
                objective.layout.add_(found[row], tensors)
