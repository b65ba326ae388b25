"""The training loss L(θ) of the whole training set, its gradient and its exact Hessian."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from jobs.losses import Loss, correct
from jobs.parameters import Layout


@dataclass(frozen=True)
class Evaluation:
    """Mean loss and accuracy (a fraction) over a set of samples."""

    loss: float
    accuracy: float


class Objective:
    """L(θ) = 1/n Σᵢ ℓ(f(θ, xᵢ), yᵢ) over n samples.

    Args:
        module: the network's structure; its own parameters are never read.
        layout: where its tensors lie in θ.
        loss_sum: the loss summed over the samples that it is given.
        inputs: shape (n, …).
        labels: shape (n,).
        chunk_size: samples that go through the network at once; None takes all. The result is
            the same up to the order of summation.

    ``gradients`` counts the gradient evaluations so far, ``hvps`` the Hessian-vector products.
    """

    def __init__(
        self,
        module: nn.Module,
        layout: Layout,
        loss_sum: Loss,
        inputs: Tensor,
        labels: Tensor,
        chunk_size: int | None = None,
    ) -> None:
        if len(inputs) != len(labels) or len(inputs) == 0:
            raise ValueError(f"{len(inputs)} inputs and {len(labels)} labels; need as many, ≥ 1")
        self.module, self.layout, self.loss_sum = module, layout, loss_sum
        self.inputs, self.labels = inputs, labels
        self.chunk_size = chunk_size or len(inputs)
        self.gradients = 0
        self.hvps = 0

    def gradient(self, theta: Tensor) -> tuple[float, Tensor]:
        """L(θ) and ∇L(θ) of shape (P,)."""
        self.gradients += 1
        total, gradient = 0.0, None
        for inputs, labels in self._chunks():
            loss, tensors, _ = self._chunk_gradient(theta, inputs, labels, create_graph=False)
            total += loss
            flat = self.layout.join(tensors)
            gradient = flat if gradient is None else gradient.add_(flat)
        assert gradient is not None
        return total, gradient

    def hessian(self, theta: Tensor) -> Hessian:
        """∇²L(θ) as an operator on vectors of shape (P,)."""
        return Hessian(self, theta)

    def evaluate(self, theta: Tensor) -> Evaluation:
        """Mean loss and accuracy at θ, without a gradient."""
        loss, right = 0.0, 0
        with torch.no_grad():
            views = dict(zip(self.layout.names, self.layout.split(theta), strict=True))
            for inputs, labels in self._chunks():
                outputs = functional_call(self.module, views, (inputs,))
                loss += float(self.loss_sum(outputs, labels)) / len(self.inputs)
                right += correct(outputs, labels)
        return Evaluation(loss, right / len(self.inputs))

    def _chunks(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(
            torch.split(self.inputs, self.chunk_size),
            torch.split(self.labels, self.chunk_size),
            strict=True,
        )

    def _chunk_gradient(
        self, theta: Tensor, inputs: Tensor, labels: Tensor, *, create_graph: bool
    ) -> tuple[float, tuple[Tensor, ...], list[Tensor]]:
        """A chunk's part of L and of ∇L, and the leaves with respect to which it was taken."""
        leaves = [view.detach().requires_grad_() for view in self.layout.split(theta)]
        views = dict(zip(self.layout.names, leaves, strict=True))
        outputs = functional_call(self.module, views, (inputs,))
        loss = self.loss_sum(outputs, labels) / len(self.inputs)
        tensors = torch.autograd.grad(
            loss, leaves, create_graph=create_graph, allow_unused=True, materialize_grads=True
        )
        return float(loss.detach()), tensors, leaves


class Hessian:
    """H = ∇²L(θ) at a fixed θ, by reverse-over-reverse differentiation.

    When all samples go through the network at once, the graph of the gradient is built once and
    serves every product; in chunks, it is built anew for each chunk of each product, so that
    memory stays that of one chunk. θ must not change while the operator is in use.
    """

    def __init__(self, objective: Objective, theta: Tensor) -> None:
        self._objective, self._theta = objective, theta
        self._retained = None
        if objective.chunk_size >= len(objective.inputs):
            _, tensors, leaves = objective._chunk_gradient(
                theta, objective.inputs, objective.labels, create_graph=True
            )
            objective.gradients += 1
            self._retained = tensors, leaves

    @property
    def size(self) -> int:
        """P: the operator is P×P."""
        return self._objective.layout.size

    def __matmul__(self, vector: Tensor) -> Tensor:
        """H v for v of shape (P,)."""
        objective = self._objective
        objective.hvps += 1
        if self._retained is not None:
            tensors, leaves = self._retained
            return self._product(tensors, leaves, vector, retain_graph=True)
        product = torch.zeros_like(vector)
        for inputs, labels in objective._chunks():
            _, tensors, leaves = objective._chunk_gradient(
                self._theta, inputs, labels, create_graph=True
            )
            product += self._product(tensors, leaves, vector, retain_graph=False)
        return product

    def _product(
        self,
        tensors: tuple[Tensor, ...],
        leaves: list[Tensor],
        vector: Tensor,
        *,
        retain_graph: bool,
    ) -> Tensor:
        dependent = [i for i, tensor in enumerate(tensors) if tensor.requires_grad]
        if not dependent:
            return torch.zeros_like(vector)
        directions = self._objective.layout.split(vector)
        products = torch.autograd.grad(
            [tensors[i] for i in dependent],
            leaves,
            [directions[i] for i in dependent],
            retain_graph=retain_graph,
            allow_unused=True,
            materialize_grads=True,
        )
        return self._objective.layout.join(products)
