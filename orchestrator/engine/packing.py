"""Which trials are computed in packs, and how many of them together."""

from __future__ import annotations

import functools

from jobs.spec import Problem, SpecError, Trial
from orchestrator.plan import Batching
from orchestrator.sweep import Resources

PACKED = ("fcn", "diagonal", "diagonal-difference")
"""Architectures whose trials may go in packs: what a pack gains was measured for fully connected
networks, and diagonal ones have nothing but fixed costs to share."""


def pack_size(
    trial: Trial, resources: Resources, memory: int | None, batching: Batching | None = None
) -> int:
    """How many trials of a column a pack holds at most; 0 for a trial that runs by itself.

    Whether a trial runs in packs depends on the trial and on what it occupies, so that its bits do
    not depend on what else there is to run. How large the pack may be depends on the ``memory`` of
    a process too (bytes; None for the default): what fits into it, but at least one trial; and on
    the most that ``batching`` allows.
    """
    occupied = (resources.workers, resources.cpus_per_worker, resources.gpus_per_worker)
    if trial.kind != "gd" or occupied != (1, 1, 0):
        return 0
    most, bound = _most_runs(trial.problem, memory), (batching or Batching()).most_trials
    return most if bound is None else min(most, bound)


@functools.cache
def _most_runs(problem: Problem, memory: int | None) -> int:
    if problem.architecture not in PACKED:
        return 0
    # torch is imported only where something is to be run.
    from jobs.curvature.memory import default_budget
    from jobs.datasets import DatasetError
    from jobs.dynamics.batch import most_runs, pays
    from jobs.problem import parameter_count, working_memory

    try:
        parameters, needed = parameter_count(problem), working_memory(problem)
    except (DatasetError, SpecError):
        return 0  # the trial itself will say why
    if not pays(parameters, problem.n_train, problem.dtype):
        return 0
    fitting = (memory or default_budget("cpu")) // needed
    return max(1, min(most_runs(parameters, problem.n_train, problem.dtype), fitting))
