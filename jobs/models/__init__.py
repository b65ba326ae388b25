"""Architectures by name. No layer here makes the loss anything but a sum over samples."""

from __future__ import annotations

import torch
from torch import nn

from jobs.models import fcn
from jobs.spec import Problem

__all__ = ["build"]


def build(problem: Problem, features: int, outputs: int) -> nn.Module:
    """The network's structure, without storage: its parameters live in one flat vector elsewhere.

    The module lies on torch's meta device; :mod:`jobs.parameters` lends it real tensors.
    """
    with torch.device("meta"):
        return fcn.build(features, outputs, problem.width, problem.depth, problem.activation)
