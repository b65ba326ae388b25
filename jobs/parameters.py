"""One flat contiguous vector θ, the views of it that a network reads, and its norms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Layout:
    """Where each parameter tensor of a network lies in θ: in the order of ``parameters()``."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, module: nn.Module) -> Layout:
        """The layout of a module's trainable parameters.

        A tensor that is used twice is there once; a frozen one (``requires_grad`` false) is a
        constant of the network and not part of θ.
        """
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        return cls(
            names=tuple(name for name, _ in named),
            shapes=tuple(tuple(parameter.shape) for _, parameter in named),
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of entries of each tensor."""
        return tuple(math.prod(shape) for shape in self.shapes)

    @property
    def size(self) -> int:
        """P, the number of parameters."""
        return sum(self.sizes)

    def split(self, flat: Tensor) -> list[Tensor]:
        """Views of a flat vector of shape (P,), one for each parameter tensor, without a copy."""
        pieces = torch.split(flat, list(self.sizes))
        return [piece.view(shape) for piece, shape in zip(pieces, self.shapes, strict=True)]

    def named(self, flat: Tensor) -> dict[str, Tensor]:
        """The views of :meth:`split` by their names in the module."""
        return dict(zip(self.names, self.split(flat), strict=True))

    def add_(self, flat: Tensor, tensors: Sequence[Tensor]) -> None:
        """Add tensors of the layout's shapes to the first P entries of a flat vector, in place.

        No tensors at all stand for zeros.
        """
        if tensors:
            torch._foreach_add_(self.split(flat[: self.size]), list(tensors))

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        """The inverse of :meth:`split`, as a new vector; what follows the P entries is appended."""
        return torch.cat([tensor.reshape(-1) for tensor in tensors])


def stacked(vectors: Sequence[Tensor]) -> Tensor:
    """Vectors of shape (P,) as the rows of a matrix; of one, a view."""
    return vectors[0][None] if len(vectors) == 1 else torch.stack(list(vectors))


def constants(module: nn.Module) -> list[Tensor]:
    """What a network computes with that is no part of θ: frozen parameters and buffers."""
    frozen = [p.detach() for p in module.parameters() if not p.requires_grad]
    return [*frozen, *module.buffers()]


def l1_norm(theta: Tensor) -> float:
    """‖θ‖₁ = Σ|θᵢ|, summed in float64."""
    return float(theta.abs().sum(dtype=torch.float64))


def l2_norm(theta: Tensor) -> float:
    """‖θ‖₂ = √Σθᵢ², summed in float64."""
    return float(theta.double().norm())


def linf_norm(theta: Tensor) -> float:
    """‖θ‖∞ = max |θᵢ|."""
    return float(theta.abs().max())


NORMS = {"l1_norm": l1_norm, "l2_norm": l2_norm, "linf_norm": linf_norm}
"""The norms by their names in the tables."""


def all_norms(layout: Layout, theta: Tensor) -> list[tuple[str, str | None, float]]:
    """(norm, parameter tensor, value) for θ whole, where the tensor is None, and for each tensor.

    Of a tensor it is the norm of its entries as one vector, not that of a matrix.
    """
    parts = [(None, theta), *layout.named(theta).items()]
    return [(name, layer, norm(part)) for layer, part in parts for name, norm in NORMS.items()]
