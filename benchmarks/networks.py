"""The networks that the benchmarks measure, with PyTorch's default initialisation from one seed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jobs.parameters import Layout


def fcn(activation: type[nn.Module] = nn.Tanh, width: int = 200, depth: int = 2) -> nn.Module:
    """3072 → ``depth`` × ``width`` → 10, with biases: 656,810 parameters by default."""
    layers: list[nn.Module] = []
    features = 3072
    for _ in range(depth):
        layers += [nn.Linear(features, width), activation()]
        features = width
    return nn.Sequential(*layers, nn.Linear(features, 10))


def cnn(channels: int = 32) -> nn.Module:
    """Two blocks of a 3×3 convolution, ReLU and 2×2 max-pooling, then a linear layer: 30,634."""
    return nn.Sequential(
        nn.Unflatten(1, (3, 32, 32)),
        nn.Conv2d(3, channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(channels * 64, 10),
    )


class _Attention(nn.Module):
    def __init__(self, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.to_qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.out = nn.Linear(heads * head_dim, dim, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        parts = self.to_qkv(self.norm(tokens)).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).flatten(2))


class _Block(nn.Module):
    def __init__(self, dim: int, heads: int, head_dim: int, mlp: int) -> None:
        super().__init__()
        self.attention = _Attention(dim, heads, head_dim)
        self.mlp = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, mlp), nn.GELU(), nn.Linear(mlp, dim)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(tokens)
        return tokens + self.mlp(tokens)


class VisionTransformer(nn.Module):
    """Patches of 4×4, mean over tokens, a linear head; small by default."""

    def __init__(
        self, dim: int = 64, depth: int = 4, heads: int = 8, head_dim: int = 64, mlp: int = 256
    ) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.LayerNorm(48), nn.Linear(48, dim), nn.LayerNorm(dim))
        self.position = nn.Parameter(torch.randn(64, dim) * 0.02)
        self.blocks = nn.Sequential(*(_Block(dim, heads, head_dim, mlp) for _ in range(depth)))
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 10))

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs of shape (samples, 3072) to outputs of shape (samples, 10)."""
        images = inputs.unflatten(1, (3, 8, 4, 8, 4))
        patches = images.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
        tokens = self.blocks(self.embed(patches) + self.position)
        return self.head(tokens.mean(dim=1))


def flat_parameters(module: nn.Module) -> Tensor:
    """θ of the module as it was initialised, shape (P,)."""
    return Layout.of(module).join([parameter.detach() for parameter in module.parameters()])
