"""The initial parameters θ0, and how a parameterization lets them and the forward pass scale.

In ``standard`` the network computes with the parameters themselves, which start as PyTorch starts
them: for linear layers and convolutions uniform on ±1/√fan_in, weights and biases.

In ``ntk`` and ``mup`` a network computes with W = multiplier · w, of which w is trained. Both are
the standard parameterization at the base width; elsewhere, let a weight's fan-in be r_in and its
fan-out r_out times what they are there (1 where they do not grow with the width). Then

    ==========  =================================  =================  ========================
    parameter   multiplier of ntk, of mup          W(0), relative to the standard one
    ----------  ---------------------------------  -------------------------------------------
    weight      1/√r_in,         √(r_out / r_in)   1; for mup 1/√r_in where the fan-out is fixed
    bias        1,               √r_out            √r_in, of the weight beside it
    others      1,               √r_out            1
    ==========  =================================  =================  ========================

("others" are gains and offsets of a normalisation, and any other vectors, whose initial values must
not depend on the width). A bias has its factor because PyTorch lets it shrink with the fan-in.

``ntk`` is W = w/√n with w of order 1 (Jacot et al. 2018). ``mup`` is the maximal update
parametrization with a single learning rate, W^l = n^(−a_l) w^l with w^l of deviation n^(−b_l),
a = (−½, 0, ½) and b = (½, ½, ½) for input, hidden and output weights (Yang & Hu 2021, "Tensor
Programs IV"): a multiplier m and the rate η move W as much as no multiplier and the rate m²η, which
are the rates of Table 3 in "Tensor Programs V" (Yang et al. 2022) for SGD. With a single η the
Hessian in the trained coordinates compares with 2/η.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from jobs import models
from jobs.datasets.source import Shape
from jobs.parameters import Layout
from jobs.spec import Problem, SpecError
from jobs.spec.problem import sizes


@dataclass(frozen=True)
class Scaling:
    """Of one parameter tensor: what the standard initial values are multiplied by, and what the
    trained values are multiplied by when the network computes.
    """

    initial: float
    multiplier: float


def scalings(problem: Problem, shape: Shape) -> dict[str, Scaling]:
    """By its name, every trainable parameter tensor that the parameterization scales.

    Raises:
        SpecError: the parameterization says nothing about this network: no parameter, or one of a
            kind that it does not know, changes with the width; or a frozen one would have to be
            scaled.
    """
    if problem.parameterization == "standard":
        return {}
    wide = models.build(problem, shape)
    base = models.build(dataclasses.replace(problem, width=problem.base_width), shape)
    rule = _ntk if problem.parameterization == "ntk" else _mup
    found = {name: rule(growth) for name, growth in _growths(problem, wide, base).items()}
    for name in sorted(found.keys() - set(Layout.of(wide).names)):
        frozen = found.pop(name)
        if not math.isclose(frozen.initial * frozen.multiplier, 1):
            raise _unknown(
                problem,
                f"whose parameter {name} is frozen (requires_grad is False) and would have to be "
                "scaled; train it, or leave it out",
            )
    if not found:
        raise _unknown(problem, "no parameter of which changes with the width")
    return found


def multipliers(problem: Problem, shape: Shape) -> dict[str, float]:
    """What a network's parameter tensors are multiplied by when it computes, where that is not 1.

    Raises:
        SpecError: as in :func:`scalings`.
    """
    found = scalings(problem, shape)
    return {name: s.multiplier for name, s in found.items() if s.multiplier != 1}


def initial_parameters(problem: Problem, shape: Shape) -> Tensor:
    """θ0 of shape (P,) on the CPU: the same for every learning rate and device.

    It is drawn in float32 whatever the dtype of the problem, so that float64 runs start at the
    same point but for the rounding of the initial scale, which is exact in the problem's dtype.

    Raises:
        SpecError: as in :func:`scalings`, or the initial scale leads out of the dtype.
    """
    network, scaled = models.draw(problem, shape), scalings(problem, shape)
    tensors = []
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        drawn = parameter.detach()
        tensors.append(drawn * scaled[name].initial if name in scaled else drawn)
    theta = Layout.of(network).join(tensors).to(getattr(torch, problem.dtype))
    return _scaled(theta, problem.init_scale)


def _scaled(theta: Tensor, init_scale: float) -> Tensor:
    """θ times the initial scale, in the dtype of θ."""
    found, largest = theta * init_scale, float(theta.abs().max())
    if math.isfinite(largest):
        least, most = torch.finfo(theta.dtype).tiny, torch.finfo(theta.dtype).max
        if not found.isfinite().all() or (largest > 0 and float(found.abs().max()) < least):
            raise SpecError(
                "init_scale",
                init_scale,
                f"so that initial parameters up to {largest:.3g} times it are numbers of "
                f"{str(theta.dtype).removeprefix('torch.')}: between {least:.2g} and {most:.2g}",
            )
    return found


@dataclass(frozen=True)
class _Growth:
    """Ratios of sizes to those at the base width, 1 where they do not grow.

    Attributes:
        fan_in: of a weight; 1 for vectors.
        fan_out: of a weight, or the length of a vector.
        beside: of a bias, the growth of the fan-in of the weight beside it.
    """

    fan_in: float = 1.0
    fan_out: float = 1.0
    beside: float = 1.0


def _ntk(growth: _Growth) -> Scaling:
    multiplier = 1 / math.sqrt(growth.fan_in)
    return Scaling(math.sqrt(growth.beside) / multiplier, multiplier)


def _mup(growth: _Growth) -> Scaling:
    multiplier = math.sqrt(growth.fan_out / growth.fan_in)
    effective = math.sqrt(growth.beside)
    if growth.fan_out == 1:
        effective /= math.sqrt(growth.fan_in)
    return Scaling(effective / multiplier, multiplier)


def _growths(problem: Problem, wide: nn.Module, base: nn.Module) -> dict[str, _Growth]:
    """By its name, every parameter tensor, frozen or not, whose size, or whose layer's fan-in,
    changes.
    """
    here, there = dict(wide.named_parameters()), dict(base.named_parameters())
    if list(here) != list(there):
        raise _unknown(problem, "whose parameters have other names at other widths")
    sizes = {name: (tuple(p.shape), tuple(there[name].shape)) for name, p in here.items()}
    growths = {}
    for name, (shape, least) in sizes.items():
        owner, _, kind = name.rpartition(".")
        layer = wide.get_submodule(owner)
        if not _known(layer, kind, shape, least):
            raise _unknown(
                problem,
                f"whose parameter {name} of {type(layer).__name__} has the shape {shape}, and "
                f"{least} at the base width; known are weights of linear layers and convolutions "
                "whose channels change, and vectors",
            )
        if len(shape) > 1:
            growth = _Growth(fan_in=shape[1] / least[1], fan_out=shape[0] / least[0])
        else:
            weights = sizes.get(f"{owner}.weight") if _dense(layer) and kind == "bias" else None
            beside = weights[0][1] / weights[1][1] if weights else 1.0
            growth = _Growth(fan_out=math.prod(shape) / math.prod(least), beside=beside)
        if growth != _Growth():
            growths[name] = growth
    return growths


def _known(layer: nn.Module, kind: str, shape: tuple[int, ...], least: tuple[int, ...]) -> bool:
    """Whether the rule has a row for a parameter of these shapes."""
    if shape == least or len(shape) == len(least) <= 1:
        return True
    return _dense(layer) and kind == "weight" and shape[2:] == least[2:]


def _dense(layer: nn.Module) -> bool:
    """Whether a layer's weight has the shape (fan-out, fan-in, …), and its bias is like it."""
    convolution = isinstance(layer, _ConvNd) and not isinstance(layer, _ConvTransposeNd)
    return isinstance(layer, nn.Linear) or convolution


def _unknown(problem: Problem, why: str) -> SpecError:
    network = f"{problem.architecture} {sizes(problem)}"
    return SpecError("parameterization", problem.parameterization, f"standard for {network}, {why}")
