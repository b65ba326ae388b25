"""The training loss L(θ) of the whole training set, and its gradient, as sums over all samples."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from jobs.arguments import ArgumentError, check_loss, check_tensors, loss_sum
from jobs.closed_form import ClosedForm, closed_form_of
from jobs.convolutions import ByTheirForm, may_convolve
from jobs.curvature.memory import Chunks
from jobs.losses import Loss, correct
from jobs.network_requirements import refuse_unfit
from jobs.parameters import Layout
from jobs.process_group import Alone, Ranks
from jobs.recordings import Recordings


@dataclass(frozen=True)
class Evaluation:
    """L, accuracy (a fraction) over a set of samples, and their mean loss without weight decay."""

    loss: float
    accuracy: float
    data_loss: float


@dataclass(frozen=True)
class PartialGradient:
    """The part of some samples in L and ∇L: the loss, a tensor for each parameter tensor, and the
    leaves with respect to which they were taken.
    """

    loss: Tensor
    tensors: tuple[Tensor, ...]
    leaves: list[Tensor]


class Objective:
    """L(θ) = 1/n Σᵢ ℓ(f(θ, xᵢ), yᵢ) + ½ λ ‖θ‖² over n samples, of which each rank holds a share.

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
        weight_decay: λ.

    ``recordings`` has what is recorded of it on a GPU (:mod:`jobs.recordings`).
    ``convolutions`` makes the context in which the network runs where its gradient is to be
    differentiated, so that convolutions have fast derivatives of any order
    (:mod:`jobs.convolutions`); ``nullcontext`` leaves them torch's.
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
        weight_decay: float = 0.0,
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
        self.weight_decay = weight_decay
        self.convolutions = ByTheirForm if may_convolve(module) else nullcontext
        self.recordings = Recordings(enabled=isinstance(self.ranks, Alone))
        self._counted = (0, 0, 0)

    @property
    def gradients(self) -> int:
        """The gradient evaluations so far."""
        return self._counted[0]

    @property
    def hvps(self) -> int:
        """The Hessian-vector products so far."""
        return self._counted[1]

    @property
    def third_derivatives(self) -> int:
        """The gradients of entries of the Hessian so far."""
        return self._counted[2]

    def count(self, *, gradients: int = 0, hvps: int = 0, third_derivatives: int = 0) -> None:
        """Count evaluations that were made elsewhere, such as together with those of others."""
        more = gradients, hvps, third_derivatives
        first, second, third = (n + m for n, m in zip(self._counted, more, strict=True))
        self._counted = first, second, third

    def count_from(
        self, *, gradients: int, hvps: int, third_derivatives: int | None = None
    ) -> None:
        """Go on counting from these numbers; with None from the one that is there."""
        third = self.third_derivatives if third_derivatives is None else third_derivatives
        self._counted = (gradients, hvps, third)

    @functools.cached_property
    def closed_form(self) -> ClosedForm | None:
        """Formulas for L and its derivatives, where there are any (:mod:`jobs.closed_form`)."""
        return closed_form_of(
            self.module,
            self.layout,
            self.loss_sum,
            self.inputs,
            self.labels,
            samples=self.samples,
            chunks=self.chunks,
            multipliers=self.multipliers,
        )

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
            chunk_size: how many samples go through the module at once; None for as many as are
                fast, by the memory that a few of them take. The result is the same up to rounding.

        Raises:
            ArgumentError, NetworkError: an argument cannot be used; says which, and what is right.
        """
        check_tensors(module, inputs, targets)
        sums = loss_sum(loss)
        refuse_unfit(module)
        check_loss(module, loss, inputs, targets)
        if chunk_size is not None and not chunk_size >= 1:
            raise ArgumentError(f"chunk_size is {chunk_size}; it must be at least 1")
        from jobs.problem import chunks_of  # which knows what an objective allocates

        objective = cls(module, Layout.of(module), sums, inputs, targets)
        objective.chunks = chunks_of(objective, chunk_size)
        return objective

    def theta(self) -> Tensor:
        """The module's own trainable parameters as they are now, copied into shape (P,)."""
        trained = [p.detach() for p in self.module.parameters() if p.requires_grad]
        return self.layout.join(trained).clone()

    def gradient(self, theta: Tensor) -> tuple[float, Tensor]:
        """L(θ) and ∇L(θ) of shape (P,)."""
        self.count(gradients=1)
        losses, gradients = self.stacked_gradients(theta[None])
        return self.read_losses(losses[None])[0][0], gradients[0]

    def stacked_gradients(self, thetas: Tensor) -> tuple[Tensor, Tensor]:
        """L, shape (K,), and ∇L, shape (K, P), at each row of a matrix of shape (K, P).

        With other ranks, their votes come after the losses, and all of it by one all-reduce.
        Nothing is copied to the host: a GPU goes on while this returns. The evaluations are not
        counted. The chunks are those of a single θ.
        """
        losses, gradients = self.recordings.call(
            "the gradient", self._gradients, lambda: self.apart()._gradients, thetas
        )
        if isinstance(self.ranks, Alone):
            return losses, gradients
        vote = thetas.new_full((1,), float(self.ranks.wants_stop))
        packed = self.ranks.sum_(torch.cat([gradients.flatten(), losses, vote]))
        return packed[thetas.numel() :], packed[: thetas.numel()].view_as(thetas)

    def read_losses(self, losses: Tensor) -> list[list[float]]:
        """The losses that :meth:`stacked_gradients` found, of shape (calls, ·), for each call.

        Waits for the device. The votes that came with them are counted.
        """
        found: list[list[float]] = losses.tolist()
        if isinstance(self.ranks, Alone):
            self.ranks.stop_agreed |= self.ranks.wants_stop
            return found
        self.ranks.stop_agreed |= any(votes > 0 for *_, votes in found)
        return [of_call for *of_call, _ in found]

    def apart(self) -> Objective:
        """The same with memory of its own for what it computes in; of it nothing is recorded."""
        copied = copy.copy(self)
        copied.__dict__.pop("closed_form", None)
        copied.recordings = Recordings(enabled=False)
        return copied

    def _gradients(self, thetas: Tensor) -> tuple[Tensor, Tensor]:
        """This rank's part of L and ∇L at each row; that of weight decay is of the first rank."""
        losses, gradients = self._of_data(thetas)
        if self.weight_decay and self.ranks.rank == 0:
            # Multiplied first, then added: the same bits wherever a row begins.
            gradients = gradients + self.weight_decay * thetas
            losses = losses + self._decay(thetas).to(losses)
        return losses, gradients

    def _decay(self, thetas: Tensor) -> Tensor:
        """½ λ ‖θ‖² at each row, in float64; row by row, for a sum depends on where it begins."""
        squares = [theta.double().square().sum() for theta in thetas]
        return self.weight_decay / 2 * torch.stack(squares)

    def _of_data(self, thetas: Tensor) -> tuple[Tensor, Tensor]:
        """This rank's part of the mean loss and its gradient."""
        if self.closed_form is not None:
            return self.closed_form.gradients(thetas)
        if len(thetas) == 1:
            return self._single_gradient(thetas[0])
        losses, gradients = thetas.new_zeros(len(thetas)), torch.zeros_like(thetas)
        for inputs, labels in self.split():
            _, of_chunk, of_rows = self.stacked_part(thetas, inputs, labels, create_graph=False)
            gradients += of_rows
            losses += of_chunk
        return losses, gradients

    def _single_gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        packed = theta.new_empty(0)
        for inputs, labels in self.split():
            part = self.partial_gradient(theta, inputs, labels, create_graph=False)
            if not len(packed):
                packed = self.layout.join([*part.tensors, part.loss])
            else:
                self.layout.add_(packed, part.tensors)
                packed[self.layout.size] += part.loss
        return packed[self.layout.size :], packed[None, : self.layout.size]

    def stacked_part(
        self, thetas: Tensor, inputs: Tensor, labels: Tensor, *, create_graph: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The part of some samples in L and ∇L at each row of a matrix of shape (K, P): the leaf
        that stands for the matrix, the losses, and the gradients, with their graph if it is asked
        for. The rows' parts of the graph are apart: a product of row i depends on θᵢ alone.
        """
        leaf = thetas.detach().requires_grad_()
        with self._derivatives(create_graph):
            losses = self._stacked_losses(leaf, inputs, labels)
        (gradients,) = torch.autograd.grad(losses.sum(), leaf, create_graph=create_graph)
        return leaf, losses.detach(), gradients

    def stacked_losses(self, thetas: Tensor) -> Tensor:
        """L at each row of a matrix of shape (K, P), shape (K,), in float64, without a gradient."""
        with torch.no_grad():
            if self.closed_form is not None or len(thetas) == 1:
                sums = torch.zeros(len(thetas), dtype=torch.float64, device=thetas.device)
                for (_, labels), many in zip(self.split(), self._outputs(thetas), strict=True):
                    for row, outputs in enumerate(many):
                        sums[row] += self.loss_sum(outputs, labels)
                sums /= self.samples
            else:
                parts = [self._stacked_losses(thetas, *chunk).double() for chunk in self.split()]
                sums = torch.stack(parts).sum(dim=0)
        sums = self.ranks.sum_(sums)
        return sums + self._decay(thetas) if self.weight_decay else sums

    def _stacked_losses(self, thetas: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        def loss(theta: Tensor) -> Tensor:
            return self.partial_loss(self.layout.named(theta), inputs, labels)

        return vmap(loss)(thetas)

    def evaluate(self, theta: Tensor) -> Evaluation:
        """Mean loss and accuracy at θ, without a gradient."""
        sums = torch.zeros(2, dtype=torch.float64, device=theta.device)
        with torch.no_grad():
            for (_, labels), (outputs,) in zip(
                self.split(), self._outputs(theta[None]), strict=True
            ):
                sums[0] += self.loss_sum(outputs, labels)
                sums[1] += correct(outputs, labels)
        loss, right = self.ranks.sum_(sums).tolist()
        mean = loss / self.samples
        decay = float(self._decay(theta[None])) if self.weight_decay else 0.0
        return Evaluation(mean + decay, right / self.samples, mean)

    def _outputs(self, thetas: Tensor) -> Iterator[Iterable[Tensor]]:
        """The outputs of each chunk at each row, shape (samples, outputs)."""
        if self.closed_form is not None:
            yield from self.closed_form.outputs(thetas)
            return
        named = [self.layout.named(theta) for theta in thetas]
        for inputs, _ in self.split():
            yield (self.outputs(views, inputs) for views in named)

    def agree(self, values: Tensor) -> Tensor:
        """Rank 0's values of a small tensor on every rank: for numbers that steer a loop."""
        return self.ranks.agree(values)

    def split(self, size: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """This rank's inputs and labels, chunk by chunk; or in parts of another size."""
        size = size or self.chunks.size
        yield from zip(torch.split(self.inputs, size), torch.split(self.labels, size), strict=True)

    def outputs(self, views: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """f(θ, x) for some inputs, at the parameters that ``views`` has by name."""
        scaled = {name: views[name] * factor for name, factor in self.multipliers.items()}
        with exact_attention():
            outputs: Tensor = functional_call(self.module, {**views, **scaled}, (inputs,))
        return outputs

    def partial_loss(self, views: Mapping[str, Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
        """The part of some samples in L without weight decay, at the parameters in ``views``."""
        return self.loss_sum(self.outputs(views, inputs), labels) / self.samples

    def partial_gradient(
        self, theta: Tensor, inputs: Tensor, labels: Tensor, *, create_graph: bool
    ) -> PartialGradient:
        """The part of some samples in L and ∇L, with the graph of ∇L where that is asked for."""
        leaves = [view.detach().requires_grad_() for view in self.layout.split(theta)]
        views = dict(zip(self.layout.names, leaves, strict=True))
        with self._derivatives(create_graph):
            loss = self.partial_loss(views, inputs, labels)
        tensors = torch.autograd.grad(
            loss, leaves, create_graph=create_graph, allow_unused=True, materialize_grads=True
        )
        return PartialGradient(loss.detach(), tensors, leaves)

    def _derivatives(self, create_graph: bool) -> AbstractContextManager[object]:
        """The context of a loss whose gradient is to be differentiated, or only computed: of a
        gradient alone, torch's own convolutions are as fast and take less memory.
        """
        return self.convolutions() if create_graph else nullcontext()


def gradients_at(
    objectives: Sequence[Objective], thetas: Sequence[Tensor]
) -> list[tuple[float, Tensor]]:
    """L and ∇L at a θ of each of several objectives of one problem, which count them.

    Several are found at once, each with a gradient of its own: a view would keep those of all.
    """
    if len(thetas) == 1:
        return [objectives[0].gradient(thetas[0])]
    losses, gradients = objectives[0].stacked_gradients(torch.stack(list(thetas)))
    (read,) = objectives[0].read_losses(losses[None])
    for objective in objectives:
        objective.count(gradients=1)
    return [(loss, gradient.clone()) for loss, gradient in zip(read, gradients, strict=True)]


def exact_attention() -> AbstractContextManager[None]:
    """Attention by plain matrix products: the fused kernels have no second derivative."""
    return sdpa_kernel(SDPBackend.MATH)
