"""Whether the machines of a run can carry its trials at all: asked before anything runs."""

from __future__ import annotations

from collections.abc import Iterable

from jobs.spec.network_name import short_name
from jobs.spec.problem import sizes
from orchestrator.cluster import Allocation
from orchestrator.sweep import Column, Resources, SweepError


def refuse_unfit(columns: Iterable[Column], allocation: Allocation) -> None:
    """Make sure that each column's trials fit the machines and the memory that they are given.

    Each process of a trial needs its CPUs and GPUs on one node; its other processes may be on
    others. The nodes are taken to be like this one.

    Raises:
        SweepError: a trial needs more CPUs or GPUs than there are, or more memory than it may use.
    """
    columns = list(columns)
    gpus = allocation.gpus
    for resources in {column.resources: None for column in columns}:
        _refuse_excess("cpus", resources, resources.cpus_per_worker, allocation.cpus, allocation)
        if resources.gpus_per_worker:
            if gpus is None:
                import torch

                gpus = torch.cuda.device_count()
            _refuse_excess("gpus", resources, resources.gpus_per_worker, gpus, allocation)
    for column in columns:
        if column.resources.memory_gib_per_worker is not None:
            _refuse_too_little_memory(column, column.resources.memory_gib_per_worker)


def fitting(
    columns: Iterable[Column], allocation: Allocation
) -> tuple[tuple[Column, ...], tuple[str, ...]]:
    """The columns whose trials fit the machines, and why others do not, each reason once."""
    fit, reasons = [], dict[str, None]()
    for column in columns:
        try:
            refuse_unfit([column], allocation)
        except SweepError as error:
            reasons[str(error)] = None
        else:
            fit.append(column)
    return tuple(fit), tuple(reasons)


def _refuse_excess(
    kind: str, resources: Resources, each: int, on_node: int, allocation: Allocation
) -> None:
    nodes = len(allocation.nodes)
    if each <= on_node and resources.workers <= nodes * (on_node // each):
        return
    if each > on_node:
        key, value, most = f"{kind}_per_worker", each, on_node
    else:
        key, value, most = "workers", resources.workers, nodes * (on_node // each)
    if allocation.nodes == ("localhost",):
        have = "this machine has"
    else:
        have = "the node has" if nodes == 1 else f"each of the {nodes} nodes has"
    raise SweepError(
        f"resources.{key} is {value}; it must be at most {most} here: a trial takes workers × "
        f"{kind}_per_worker = {resources.workers * each} {kind.upper()[:-1]}s, and {have} {on_node}"
    )


def _refuse_too_little_memory(column: Column, gib: float) -> None:
    from jobs.curvature.memory import MemoryBudgetError
    from jobs.problem import check_memory

    try:
        check_memory(column.problem, int(gib * 2**30))
    except MemoryBudgetError as error:
        problem = column.problem
        network = " ".join(filter(None, (short_name(problem.architecture), sizes(problem))))
        raise SweepError(
            f"resources.memory_gib_per_worker is {gib:g}; it must be at least "
            f"{error.needed / 2**30:.3g} for {network} on {problem.dataset}, one sample at a time"
        ) from None
