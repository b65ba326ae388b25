"""Passes through a fully connected network of K trials at once, over a chunk of samples.

With zₗ = Wₗ aₗ₋₁ + bₗ and aₗ = φ(zₗ), columns for samples, and Δₗ = ∂L/∂zₗ:

    ∂L/∂Wₗ = Δₗ aₗ₋₁ᵀ,  ∂L/∂bₗ = Δₗ 1,  Δₗ₋₁ = φ′(zₗ₋₁) ∘ Wₗᵀ Δₗ

and for the derivative R{·} along a direction (V, c) of θ (Pearlmutter, Neural Comput. 6 (1994)):

    R{zₗ} = Vₗ aₗ₋₁ + Wₗ R{aₗ₋₁} + cₗ,  R{aₗ} = φ′(zₗ) ∘ R{zₗ},
    R{∂L/∂Wₗ} = R{Δₗ} aₗ₋₁ᵀ + Δₗ R{aₗ₋₁}ᵀ,  R{∂L/∂bₗ} = R{Δₗ} 1,
    R{Δₗ₋₁} = φ′(zₗ₋₁) ∘ (Wₗᵀ R{Δₗ} + Vₗᵀ Δₗ) + φ″(zₗ₋₁) ∘ Wₗᵀ Δₗ ∘ R{zₗ₋₁}.

Matrices are of shape (K, units, room): the first columns are of the samples, the others are room
(:func:`jobs.curvature.krylov.with_room`). All elements then go through the same instructions of a
CPU, whatever their place; and products are those of stacks of matrices also for K = 1, so that on
one thread no bit of a trial depends on the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from jobs.closed_form.losses import LossTerms, terms_of
from jobs.closed_form.network import Network
from jobs.curvature.krylov import with_room
from jobs.losses import Loss


class Matrix(NamedTuple):
    """A matrix with its room, shape (K, units, room), its columns of samples, and their transpose.

    The columns of no sample stay 0 where nothing but products is written.
    """

    whole: Tensor
    of_samples: Tensor
    transposed: Tensor

    @classmethod
    def of(cls, whole: Tensor, count: int) -> Matrix:
        """The views of a matrix for so many samples."""
        of_samples = whole[..., :count]
        return cls(whole, of_samples, of_samples.mT)


class Chunk:
    """Some samples: their inputs, shape (samples, features), and their part of the loss."""

    def __init__(self, inputs: Tensor, terms: LossTerms) -> None:
        self.inputs, self.terms, self.count = inputs.T[None], terms, len(inputs)


def chunked(
    loss: Loss, outputs: int, inputs: Tensor, labels: Tensor, *, samples: int, size: int
) -> list[Chunk]:
    """All samples, in chunks of a size; ``samples`` is n, by which sums are divided."""
    terms = terms_of(loss)
    assert terms is not None
    return [
        Chunk(x, terms(y, inputs.new_zeros(outputs, with_room(len(x), inputs)), samples))
        for x, y in zip(torch.split(inputs, size), torch.split(labels, size), strict=True)
    ]


class Tensors:
    """K vectors of shape (P,) as the matrices of a network, in memory of their own."""

    def __init__(self, network: Network, like: Tensor, trials: int) -> None:
        room = like.new_zeros(trials, with_room(network.parameters, like))
        self._rows = room[:, : network.parameters]
        self.weights, self.biases = network.views(self._rows)
        self.transposed = [_transposed(weight) for weight in self.weights]
        self._scaled = [
            (tensor, factor)
            for tensor, factor in zip([*self.weights, *self.biases], network.factors, strict=True)
            if tensor is not None and factor != 1.0
        ]

    def load(self, rows: Tensor) -> Tensors:
        """Take in points or directions, shape (K, P): what the network computes with."""
        self._rows.copy_(rows)
        self._scale()
        return self

    def read(self) -> Tensor:
        """Derivatives by what the network computes with, as those by θ: a copy, shape (K, P)."""
        self._scale()
        return self._rows.clone()

    def _scale(self) -> None:
        for tensor, factor in self._scaled:
            tensor.mul_(factor)


@dataclass(frozen=True, eq=False)
class Linearised:
    """A chunk at K points: what products need.

    Attributes:
        activations: a of the hidden layers.
        slopes: φ′(z) of these.
        bends: φ″(zₗ) ∘ Wₗ₊₁ᵀ Δₗ₊₁ of these; None where φ″ is 0.
        deltas: Δ of all layers.
        curvature: what the loss needs.
    """

    activations: list[Matrix]
    slopes: list[Tensor]
    bends: list[Tensor | None]
    deltas: list[Matrix]
    curvature: Tensor | None


class Passes:
    """The passes, and the memory in which a chunk of some size goes through.

    Args:
        network: the network.
        like: a tensor of the dtype and on the device of θ.
        trials: K.
        count: the samples of a chunk.
    """

    def __init__(self, network: Network, like: Tensor, trials: int, count: int) -> None:
        self._like, self._trials, self._count = like, trials, count
        self._activations, self._units = network.activations, network.sizes[1:]
        self._ones = like.new_ones(count, 1).expand(trials, -1, -1)
        self._z, self._delta = self._matrices(self._units), self._matrices(self._units)
        self._spare = self._matrices(self._units[:-1])
        self._a = [
            z if activation.in_place else spare
            for activation, z, spare in zip(self._activations, self._z, self._spare, strict=False)
        ]

    def forward(self, at: Tensors, chunk: Chunk) -> Tensor:
        """The outputs, shape (K, outputs, room)."""
        below = self._inputs(chunk)
        for layer, (activation, a) in enumerate(zip(self._activations, self._a, strict=True)):
            self._affine(at, layer, below, self._z[layer])
            activation.apply(self._z[layer].whole, a.whole)
            below = a.of_samples
        self._affine(at, len(self._a), below, self._z[-1])
        return self._z[-1].whole

    def gradient(self, at: Tensors, chunk: Chunk, gradient: Tensors, *, add: bool) -> Tensor:
        """Write this chunk's part of ∇L, or add it; returns its part of L of each trial."""
        losses = chunk.terms.first(self.forward(at, chunk), self._delta[-1].whole)
        for layer in range(len(self._a), 0, -1):
            delta, below, a = (
                self._delta[layer].of_samples,
                self._delta[layer - 1],
                self._a[layer - 1],
            )
            self._outer(delta, a.transposed, gradient, layer, add=add)
            torch.bmm(at.transposed[layer], delta, out=below.of_samples)
            z = self._z[layer - 1].whole
            self._activations[layer - 1].backward_(below.whole, z, a.whole)
        self._outer(self._delta[0].of_samples, self._inputs(chunk).mT, gradient, 0, add=add)
        return losses

    def linearise(self, at: Tensors, chunk: Chunk) -> Linearised:
        """What products at these points need of a chunk."""
        outputs = self.forward(at, chunk)
        slopes, bends = [], []
        for activation, z, a in zip(self._activations, self._z, self._a, strict=False):
            slopes.append(activation.slopes(z.whole, a.whole))
            bends.append(activation.bends(z.whole, a.whole, slopes[-1]))
        deltas = self._matrices(self._units)
        chunk.terms.first(outputs, deltas[-1].whole)
        for layer in range(len(self._a), 0, -1):
            below, above = deltas[layer - 1], deltas[layer].of_samples
            torch.bmm(at.transposed[layer], above, out=below.of_samples)
            if (bend := bends[layer - 1]) is not None:
                bend.mul_(below.whole)
            below.whole.mul_(slopes[layer - 1])
        activations = [Matrix.of(a.whole.clone(), self._count) for a in self._a]
        return Linearised(activations, slopes, bends, deltas, chunk.terms.curvature(outputs))

    def product(
        self, at: Tensors, chunk: Chunk, point: Linearised, direction: Tensors, product: Tensors
    ) -> None:
        """Write this chunk's part of the Hessians applied to a direction for each trial."""
        self._affine(direction, 0, self._inputs(chunk), self._z[0])
        for layer, a in enumerate(point.activations, 1):
            moved, bend = self._z[layer - 1], point.bends[layer - 1]
            if bend is not None:
                torch.mul(moved.whole, bend, out=self._spare[layer - 1].whole)
            moved.whole.mul_(point.slopes[layer - 1])
            self._affine(direction, layer, a.of_samples, self._z[layer])
            above = self._z[layer].of_samples
            _add_product(above, at.weights[layer], moved.of_samples, out=above)
        chunk.terms.second(point.curvature, self._z[-1].whole, self._delta[-1].whole)
        for layer in range(len(self._a), 0, -1):
            delta, known = self._delta[layer].of_samples, point.deltas[layer].of_samples
            below, weight = self._delta[layer - 1], product.weights[layer]
            self._outer(delta, point.activations[layer - 1].transposed, product, layer)
            _add_product(weight, known, self._z[layer - 1].transposed, out=weight)
            torch.bmm(at.transposed[layer], delta, out=below.of_samples)
            _add_product(below.of_samples, direction.transposed[layer], known, out=below.of_samples)
            below.whole.mul_(point.slopes[layer - 1])
            if point.bends[layer - 1] is not None:
                below.whole.add_(self._spare[layer - 1].whole)
        self._outer(self._delta[0].of_samples, self._inputs(chunk).mT, product, 0)

    def _affine(self, by: Tensors, layer: int, below: Tensor, out: Matrix) -> None:
        """W a + b."""
        bias = by.biases[layer]
        if bias is None:
            torch.bmm(by.weights[layer], below, out=out.of_samples)
        else:
            _add_product(bias, by.weights[layer], below, out=out.of_samples)

    def _outer(
        self, delta: Tensor, right: Tensor, into: Tensors, layer: int, *, add: bool = False
    ) -> None:
        """Δ aᵀ and Δ 1."""
        for out, by in ((into.weights[layer], right), (into.biases[layer], self._ones)):
            if out is not None and add:
                _add_product(out, delta, by, out=out)
            elif out is not None:
                torch.bmm(delta, by, out=out)

    def _inputs(self, chunk: Chunk) -> Tensor:
        return chunk.inputs if self._trials == 1 else chunk.inputs.expand(self._trials, -1, -1)

    def _matrices(self, units: tuple[int, ...]) -> list[Matrix]:
        room = with_room(self._count, self._like)
        return [
            Matrix.of(self._like.new_zeros(self._trials, one, room), self._count) for one in units
        ]


def _add_product(to: Tensor, left: Tensor, right: Tensor, *, out: Tensor) -> None:
    """The products of matrices, added: element by element where sums have one term, for in
    torch.baddbmm the bits of those depend on how many matrices there are.
    """
    if left.shape[-1] == 1:
        torch.addcmul(to, left, right, out=out)
    else:
        torch.baddbmm(to, left, right, out=out)


def _transposed(matrices: Tensor) -> Tensor:
    """Views; of columns as rows whose strides are those of rows: by strides, torch.bmm tells what
    is transposed, and the bits of rows that it takes for transposed depend on their number.
    """
    if matrices.shape[-1] == 1:
        return matrices.view(len(matrices), 1, -1)
    return matrices.mT
