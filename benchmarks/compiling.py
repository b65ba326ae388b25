"""This package's gradient by torch.compile, and as a CUDA graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from measuring import wait
from networks import Case
from torch import Tensor

from jobs.curvature.memory import Chunks
from jobs.objective import Objective

Gradient = Callable[[], Tensor]
"""∇L at a fixed θ, shape (1, P): of :meth:`jobs.objective.Objective.stacked_gradients`."""


def eager(case: Case, chunks: Chunks) -> Gradient:
    """As this package computes it."""
    goal, theta = case.objective(chunks), case.theta
    return lambda: goal.stacked_gradients(theta[None])[1]


class CompiledObjective(Objective):
    """With the loss of a chunk compiled, and with that its backward pass.

    Such a loss cannot be differentiated twice.
    """

    def __init__(self, *of: Any, backend: str, **how: Any) -> None:
        super().__init__(*of, **how)
        plain = super().partial_loss
        self._compiled = torch.compile(plain, fullgraph=True, dynamic=False, backend=backend)

    def partial_loss(self, views: Mapping[str, Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
        """As that of an :class:`Objective`."""
        loss: Tensor = self._compiled(views, inputs, labels)
        return loss


def compiled(case: Case, chunks: Chunks, backend: str = "inductor") -> Gradient:
    """By a :class:`CompiledObjective`; compiled when it returns.

    The backend ``aot_eager`` traces and does not compile: to see that this runs.
    """
    torch._dynamo.reset()
    torch.compiler.config.force_disable_caches = True  # not the code of an earlier run
    goal, theta = (
        case.objective(chunks, kind=partial(CompiledObjective, backend=backend)),
        case.theta,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="dynamo_pgo force disabled")
        goal.stacked_gradients(theta[None])
    wait(theta.device)
    return lambda: goal.stacked_gradients(theta[None])[1]
