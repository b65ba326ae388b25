"""Activations φ with their first two derivatives, applied to whole matrices."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

aten = torch.ops.aten


class Activation(ABC):
    """φ, applied to the inputs z of units; a = φ(z) may lie where z was, if ``in_place``."""

    in_place = True

    @abstractmethod
    def apply(self, z: Tensor, out: Tensor) -> None:
        """Write φ(z)."""

    @abstractmethod
    def backward_(self, gradient: Tensor, z: Tensor, a: Tensor) -> None:
        """Multiply a gradient by φ′(z), in place. Where φ is applied in place, z is a."""

    @abstractmethod
    def slopes(self, z: Tensor, a: Tensor) -> Tensor:
        """φ′(z)."""

    @abstractmethod
    def bends(self, z: Tensor, a: Tensor, slopes: Tensor) -> Tensor | None:
        """φ″(z); None where it is 0 everywhere."""


class _Tanh(Activation):
    def apply(self, z: Tensor, out: Tensor) -> None:
        torch.tanh(z, out=out)

    def backward_(self, gradient: Tensor, z: Tensor, a: Tensor) -> None:
        aten.tanh_backward.grad_input(gradient, a, grad_input=gradient)

    def slopes(self, z: Tensor, a: Tensor) -> Tensor:
        return 1 - a * a

    def bends(self, z: Tensor, a: Tensor, slopes: Tensor) -> Tensor | None:
        return (a * slopes).mul_(-2)


class _Relu(Activation):
    def apply(self, z: Tensor, out: Tensor) -> None:
        torch.clamp_min(z, 0, out=out)

    def backward_(self, gradient: Tensor, z: Tensor, a: Tensor) -> None:
        aten.threshold_backward.grad_input(gradient, a, 0, grad_input=gradient)

    def slopes(self, z: Tensor, a: Tensor) -> Tensor:
        return (a > 0).to(a)

    def bends(self, z: Tensor, a: Tensor, slopes: Tensor) -> Tensor | None:
        return None


class _Elu(Activation):
    """z where it is positive, else e^z − 1."""

    def apply(self, z: Tensor, out: Tensor) -> None:
        aten.elu.out(z, out=out)

    def backward_(self, gradient: Tensor, z: Tensor, a: Tensor) -> None:
        aten.elu_backward.grad_input(gradient, 1, 1, 1, True, a, grad_input=gradient)

    def slopes(self, z: Tensor, a: Tensor) -> Tensor:
        return a.clamp(max=0).add_(1)

    def bends(self, z: Tensor, a: Tensor, slopes: Tensor) -> Tensor | None:
        return torch.where(a > 0, 0, slopes)


class _Gelu(Activation):
    """z Φ(z), with the distribution function Φ of the normal distribution."""

    in_place = False

    def apply(self, z: Tensor, out: Tensor) -> None:
        aten.gelu.out(z, out=out)

    def backward_(self, gradient: Tensor, z: Tensor, a: Tensor) -> None:
        gradient.copy_(aten.gelu_backward(gradient, z))

    def slopes(self, z: Tensor, a: Tensor) -> Tensor:
        return torch.addcmul(torch.special.ndtr(z), z, _normal_density(z))

    def bends(self, z: Tensor, a: Tensor, slopes: Tensor) -> Tensor | None:
        return _normal_density(z).mul_(2 - z * z)


class _Softplus(Activation):
    """log(1 + e^z), which torch takes as z above 20."""

    in_place = False

    def apply(self, z: Tensor, out: Tensor) -> None:
        aten.softplus.out(z, out=out)

    def backward_(self, gradient: Tensor, z: Tensor, a: Tensor) -> None:
        gradient.mul_(self.slopes(z, a))

    def slopes(self, z: Tensor, a: Tensor) -> Tensor:
        return torch.where(z > 20, 1, torch.sigmoid(z))

    def bends(self, z: Tensor, a: Tensor, slopes: Tensor) -> Tensor | None:
        return slopes * (1 - slopes)


def _normal_density(z: Tensor) -> Tensor:
    return (z * z).mul_(-0.5).exp_().mul_(1 / math.sqrt(2 * math.pi))


_OF_MODULES: dict[type[nn.Module], Activation] = {
    nn.Tanh: _Tanh(),
    nn.ReLU: _Relu(),
    nn.ELU: _Elu(),
    nn.GELU: _Gelu(),
    nn.Softplus: _Softplus(),
}


def activation_of(layer: nn.Module) -> Activation | None:
    """The activation that a module applies; None where it is not known, or not the usual one."""
    usual = {
        nn.ELU: ("alpha", 1.0),
        nn.GELU: ("approximate", "none"),
        nn.Softplus: ("beta", 1),
    }
    kind = type(layer)
    if kind in usual:
        name, value = usual[kind]
        if getattr(layer, name) != value or getattr(layer, "threshold", 20) != 20:
            return None
    return _OF_MODULES.get(kind)
