"""Networks without residual branches: ``fcn``, ``cnn``, and the two diagonal ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jobs.models.layers import ACTIVATION_MODULES


def fcn(
    features: int, outputs: int, width: int | None, depth: int, activation: str | None
) -> nn.Module:
    """A fully connected network, ``depth`` hidden layers of ``width`` units, with biases.

    It maps (samples, features) to (samples, outputs); depth 0 is the linear model, without units.
    """
    layers: list[nn.Module] = []
    inputs = features
    for _ in range(depth):
        assert width is not None
        assert activation is not None
        layers += [nn.Linear(inputs, width), ACTIVATION_MODULES[activation]()]
        inputs = width
    layers.append(nn.Linear(inputs, outputs))
    return nn.Sequential(*layers)


def cnn(image: tuple[int, ...], outputs: int, width: int, depth: int, activation: str) -> nn.Module:
    """``depth`` convolutions of ``width`` channels with pooling, as in Cohen et al. 2021.

    Blocks of a 3×3 convolution with bias, activation and 2×2 max-pooling, then a linear layer.
    Max-pooling drops the last row or column of an odd number of them. Flat inputs of shape
    (samples, features) become images of shape (channels, height, width) first.
    """
    channels, height, breadth = image
    layers: list[nn.Module] = [nn.Unflatten(1, image)]
    for _ in range(depth):
        layers += [
            nn.Conv2d(channels, width, 3, padding=1),
            ACTIVATION_MODULES[activation](),
            nn.MaxPool2d(2),
        ]
        channels, height, breadth = width, height // 2, breadth // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * breadth, outputs))


class Diagonal(nn.Module):
    """The linear predictor f(x) = ⟨w^depth, x⟩, the power taken of every weight.

    All weights start at 1, and a problem's ``init_scale`` makes that α, as the scale is called.
    """

    def __init__(self, features: int, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.weight = nn.Parameter(torch.ones(features))

    def forward(self, inputs: Tensor) -> Tensor:
        """(samples, features) to (samples, 1)."""
        return inputs @ self.weight.pow(self.depth)[:, None]


class DiagonalDifference(nn.Module):
    """The linear predictor f(x) = ⟨u∘u − v∘v, x⟩, whose β can have either sign, and starts at 0.

    All weights start at 1, as those of :class:`Diagonal`.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.u = nn.Parameter(torch.ones(features))
        self.v = nn.Parameter(torch.ones(features))

    def forward(self, inputs: Tensor) -> Tensor:
        """(samples, features) to (samples, 1)."""
        return inputs @ (self.u.square() - self.v.square())[:, None]
