"""``fcn``: a fully connected network, ``depth`` hidden layers of ``width`` units, with biases."""

from __future__ import annotations

from torch import nn

from jobs.models.activations import ACTIVATION_MODULES


def build(features: int, outputs: int, width: int, depth: int, activation: str) -> nn.Module:
    """Map (samples, features) to (samples, outputs); depth 0 is the linear model."""
    layers: list[nn.Module] = []
    inputs = features
    for _ in range(depth):
        layers += [nn.Linear(inputs, width), ACTIVATION_MODULES[activation]()]
        inputs = width
    layers.append(nn.Linear(inputs, outputs))
    return nn.Sequential(*layers)
