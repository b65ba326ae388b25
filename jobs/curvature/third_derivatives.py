"""Gradients of the Hessian: ∇(uᵀ H v) for pairs of directions, by differentiating three times."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

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
    dependent = [tensor for tensor in graph.tensors if tensor.requires_grad]
    if not dependent:
        return
    names = [n for n, tensor in enumerate(graph.tensors) if tensor.requires_grad]
    for first in sorted({i for i, _ in pairs}):
        direction = objective.layout.split(vectors[first])
        products = torch.autograd.grad(
            dependent,
            graph.leaves,
            [direction[n] for n in names],
            create_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        varying = [n for n, tensor in enumerate(products) if tensor.requires_grad]
        rows = [row for row, (i, _) in enumerate(pairs) if i == first]
        for row in rows if varying else ():
            second = objective.layout.split(vectors[pairs[row][1]])
            tensors = torch.autograd.grad(
                [products[n] for n in varying],
                graph.leaves,
                [second[n] for n in varying],
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
            objective.layout.add_(found[row], tensors)
