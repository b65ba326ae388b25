"""``resnet``: a residual network for images, with group normalisation and no statistics of batches.

It has what is known of the residual network of the central-flows paper (Cohen et al. 2025): three
stages of ``depth`` blocks with ``width``, 2·``width`` and 4·``width`` channels, group
normalisation, residual branches scaled by 1/√blocks, and a head that starts at zero. The rest is
chosen here: the order within a block is normalisation, activation, convolution (He et al. 2016,
"Identity mappings"), twice; there are 8 groups; the first block of the second and third stage
halves the image, with a 1×1 convolution as its shortcut; no convolution has a bias; a mean over
pixels precedes the head.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from jobs.models.layers import ACTIVATION_MODULES, GroupNorm

GROUPS = 8
STAGES = 3


class Block(nn.Module):
    """x ↦ shortcut(x) + scale · branch(x)."""

    def __init__(
        self, channels: int, width: int, stride: int, scale: float, activation: str
    ) -> None:
        super().__init__()
        act = ACTIVATION_MODULES[activation]
        self.scale = scale
        self.branch = nn.Sequential(
            GroupNorm(GROUPS, channels),
            act(),
            nn.Conv2d(channels, width, 3, stride, padding=1, bias=False),
            GroupNorm(GROUPS, width),
            act(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
        )
        self.shortcut = (
            nn.Identity() if stride == 1 else nn.Conv2d(channels, width, 1, stride=2, bias=False)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images of shape (samples, channels, height, width)."""
        shortcut, branch = self.shortcut(images), self.branch(images)
        sum_: Tensor = shortcut + self.scale * branch
        return sum_


class MeanOverPixels(nn.Module):
    """(samples, channels, height, width) to (samples, channels)."""

    def forward(self, images: Tensor) -> Tensor:
        """The mean over pixels."""
        return images.mean(dim=(2, 3))


def build(
    image: tuple[int, ...], outputs: int, width: int, depth: int, activation: str
) -> nn.Module:
    """Map flat inputs of shape (samples, features) to (samples, outputs).

    ``width`` is a multiple of 8, the number of groups.
    """
    scale = 1 / math.sqrt(STAGES * depth)
    layers: list[nn.Module] = [
        nn.Unflatten(1, image),
        nn.Conv2d(image[0], width, 3, padding=1, bias=False),
    ]
    channels = width
    for stage in range(STAGES):
        of_stage = width * 2**stage
        for number in range(depth):
            stride = 2 if stage and not number else 1
            layers.append(Block(channels, of_stage, stride, scale, activation))
            channels = of_stage
    head = nn.Linear(channels, outputs)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return nn.Sequential(
        *layers,
        GroupNorm(GROUPS, channels),
        ACTIVATION_MODULES[activation](),
        MeanOverPixels(),
        head,
    )
