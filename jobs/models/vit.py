"""``vit``: a small vision transformer, after "Better plain ViT baselines" (Beyer et al. 2022).

Patches of 4×4 pixels, fixed sine-cosine positions, ``depth`` blocks of attention and of a
multi-layer perceptron of 4·``width``, a mean over tokens, and a linear head that starts at zero.
A patch is normalised before and after it is embedded; attention has no biases.

A network of width 64 has 8 heads of 64; with the width grows the number of heads, not their size,
so that the scale 1/√64 of the attention's products stays right at every width.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from jobs.models.layers import ACTIVATION_MODULES, LayerNorm

PATCH = 4
"""Pixels of a side of a patch."""
HEAD = 64
WIDTH_OF_A_HEAD = 8
LONGEST = 10_000.0
"""The longest wavelength of the positions, in units of 2π patches."""


class Patches(nn.Module):
    """Images of shape (samples, channels, height, width) to (samples, patches, channels · 16)."""

    def forward(self, images: Tensor) -> Tensor:
        """Rows of patches, each with its pixels by row and column, channels together."""
        rows = torch.unflatten(images, 2, (-1, PATCH))
        tiles = torch.unflatten(rows, 4, (-1, PATCH))
        return tiles.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


class Positions(nn.Module):
    """Adds to the token of each patch sines and cosines of its row and column."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens of shape (samples, patches, width); the shape stays."""
        waves = tokens.shape[-1] // 4
        count = functools.partial(torch.arange, dtype=tokens.dtype, device=tokens.device)
        frequencies = LONGEST ** -(count(waves) / (waves - 1))
        rows = count(self.rows).repeat_interleave(self.columns)
        columns = count(self.columns).repeat(self.rows)
        phases = [torch.outer(place, frequencies) for place in (columns, rows)]
        parts = [wave(phase) for phase in phases for wave in (torch.sin, torch.cos)]
        return tokens + torch.cat(parts, dim=1)


class Attention(nn.Module):
    """Attention of all tokens to all tokens, on normalised tokens, without biases."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // WIDTH_OF_A_HEAD
        self.norm = LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * self.heads * HEAD, bias=False)
        self.to_out = nn.Linear(self.heads * HEAD, width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens of shape (samples, patches, width); the shape stays."""
        parts = self.to_qkv(self.norm(tokens)).chunk(3, dim=-1)
        by_head = (torch.unflatten(part, -1, (self.heads, HEAD)) for part in parts)
        q, k, v = (part.transpose(1, 2) for part in by_head)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.to_out(mixed.transpose(1, 2).flatten(2))
        return out


class Residual(nn.Module):
    """x ↦ x + branch(x)."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens of shape (samples, patches, width); the shape stays."""
        change: Tensor = self.branch(tokens)
        return tokens + change


class MeanOverTokens(nn.Module):
    """(samples, patches, width) to (samples, width)."""

    def forward(self, tokens: Tensor) -> Tensor:
        """The mean over patches."""
        return tokens.mean(dim=1)


def build(
    image: tuple[int, ...], outputs: int, width: int, depth: int, activation: str
) -> nn.Module:
    """Map flat inputs of shape (samples, features) to (samples, outputs).

    ``width`` is a multiple of 8, and height and breadth of the image of 4.
    """
    channels, height, breadth = image
    pixels = channels * PATCH**2
    layers: list[nn.Module] = [
        nn.Unflatten(1, image),
        Patches(),
        LayerNorm(pixels),
        nn.Linear(pixels, width),
        LayerNorm(width),
        Positions(height // PATCH, breadth // PATCH),
    ]
    for _ in range(depth):
        layers += [Residual(Attention(width)), Residual(_perceptron(width, activation))]
    head = nn.Linear(width, outputs)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return nn.Sequential(*layers, MeanOverTokens(), LayerNorm(width), head)


def _perceptron(width: int, activation: str) -> nn.Module:
    return nn.Sequential(
        LayerNorm(width),
        nn.Linear(width, 4 * width),
        ACTIVATION_MODULES[activation](),
        nn.Linear(4 * width, width),
    )
