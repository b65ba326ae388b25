"""Architectures by name. No layer here makes the loss anything but a sum over samples."""

from __future__ import annotations

import torch
from torch import nn

from jobs.datasets.source import Shape
from jobs.models import fcn
from jobs.spec import Problem

__all__ = ["build"]


def build(problem: Problem, shape: Shape) -> nn.Module:
    """The network's structure, without storage: its parameters live in one flat vector elsewhere.

    It maps inputs of shape (samples, features) to (samples, outputs). The module lies on torch's
    meta device; :mod:`jobs.parameters` lends it real tensors.
    """
    assert problem.width is not None
    assert problem.depth is not None
    assert problem.activation is not None
    with torch.device("meta"):
        return fcn.build(
            shape.features, shape.outputs, problem.width, problem.depth, problem.activation
        )
