"""States that trials kept, and the networks that have them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from jobs.spec import Problem
from orchestrator.store import PROBLEM_FIELDS
from orchestrator.store.states import read_state

if TYPE_CHECKING:
    from torch import Tensor, nn


class NoStateError(LookupError):
    """A state that no trial kept; says which there are."""


def kept_step(rows: pa.Table, trial_id: str, epsilon: float | None, step: int | None) -> int:
    """The step of the state that a trial kept at a threshold, or after so many steps.

    Args:
        rows: those of the trial in ``states``.
        trial_id: its name.
        epsilon: the threshold.
        step: the number of steps, where no threshold is given.

    Raises:
        NoStateError: it kept none there.
    """
    found = rows.to_pylist()
    for row in found:
        if row["epsilon"] == epsilon if epsilon is not None else row["step"] == step:
            return int(row["step"])
    asked = f"epsilon {epsilon:g}" if epsilon is not None else f"step {step}"
    kept = [
        f"step {row['step']}" if row["epsilon"] is None else f"epsilon {row['epsilon']:g}"
        for row in found
    ]
    there = f"it must be one of {', '.join(kept)}" if kept else "the trial kept none"
    raise NoStateError(f"trial {trial_id} has no state at {asked}; {there} (resources.keep)")


def theta_of(run: Path, trial_id: str, step: int) -> Tensor:
    """θ of a state, shape (P,), on the CPU.

    Raises:
        StoreError: its file is gone or damaged.
    """
    theta: Tensor = read_state(run, trial_id, step)
    return theta


def module_of(run: Path, row: dict[str, Any], theta: Tensor) -> nn.Module:
    """The network of a trial, of which ``row`` is one of ``trials``, with θ in it."""
    import torch

    from jobs import datasets, models
    from jobs.parameterization import multipliers
    from jobs.parameters import Layout
    from orchestrator.sweep.user_files import find_files

    problem = Problem(**{name: row[name] for name in PROBLEM_FIELDS})
    find_files(run, [problem])
    shape = datasets.shape(problem.dataset)
    module = models.draw(problem, shape).to(getattr(torch, problem.dtype))
    views, factors = Layout.of(module).named(theta), multipliers(problem, shape)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name in views:
                parameter.copy_(views[name] * factors.get(name, 1.0))
    return module
