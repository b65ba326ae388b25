"""``fcn``: a fully connected network, ``depth`` hidden layers of ``width`` units, with biases."""

from __future__ import annotations

from torch import nn

from jobs.models.activations import ACTIVATION_MODULES


def build(
    features: int, outputs: int, width: int | None, depth: int, activation: str | None
) -> nn.Module:
    """Map (samples, features) to (samples, outputs); depth 0 is the linear model, without units."""
    layers: list[nn.Module] = []
    inputs = features
    for _ in range(depth):
        assert width is not None
        assert activation is not None
        layers += [nn.Linear(inputs, width), ACTIVATION_MODULES[activation]()]
        inputs = width
    layers.append(nn.Linear(inputs, outputs))
    return nn.Sequential(*layers)
