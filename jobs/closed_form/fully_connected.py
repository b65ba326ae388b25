"""L, ∇L and Hessian products of a fully connected network at K points."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import torch
from torch import Tensor

from jobs.closed_form.network import Network
from jobs.closed_form.passes import Chunk, Linearised, Passes, Tensors, chunked
from jobs.curvature.krylov import BatchedProducts
from jobs.curvature.memory import Chunks
from jobs.losses import Loss

CACHED_BYTES = 2**20
"""On a CPU, as many trials go through a chunk at once as keep their matrices in so much memory."""

MOST_WORKSPACES = 4


class FullyConnected:
    """L of a fully connected network over some samples (:mod:`jobs.closed_form.passes`).

    On one CPU thread, what is found at a point has the same bits whatever points come with it.

    Args:
        network: the network.
        loss: its loss, one of those that :mod:`jobs.closed_form.losses` knows.
        inputs: shape (samples, features).
        labels: of the samples.
        samples: n, by which sums are divided.
        chunks: how the samples go through the network.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss,
        inputs: Tensor,
        labels: Tensor,
        *,
        samples: int,
        chunks: Chunks,
    ) -> None:
        self._network, self._like = network, inputs
        self._chunks = chunked(
            loss, network.sizes[-1], inputs, labels, samples=samples, size=chunks.size
        )
        self._retained = min(chunks.retained, len(self._chunks))
        per_trial = 3 * sum(network.sizes[1:]) * chunks.size * inputs.element_size()
        self._together = 2**31 if inputs.is_cuda else max(CACHED_BYTES // per_trial, 1)
        self._workspaces: dict[int, _Workspace] = {}

    def gradients(self, thetas: Tensor) -> tuple[Tensor, Tensor]:
        """L, shape (K,), and ∇L, shape (K, P), at the rows of ``thetas``."""
        found = [self._gradients(some) for some in torch.split(thetas, self._together)]
        if len(found) == 1:
            return found[0]
        losses, gradients = zip(*found, strict=True)
        return torch.cat(losses), torch.cat(gradients)

    def _gradients(self, thetas: Tensor) -> tuple[Tensor, Tensor]:
        space, losses = self._workspace(len(thetas)), thetas.new_zeros(len(thetas))
        at = space.point.load(thetas)
        for number, chunk in enumerate(self._chunks):
            passes = space.passes(chunk.count)
            losses += passes.gradient(at, chunk, space.derivative, add=number > 0)
        return losses, space.derivative.read()

    def outputs(self, thetas: Tensor) -> Iterator[Tensor]:
        """The outputs of each chunk, shape (K, samples, outputs): good until the next are asked."""
        space = self._workspace(len(thetas))
        at = space.point.load(thetas)
        for chunk in self._chunks:
            outputs = space.passes(chunk.count).forward(at, chunk)[..., : chunk.count]
            yield outputs.mT

    def hessians(self, thetas: Tensor) -> BatchedProducts:
        """∇²L at the rows of ``thetas``, shape (K, P)."""
        groups = [self._hessians(some) for some in torch.split(thetas, self._together)]
        if len(groups) == 1:
            return groups[0]

        def products(vectors: Tensor) -> Tensor:
            some = torch.split(vectors, self._together)
            return torch.cat([one(rows) for one, rows in zip(groups, some, strict=True)])

        return products

    def _hessians(self, thetas: Tensor) -> BatchedProducts:
        """The operators at points that go through a chunk at once; of as many chunks as are
        retained, what serves all products is kept.
        """
        space = self._workspace(len(thetas))
        at = Tensors(self._network, self._like, len(thetas)).load(thetas)
        kept: list[Linearised] = []

        def linearised(number: int, chunk: Chunk) -> Linearised:
            if number < len(kept):
                return kept[number]
            return space.passes(chunk.count).linearise(at, chunk)

        kept += [linearised(*one) for one in enumerate(self._chunks[: self._retained])]

        def products(vectors: Tensor) -> Tensor:
            results = torch.zeros_like(vectors)
            for number, chunk in enumerate(self._chunks):
                point, passes = linearised(number, chunk), space.passes(chunk.count)
                for row in range(vectors.shape[1]):
                    direction = space.direction.load(vectors[:, row])
                    passes.product(at, chunk, point, direction, space.derivative)
                    results[:, row] += space.derivative.read()
            return results

        return products

    def _workspace(self, trials: int) -> _Workspace:
        if trials not in self._workspaces:
            if len(self._workspaces) == MOST_WORKSPACES:  # of numbers that do not come again
                self._workspaces.clear()
            self._workspaces[trials] = _Workspace(self._network, self._like, trials)
        return self._workspaces[trials]


class _Workspace:
    """The memory in which K trials go through chunks."""

    def __init__(self, network: Network, like: Tensor, trials: int) -> None:
        self.point, self.direction, self.derivative = (
            Tensors(network, like, trials) for _ in range(3)
        )
        self.passes = functools.cache(functools.partial(Passes, network, like, trials))
