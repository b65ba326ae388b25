"""How the initial parameters are drawn.

``standard`` is PyTorch's own default for linear layers: weights and biases uniform on
±1/√fan_in, times ``init_scale``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from jobs.parameters import Layout
from jobs.spec import Problem


def initial_parameters(module: nn.Module, problem: Problem) -> Tensor:
    """θ0 of shape (P,) on the CPU: the same for every learning rate, device and dtype.

    It is drawn in float32 whatever the dtype of the problem, so that float64 runs start at the
    same point.
    """
    generator = torch.Generator().manual_seed(problem.seed)
    tensors: list[Tensor] = []
    for layer in module.modules():
        if not isinstance(layer, nn.Linear):
            continue
        bound = 1 / math.sqrt(layer.in_features)
        for parameter in layer.parameters(recurse=False):
            drawn = torch.empty(parameter.shape, dtype=torch.float32)
            tensors.append(drawn.uniform_(-bound, bound, generator=generator))
    theta = Layout.of(module).join(tensors).to(getattr(torch, problem.dtype))
    return theta.mul_(problem.init_scale)
