"""One flat contiguous vector θ, and the views of it that a network reads."""

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


def constants(module: nn.Module) -> list[Tensor]:
    """What a network computes with that is no part of θ: frozen parameters and buffers."""
    frozen = [p.detach() for p in module.parameters() if not p.requires_grad]
    return [*frozen, *module.buffers()]
