"""Files with networks of the user's own, and how such a network is refused."""

import pytest

from jobs import Problem, models
from jobs.datasets import Shape
from jobs.network_requirements import NetworkError

HEAD = """
import torch
from torch import nn

class Bilinear(nn.Module):
    def __init__(self, channels, width, outputs):
        super().__init__()
        self.mix = nn.Conv2d(channels, width, 3)
        self.gate = nn.Parameter(torch.randn(width))
        self.register_buffer("shift", torch.tensor(0.5))
        self.out = nn.Linear(width, outputs)

    def forward(self, images):
        assert images.dim() == 4
        return self.out((self.mix(images).tanh() + self.shift).mean((2, 3)) * self.gate)
"""
FILE = f"{HEAD}\ndef make(width, *, shape, outputs, spare=1):\n"
FILE += "    return Bilinear(shape[0], width, outputs)\n"
SHAPE = Shape((1, 8, 8), 10)


def body(body, signature="outputs"):
    """A file whose factory returns this."""
    return f"{HEAD}\ndef make({signature}):\n    return {body}\n"


def refusal(own, text, shape=SHAPE, **kwargs):
    """What is said of a file whose network cannot be used."""
    problem = Problem(dataset="digits", n_train=5, architecture=own(text, **kwargs))
    with pytest.raises(NetworkError) as refused:
        models.build(problem, shape)
    return str(refused.value)
