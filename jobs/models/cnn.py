"""``cnn``: ``depth`` convolutions of ``width`` channels with pooling, as in Cohen et al. 2021."""

from __future__ import annotations

from torch import nn

from jobs.models.activations import ACTIVATION_MODULES


def build(
    image: tuple[int, ...], outputs: int, width: int, depth: int, activation: str
) -> nn.Module:
    """Blocks of a 3×3 convolution with bias, activation and 2×2 max-pooling, then a linear layer.

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
