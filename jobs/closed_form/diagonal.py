"""L, ∇L and Hessian products of a diagonal network at K points.

The prediction is f(x) = ⟨β, x⟩ with βᵢ = Σⱼ hⱼ(θⱼᵢ): w^depth, or u² − v². With g = ∂L/∂β:

    ∂L/∂θⱼ = hⱼ′(θⱼ) ∘ g,  R{β} = Σⱼ hⱼ′(θⱼ) ∘ vⱼ,  R{∂L/∂θⱼ} = hⱼ′(θⱼ) ∘ R{g} + hⱼ″(θⱼ) ∘ vⱼ ∘ g.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jobs.closed_form.passes import Chunk, chunked
from jobs.curvature.krylov import BatchedProducts, with_room
from jobs.curvature.memory import Chunks
from jobs.losses import Loss


@dataclass(frozen=True)
class Power:
    """h(t) = sign · t^exponent, of a row of θ."""

    sign: int
    exponent: int

    def values(self, t: Tensor) -> Tensor:
        """h."""
        return self.sign * t.pow(self.exponent)

    def slopes(self, t: Tensor) -> Tensor:
        """h′."""
        return self.sign * self.exponent * t.pow(self.exponent - 1)

    def bends(self, t: Tensor) -> Tensor:
        """h″."""
        if self.exponent == 1:
            return torch.zeros_like(t)
        return self.sign * self.exponent * (self.exponent - 1) * t.pow(self.exponent - 2)


def powers_of(module: nn.Module) -> tuple[Power, ...] | None:
    """The powers of a diagonal network; None where the module is another."""
    # The examination of users' networks, which jobs.models has, needs the Hessian, and so this.
    from jobs.models.feedforward import Diagonal, DiagonalDifference

    if type(module) is Diagonal:
        return (Power(1, module.depth),)
    if type(module) is DiagonalDifference:
        return Power(1, 2), Power(-1, 2)
    return None


class DiagonalNetwork:
    """L of a diagonal network over some samples.

    On one CPU thread, what is found at a point has the same bits whatever points come with it.

    Args:
        powers: the network's h, each of one row of θ.
        loss: its loss, one of those that :mod:`jobs.closed_form.losses` knows.
        inputs: shape (samples, features).
        labels: of the samples.
        samples: n, by which sums are divided.
        chunks: how the samples go through the network.
    """

    def __init__(
        self,
        powers: tuple[Power, ...],
        loss: Loss,
        inputs: Tensor,
        labels: Tensor,
        *,
        samples: int,
        chunks: Chunks,
    ) -> None:
        self._powers, self._features = powers, inputs.shape[1]
        self._room = with_room(self._features, inputs)
        self._chunks = chunked(loss, 1, inputs, labels, samples=samples, size=chunks.size)

    def gradients(self, thetas: Tensor) -> tuple[Tensor, Tensor]:
        """L, shape (K,), and ∇L, shape (K, P), at the rows of ``thetas``."""
        t = self._rows(thetas)
        losses, slope, _ = self._at(self._beta(t))
        return losses, self._flat(self._each(Power.slopes, t) * slope)

    def outputs(self, thetas: Tensor) -> Iterator[Tensor]:
        """The outputs of each chunk, shape (K, samples, 1)."""
        beta = self._beta(self._rows(thetas))
        for chunk in self._chunks:
            yield self._predictions(beta, chunk)[..., : chunk.count].mT

    def hessians(self, thetas: Tensor) -> BatchedProducts:
        """∇²L at the rows of ``thetas``, shape (K, P)."""
        t = self._rows(thetas)
        _, slope, curvatures = self._at(self._beta(t))
        slopes = self._each(Power.slopes, t)
        bends = self._each(Power.bends, t).mul_(slope)

        def product(vectors: Tensor) -> Tensor:
            v, total = self._rows(vectors), torch.zeros_like(slope)
            moved = (slopes * v).sum(1, keepdim=True)
            for chunk, curvature in zip(self._chunks, curvatures, strict=True):
                direction = self._predictions(moved, chunk)
                chunk.terms.second(curvature, direction, direction)
                total += self._sum(direction, chunk)
            return self._flat(slopes * total + bends * v)

        return lambda vectors: torch.stack([product(v) for v in vectors.unbind(1)], dim=1)

    def _at(self, beta: Tensor) -> tuple[Tensor, Tensor, list[Tensor | None]]:
        """L, ∂L/∂β of shape (K, 1, room), and what products need of each chunk."""
        losses, slope = beta.new_zeros(len(beta)), torch.zeros_like(beta)
        curvatures = []
        for chunk in self._chunks:
            outputs = self._predictions(beta, chunk)
            curvatures.append(chunk.terms.curvature(outputs))
            losses += chunk.terms.first(outputs, outputs)
            slope += self._sum(outputs, chunk)
        return losses, slope, curvatures

    def _rows(self, thetas: Tensor) -> Tensor:
        """θⱼ, shape (K, rows, room), of vectors of shape (K, P)."""
        t = thetas.new_zeros(len(thetas), len(self._powers), self._room)
        t[..., : self._features] = thetas.view(len(thetas), -1, self._features)
        return t

    def _flat(self, rows: Tensor) -> Tensor:
        return rows[..., : self._features].reshape(len(rows), -1)

    def _beta(self, t: Tensor) -> Tensor:
        return self._each(Power.values, t).sum(1, keepdim=True)

    def _each(self, function: Callable[[Power, Tensor], Tensor], t: Tensor) -> Tensor:
        """h, or a derivative of it, of each row."""
        rows = zip(self._powers, t.unbind(1), strict=True)
        return torch.stack([function(power, row) for power, row in rows], dim=1)

    def _predictions(self, beta: Tensor, chunk: Chunk) -> Tensor:
        """⟨β, x⟩ of a chunk's samples: shape (K, 1, room)."""
        found = beta.new_zeros(len(beta), 1, with_room(chunk.count, beta))
        inputs = chunk.inputs.expand(len(beta), -1, -1)
        torch.bmm(beta[..., : self._features], inputs, out=found[..., : chunk.count])
        return found

    def _sum(self, of_samples: Tensor, chunk: Chunk) -> Tensor:
        """Σ over samples of what belongs to each times its x: shape (K, 1, room)."""
        found = of_samples.new_zeros(len(of_samples), 1, self._room)
        inputs = chunk.inputs.expand(len(of_samples), -1, -1).mT
        torch.bmm(of_samples[..., : chunk.count], inputs, out=found[..., : self._features])
        return found
