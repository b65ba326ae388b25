"""The training loss L(θ) of the whole training set, and its gradient, as sums over all samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from jobs.arguments import ArgumentError, check_loss, check_tensors, loss_sum
from jobs.curvature.memory import Chunks
from jobs.losses import Loss, correct
from jobs.network_requirements import refuse_unfit
from jobs.parameters import Layout
from jobs.process_group import Alone, Ranks


@dataclass(frozen=True)
class Evaluation:
    """Mean loss and accuracy (a fraction) over a set of samples."""

    loss: float
    accuracy: float


@dataclass(frozen=True)
class PartialGradient:
    """The part of some samples in L and ∇L: the loss, a tensor for each parameter tensor, and the
    leaves with respect to which they were taken.
    """

    loss: Tensor
    tensors: tuple[Tensor, ...]
    leaves: list[Tensor]


class Objective:
    """L(θ) = 1/n Σᵢ ℓ(f(θ, xᵢ), yᵢ) over n samples, of which each rank holds a share.

    Args:
        module: the network's structure; its trainable parameters are never read.
        layout: where its tensors lie in θ.
        loss_sum: the loss summed over the samples that it is given.
        inputs: this rank's share, shape (samples, …).
        labels: its labels, shape (samples,).
        samples: n, the samples of all ranks; None where there is one rank.
        chunks: how the samples go through the network; None takes them all at once. The result is
            the same up to the order of summation.
        ranks: the processes that hold the other shares.
        multipliers: by its name, what a parameter tensor is multiplied by when the network
            computes, 1 where there is none. θ, ∇L and H are in the coordinates before that.

    ``gradients`` counts the gradient evaluations so far, ``hvps`` the Hessian-vector products.
    :meth:`from_module` makes one of any torch module and tensors.

    Raises:
        NetworkError: the loss of the network is not a sum over samples.
    """

    def __init__(
        self,
        module: nn.Module,
        layout: Layout,
        loss_sum: Loss,
        inputs: Tensor,
        labels: Tensor,
        *,
        samples: int | None = None,
        chunks: Chunks | None = None,
        ranks: Ranks | None = None,
        multipliers: Mapping[str, float] | None = None,
    ) -> None:
        if len(inputs) != len(labels) or len(inputs) == 0:
            raise ValueError(f"{len(inputs)} inputs and {len(labels)} labels; need as many, ≥ 1")
        refuse_unfit(module)
        self.module, self.layout, self.loss_sum = module, layout, loss_sum
        self.inputs, self.labels = inputs, labels
        self.samples = samples or len(inputs)
        self.chunks = chunks or Chunks(len(inputs), retained=1)
        self.ranks = ranks or Alone()
        self.multipliers = multipliers or {}
        self.gradients = 0
        self.hvps = 0

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        loss: str | Loss,
        inputs: Tensor,
        targets: Tensor,
        *,
        chunk_size: int | None = None,
    ) -> Objective:
        """L(θ) = 1/n Σᵢ ℓ(f(θ, xᵢ), yᵢ) of a torch module, which is not changed.

        θ are its trainable parameters, in the order of ``module.parameters()``, as one vector of
        shape (P,); a tensor that is used twice is there once. Frozen parameters and buffers are
        constants.

        >>> import torch
        >>> line = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
        >>> x = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
        >>> objective = Objective.from_module(line, "mse", x, 3 * x)
        >>> objective.gradient(torch.zeros(1, dtype=torch.float64))  # ½ (9 + 36)/2, −(3 + 12)/2
        (11.25, tensor([-7.5000], dtype=torch.float64))

        Args:
            module: f. Of float32 or float64, in evaluation mode where it has dropout or batch
                normalisation.
            loss: Σ ℓ over samples: ``"mse"`` (½ Σ (output − target)²), ``"mse_mean"`` (its double
                over the number of outputs), ``"ce"``, ``"logistic"``, or a callable of outputs and
                targets that *sums* over samples, such as ``torch.nn.CrossEntropyLoss(
                reduction="sum")``.
            inputs: shape (n, …), of the module's dtype and on its device.
            targets: shape (n, …): of the outputs' shape, or classes of shape (n,) and int64.
            chunk_size: how many samples go through the module at once; None takes all.

        Raises:
            ArgumentError, NetworkError: an argument cannot be used; says which, and what is right.
        """
        check_tensors(module, inputs, targets)
        sums = loss_sum(loss)
        refuse_unfit(module)
        check_loss(module, loss, inputs, targets)
        size = len(inputs) if chunk_size is None else chunk_size
        if not size >= 1:
            raise ArgumentError(f"chunk_size is {chunk_size}; it must be at least 1")
        chunks = Chunks(size, retained=1)
        return cls(module, Layout.of(module), sums, inputs, targets, chunks=chunks)

    def theta(self) -> Tensor:
        """The module's own trainable parameters as they are now, copied into shape (P,)."""
        trained = [p.detach() for p in self.module.parameters() if p.requires_grad]
        return self.layout.join(trained).clone()

    def gradient(self, theta: Tensor) -> tuple[float, Tensor]:
        """L(θ) and ∇L(θ) of shape (P,)."""
        packed = self.packed_gradient(theta)
        size = self.layout.size
        return self.read_losses(packed[None, size:])[0], packed[:size]

    def packed_gradient(self, theta: Tensor) -> Tensor:
        """∇L(θ), L(θ) and the ranks' votes in one vector of shape (P + 2,), for one all-reduce.

        Nothing is copied to the host: a GPU goes on while this returns.
        """
        self.gradients += 1
        packed = theta.new_empty(0)
        for inputs, labels in self.split():
            part = self.partial_gradient(theta, inputs, labels, create_graph=False)
            if not len(packed):
                vote = theta.new_full((1,), float(self.ranks.wants_stop))
                packed = self.layout.join([*part.tensors, part.loss, vote])
            else:
                self.layout.add_(packed, part.tensors)
                packed[self.layout.size] += part.loss
        return self.ranks.sum_(packed)

    def read_losses(self, tails: Tensor) -> list[float]:
        """The losses of packed gradients whose last two entries are the rows of ``tails``.

        Waits for the device. The votes that came with them are counted.
        """
        readings = tails.tolist()
        self.ranks.stop_agreed |= any(votes > 0 for _, votes in readings)
        return [loss for loss, _ in readings]

    def evaluate(self, theta: Tensor) -> Evaluation:
        """Mean loss and accuracy at θ, without a gradient."""
        sums = torch.zeros(2, dtype=torch.float64, device=theta.device)
        with torch.no_grad():
            views = self.layout.named(theta)
            for inputs, labels in self.split():
                outputs = self.outputs(views, inputs)
                sums[0] += self.loss_sum(outputs, labels)
                sums[1] += correct(outputs, labels)
        loss, right = self.ranks.sum_(sums).tolist()
        return Evaluation(loss / self.samples, right / self.samples)

    def agree(self, values: Tensor) -> Tensor:
        """Rank 0's values of a small tensor on every rank: for numbers that steer a loop."""
        return self.ranks.agree(values)

    def split(self) -> Iterator[tuple[Tensor, Tensor]]:
        """This rank's inputs and labels, chunk by chunk."""
        yield from zip(
            torch.split(self.inputs, self.chunks.size),
            torch.split(self.labels, self.chunks.size),
            strict=True,
        )

    def outputs(self, views: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """f(θ, x) for some inputs, at the parameters that ``views`` has by name."""
        scaled = {name: views[name] * factor for name, factor in self.multipliers.items()}
        with exact_attention():
            outputs: Tensor = functional_call(self.module, {**views, **scaled}, (inputs,))
        return outputs

    def partial_loss(self, views: Mapping[str, Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
        """The part of some samples in L, at the parameters that ``views`` has by name."""
        return self.loss_sum(self.outputs(views, inputs), labels) / self.samples

    def partial_gradient(
        self, theta: Tensor, inputs: Tensor, labels: Tensor, *, create_graph: bool
    ) -> PartialGradient:
        """The part of some samples in L and ∇L, with the graph of ∇L where that is asked for."""
        leaves = [view.detach().requires_grad_() for view in self.layout.split(theta)]
        views = dict(zip(self.layout.names, leaves, strict=True))
        loss = self.partial_loss(views, inputs, labels)
        tensors = torch.autograd.grad(
            loss, leaves, create_graph=create_graph, allow_unused=True, materialize_grads=True
        )
        return PartialGradient(loss.detach(), tensors, leaves)


def exact_attention() -> AbstractContextManager[None]:
    """Attention by plain matrix products: the fused kernels have no second derivative."""
    return sdpa_kernel(SDPBackend.MATH)
