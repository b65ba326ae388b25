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
        """The layout of a module; a tensor that is used twice is there once."""
        named = list(module.named_parameters())
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

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        """The inverse of :meth:`split`, as a new vector of shape (P,)."""
        return torch.cat([tensor.reshape(-1) for tensor in tensors])
