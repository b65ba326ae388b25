"""Whether this machine can run the trials of a sweep at all: asked before anything runs."""

from __future__ import annotations

import os
from collections.abc import Iterable

from orchestrator.sweep import Column, Resources, SweepError


def refuse_unfit(columns: Iterable[Column]) -> None:
    """Make sure that each column's trials fit this machine and the memory that they are given.

    Raises:
        SweepError: a trial needs more CPUs or GPUs than there are, or more memory than it may use.
    """
    columns = list(columns)
    cpus = len(os.sched_getaffinity(0))
    for resources in {column.resources: None for column in columns}:
        _refuse_excess("cpus", "CPUs", resources, resources.cpus_per_worker, cpus)
        if resources.gpus_per_worker:
            import torch

            available = torch.cuda.device_count()
            _refuse_excess("gpus", "GPUs", resources, resources.gpus_per_worker, available)
    for column in columns:
        if column.resources.memory_gib_per_worker is not None:
            _refuse_too_little_memory(column, column.resources.memory_gib_per_worker)


def _refuse_excess(kind: str, name: str, resources: Resources, each: int, available: int) -> None:
    if resources.workers * each <= available:
        return
    if each > available:
        key, value, most = f"{kind}_per_worker", each, available
    else:
        key, value, most = "workers", resources.workers, available // each
    raise SweepError(
        f"resources.{key} is {value}; it must be at most {most} here: a trial takes workers × "
        f"{kind}_per_worker = {resources.workers * each} {name}, and this machine has {available}"
    )


def _refuse_too_little_memory(column: Column, gib: float) -> None:
    from jobs.memory import MemoryBudgetError
    from jobs.problem import check_memory

    try:
        check_memory(column.problem, int(gib * 2**30))
    except MemoryBudgetError as error:
        raise SweepError(
            f"resources.memory_gib_per_worker is {gib:g}; it must be at least "
            f"{error.needed / 2**30:.3g} for {column.problem.architecture} of width "
            f"{column.problem.width} and depth {column.problem.depth} on {column.problem.dataset}, "
            "one sample at a time"
        ) from None
