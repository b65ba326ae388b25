"""The exact Hessian of the training loss at a fixed θ, as an operator on vectors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from jobs.arguments import ArgumentError
from jobs.curvature.krylov import BatchedProducts, Products
from jobs.network_requirements import NetworkError, without_second_derivative
from jobs.objective import Objective, PartialGradient


class Hessian:
    """H = ∇²L(θ), by reverse-over-reverse differentiation: ``hessian @ v`` is H v.

    The graph of the gradient is built once for each chunk of samples and serves every product, as
    far as ``objective.chunks.retained`` says; the graphs of the other chunks are rebuilt for
    each call of :meth:`products`. θ must not change while the operator is in use.

    >>> import torch
    >>> class Squares(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.weight = torch.nn.Parameter(torch.ones(2))
    ...     def forward(self, inputs):
    ...         return inputs * self.weight**2
    >>> x, y = torch.tensor([[3.0, 5.0]]), torch.zeros(1)
    >>> total = lambda outputs, targets: outputs.sum()
    >>> hessian = Hessian(Objective.from_module(Squares(), total, x, y))
    >>> hessian @ torch.tensor([1.0, 1.0])  # diag(6, 10)
    tensor([ 6., 10.])
    >>> hessian @ torch.eye(2)
    tensor([[ 6.,  0.],
            [ 0., 10.]])

    Args:
        objective: L.
        theta: where, shape (P,); None for the parameters that the module has now.

    Raises:
        ArgumentError: ``theta`` is not of the objective's shape.
    """

    def __init__(self, objective: Objective, theta: Tensor | None = None) -> None:
        theta = objective.theta() if theta is None else theta
        if theta.shape != (objective.layout.size,):
            raise ArgumentError(
                f"theta has the shape {tuple(theta.shape)}; it must be ({objective.layout.size},), "
                "a number for each parameter"
            )
        self._objective, self._theta = objective, theta
        objective.count(gradients=1)
        self._part = objective.recordings.operator(
            lambda point: _operator(objective.apart(), point),
            lambda: _operator(objective, theta),
            theta,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(P, P)."""
        return len(self._theta), len(self._theta)

    @property
    def dtype(self) -> torch.dtype:
        """That of θ."""
        return self._theta.dtype

    def __matmul__(self, vectors: Tensor) -> Tensor:
        """H v for v of shape (P,), or H V for V of shape (P, k).

        Raises:
            ArgumentError: the operand has another shape.
        """
        if vectors.ndim not in (1, 2) or len(vectors) != len(self._theta):
            raise ArgumentError(
                f"the operand has the shape {tuple(vectors.shape)}; it must be "
                f"({len(self._theta)},) or ({len(self._theta)}, k)"
            )
        if vectors.ndim == 1:
            return self.products(vectors[None])[0]
        return self.products(vectors.mT.contiguous()).mT

    def matvec(self, vector: Tensor) -> Tensor:
        """H v for v of shape (P,)."""
        return self @ vector

    def products(self, vectors: Tensor) -> Tensor:
        """H applied to each row of a matrix of shape (k, P), with one all-reduce for them all."""
        self._objective.count(hvps=len(vectors))
        return _with_decay(
            self._objective, self._objective.ranks.sum_(self._part(vectors)), vectors
        )


def _with_decay(objective: Objective, products: Tensor, vectors: Tensor) -> Tensor:
    """Products with the Hessian of the mean loss, and those with that of ½ λ ‖θ‖²."""
    if not objective.weight_decay:
        return products
    return products + objective.weight_decay * vectors  # as in ∇L, for equal bits


def _operator(objective: Objective, theta: Tensor) -> Products:
    """This rank's part of the Hessian of the mean loss."""
    if objective.closed_form is None:
        return _ByAutograd(objective, theta).products
    by_formulas = objective.closed_form.hessians(theta[None])
    return lambda vectors: by_formulas(vectors[None])[0]


class _ByAutograd:
    """Products by differentiating the graph of the gradient."""

    def __init__(self, objective: Objective, theta: Tensor) -> None:
        self._objective, self._theta = objective, theta
        self._chunks = list(objective.split())
        kept = min(objective.chunks.retained, len(self._chunks))
        self._retained = [self._graph(*chunk) for chunk in self._chunks[:kept]]

    def products(self, vectors: Tensor) -> Tensor:
        """The rows of a matrix of shape (k, P) multiplied."""
        directions = [self._objective.layout.split(vector) for vector in vectors]
        results = torch.zeros_like(vectors)
        rebuilt = (self._graph(*chunk) for chunk in self._chunks[len(self._retained) :])
        for number, graph in enumerate(itertools.chain(self._retained, rebuilt)):
            keep = number < len(self._retained)
            for row, direction in enumerate(directions):
                last = row == len(directions) - 1
                tensors = self._product(graph, direction, retain_graph=keep or not last)
                self._objective.layout.add_(results[row], tensors)
        return results

    def _graph(self, inputs: Tensor, labels: Tensor) -> PartialGradient:
        return self._objective.partial_gradient(self._theta, inputs, labels, create_graph=True)

    def _product(
        self, graph: PartialGradient, direction: Sequence[Tensor], *, retain_graph: bool
    ) -> tuple[Tensor, ...]:
        try:
            return differentiated(graph.tensors, graph.leaves, direction, retain_graph=retain_graph)
        except RuntimeError as error:
            if "not implemented" not in str(error):
                raise
            raise self._explained(error) from error

    def _explained(self, error: RuntimeError) -> NetworkError:
        """Which module lacks a second derivative."""
        objective = self._objective
        views = objective.layout.named(self._theta)

        def run() -> None:
            with torch.enable_grad():
                objective.outputs(views, objective.inputs[:1])

        culprit = without_second_derivative(objective.module, run) or "the loss"
        return NetworkError(
            f"module {culprit} has no second derivative ({error}); the Hessian needs one: use an "
            "implementation of plain operations, for attention torch's own with "
            "SDPBackend.MATH"
        )


def differentiated(
    tensors: Sequence[Tensor],
    leaves: Sequence[Tensor],
    direction: Sequence[Tensor],
    *,
    retain_graph: bool = True,
    create_graph: bool = False,
) -> tuple[Tensor, ...]:
    """∇⟨tensors, direction⟩ with respect to the leaves: a tensor for each, none where the tensors
    do not depend on them.
    """
    dependent = [i for i, tensor in enumerate(tensors) if tensor.requires_grad]
    if not dependent:
        return ()
    return torch.autograd.grad(
        [tensors[i] for i in dependent],
        leaves,
        [direction[i] for i in dependent],
        retain_graph=retain_graph,
        create_graph=create_graph,
        allow_unused=True,
        materialize_grads=True,
    )


class BatchedHessian:
    """H = ∇²L(θᵢ) at K points, as one operator: one graph, of the gradients of all of them.

    Args:
        objective: L, of one rank. Nothing is counted.
        thetas: shape (K, P).
    """

    def __init__(self, objective: Objective, thetas: Tensor) -> None:
        self._objective, self._thetas = objective, thetas
        self._chunks = list(objective.split())
        self._build()

    def products(self, vectors: Tensor) -> Tensor:
        """H(θᵢ) applied to the rows of matrix i, shape (K, k, P)."""
        if self._by_formulas is not None:
            return _with_decay(self._objective, self._by_formulas(vectors), vectors)
        results = torch.zeros_like(vectors)
        rebuilt = (self._graph(*chunk) for chunk in self._chunks[len(self._retained) :])
        for number, (leaf, gradients) in enumerate(itertools.chain(self._retained, rebuilt)):
            keep = number < len(self._retained)
            for row in range(vectors.shape[1] if gradients.requires_grad else 0):
                more = keep or row < vectors.shape[1] - 1
                direction = vectors[:, row]
                (part,) = torch.autograd.grad(gradients, leaf, direction, retain_graph=more)
                results[:, row] += part
        return _with_decay(self._objective, results, vectors)

    def only(self, rows: Tensor) -> None:
        """Go on with some of the points alone."""
        self._thetas = self._thetas[rows.to(self._thetas.device)]
        self._build()

    def _build(self) -> None:
        self._by_formulas: BatchedProducts | None = None
        if self._objective.closed_form is not None:
            self._by_formulas = self._objective.closed_form.hessians(self._thetas)
            return
        kept = min(self._objective.chunks.retained, len(self._chunks))
        self._retained = [self._graph(*chunk) for chunk in self._chunks[:kept]]

    def _graph(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The leaf that stands for the points, and the gradients there."""
        leaf, _, gradients = self._objective.stacked_part(
            self._thetas, inputs, labels, create_graph=True
        )
        return leaf, gradients
