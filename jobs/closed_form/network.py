"""Which modules are fully connected networks, and where their matrices lie in θ."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from jobs.closed_form.activations import Activation, activation_of
from jobs.parameters import Layout


@dataclass(frozen=True)
class Network:
    """Affine layers z = W a + b, all but the last followed by an activation.

    Attributes:
        sizes: the features, and the units of each layer.
        biases: whether each layer has b.
        activations: one for each layer but the last.
        factors: what the W, and then the b, of each layer are multiplied by when the network
            computes.
    """

    sizes: tuple[int, ...]
    biases: tuple[bool, ...]
    activations: tuple[Activation, ...]
    factors: tuple[float, ...]

    @classmethod
    def of(
        cls,
        module: nn.Module,
        layout: Layout,
        multipliers: Mapping[str, float],
        inputs: tuple[int, ...],
    ) -> Network | None:
        """The network that a module is, for inputs of that shape; None where it is another.

        It is a ``Sequential`` of ``Linear`` layers with a known activation between any two of them,
        and perhaps a ``Flatten`` before them; all that it has is trained, and nothing is hooked in.
        """
        if type(module) is not nn.Sequential or any(_has_hooks(one) for one in module.modules()):
            return None
        named = list(module.named_children())
        if named and type(named[0][1]) is nn.Flatten and _flattens(named[0][1]):
            named = named[1:]
        elif len(inputs) != 2:
            return None
        layers = [(name, one) for name, one in named[::2] if type(one) is nn.Linear]
        found = [activation_of(one) for _, one in named[1::2]]
        activations = tuple(one for one in found if one is not None)
        if len(named) % 2 == 0 or len(layers) + len(activations) != len(named):
            return None
        names = [f"{name}.{part}" for name, one in layers for part, _ in one.named_parameters()]
        if tuple(names) != layout.names:
            return None
        linear = [one for _, one in layers]
        fits = [one.in_features for one in linear] == [
            math.prod(inputs[1:]),
            *(one.out_features for one in linear[:-1]),
        ]
        if not fits:  # running it says so
            return None
        return cls(
            sizes=(linear[0].in_features, *(one.out_features for one in linear)),
            biases=tuple(one.bias is not None for one in linear),
            activations=activations,
            factors=tuple(
                multipliers.get(f"{name}.{part}", 1.0)
                for part in ("weight", "bias")
                for name, _ in layers
            ),
        )

    @property
    def parameters(self) -> int:
        """P."""
        layers = zip(itertools.pairwise(self.sizes), self.biases, strict=True)
        return sum((inputs + has_bias) * outputs for (inputs, outputs), has_bias in layers)

    def views(self, flat: Tensor) -> tuple[list[Tensor], list[Tensor | None]]:
        """W, shape (K, out, in), and b, shape (K, out, 1), of each layer: parts of (K, P)."""
        weights: list[Tensor] = []
        biases: list[Tensor | None] = []
        start = 0
        for (inputs, outputs), has_bias in zip(
            itertools.pairwise(self.sizes), self.biases, strict=True
        ):
            end = start + inputs * outputs
            weights.append(torch.unflatten(flat[:, start:end], -1, (outputs, inputs)))
            start = end + outputs * has_bias
            biases.append(flat[:, end:start].unsqueeze(-1) if has_bias else None)
        return weights, biases


def _has_hooks(module: nn.Module) -> bool:
    return any(
        getattr(module, kind)
        for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    )


def _flattens(layer: nn.Flatten) -> bool:
    return (layer.start_dim, layer.end_dim) == (1, -1)
