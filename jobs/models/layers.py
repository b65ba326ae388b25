"""Activations by name, and normalisations.

The latter are written out in plain operations, so that every derivative is that of a formula:
torch's fused kernels have hand-written second derivatives, and wrong third ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

ACTIVATION_MODULES: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "softplus": nn.Softplus,
}

EPSILON = 1e-5
"""Added to the variance, as torch's own layers do by default."""


class LayerNorm(nn.Module):
    """Each token (…, features) to mean 0 and variance 1, then gain and offset of every feature."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, tokens: Tensor) -> Tensor:
        """The shape stays."""
        return _standardised(tokens, (-1,)) * self.weight + self.bias


class GroupNorm(nn.Module):
    """Each group of channels of each image to mean 0 and variance 1 over channels and pixels, then
    gain and offset of every channel.
    """

    def __init__(self, groups: int, channels: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, images: Tensor) -> Tensor:
        """Images of shape (samples, channels, height, width); the shape stays."""
        grouped = torch.unflatten(images, 1, (self.groups, -1))
        normal = _standardised(grouped, (-3, -2, -1)).flatten(1, 2)
        return normal * self.weight[:, None, None] + self.bias[:, None, None]


def _standardised(values: Tensor, dims: tuple[int, ...]) -> Tensor:
    centred = values - values.mean(dims, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(dims, keepdim=True) + EPSILON)
