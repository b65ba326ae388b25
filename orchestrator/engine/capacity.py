"""What machines can hold: which trials fit, on which nodes, and how many go into one batch."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field

from jobs.spec import Problem, SpecError, Trial
from jobs.spec.network_name import short_name
from jobs.spec.problem import sizes
from orchestrator.cluster import Allocation, Node
from orchestrator.plan import Batching
from orchestrator.sweep import Column, Resources, SweepError

BATCHED = ("fcn", "diagonal", "diagonal-difference")
"""Architectures whose trials may be batched: the gain was measured for fully connected networks,
and diagonal ones have nothing but fixed costs to share."""


def refuse_too_large(columns: Iterable[Column], allocation: Allocation) -> None:
    """Make sure that each column's trials fit the machines and the memory that they are given.

    Each process of a trial needs its CPUs and GPUs on one node; its other processes may be on
    others. All nodes are assumed to be like this one.

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


def columns_that_fit(
    columns: Iterable[Column], allocation: Allocation
) -> tuple[tuple[Column, ...], tuple[str, ...]]:
    """The columns whose trials fit the machines, and why others do not, each reason once."""
    fit, reasons = [], dict[str, None]()
    for column in columns:
        try:
            refuse_too_large([column], allocation)
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


class UnfitNodeError(RuntimeError):
    """A node on which no trial that uses GPUs can run.

    Attributes:
        node_id: Ray's name for it.
        node: its name.
        reason: the message of its device.
    """

    def __init__(self, node_id: str, node: str, reason: str) -> None:
        super().__init__(node_id, node, reason)
        self.node_id, self.node, self.reason = node_id, node, reason

    def __str__(self) -> str:
        return f"node {self.node} is unfit: {self.reason}"


@dataclass
class NodePool:
    """The ``nodes`` of a cluster, and what is wrong with the ``unfit``, by Ray's names."""

    nodes: tuple[Node, ...] = ()
    unfit: dict[str, UnfitNodeError] = field(default_factory=dict)

    def exclude(self, error: UnfitNodeError) -> bool:
        """Use a node no more; whether that is new."""
        new = error.node_id not in self.unfit
        self.unfit.setdefault(error.node_id, error)
        return new

    def slots(self, resources: Resources) -> int:
        """How many trials with such resources run on the fit nodes at once."""
        processes = 0
        for node in self.nodes:
            if node.node_id not in self.unfit:
                by_cpus = node.cpus // resources.cpus_per_worker
                gpus = resources.gpus_per_worker
                processes += min(by_cpus, node.gpus // gpus) if gpus else by_cpus
        return processes // resources.workers

    def why(self) -> str:
        """What is wrong with the unfit nodes."""
        return "; ".join(str(error) for error in self.unfit.values())


def batch_size(
    trial: Trial, resources: Resources, memory: int | None, batching: Batching | None = None
) -> int:
    """How many trials of a column a batch holds at most; 0 for a trial that runs by itself.

    Whether a trial is batched depends on the trial and its resources alone, so that its bits do not
    depend on what else there is to run. How large the batch may be depends on the ``memory`` of a
    process too (bytes; None for the default): what fits into it, but at least one trial; and on
    the bound of ``batching``.
    """
    occupied = (resources.workers, resources.cpus_per_worker, resources.gpus_per_worker)
    if trial.kind != "gd" or occupied != (1, 1, 0):
        return 0
    most, bound = _most_runs(trial.problem, memory), (batching or Batching()).most_trials
    return most if bound is None else min(most, bound)


@functools.cache
def _most_runs(problem: Problem, memory: int | None) -> int:
    if problem.architecture not in BATCHED:
        return 0
    # torch is imported only where something is to be run.
    from jobs.curvature.memory import default_budget
    from jobs.datasets import DatasetError
    from jobs.dynamics.batch import most_trials, pays
    from jobs.problem import parameter_count, working_memory

    try:
        parameters, needed = parameter_count(problem), working_memory(problem)
    except (DatasetError, SpecError):
        return 0  # the trial itself will say why
    if not pays(parameters, problem.n_train, problem.dtype):
        return 0
    that_fit = (memory or default_budget("cpu")) // needed
    return max(1, min(most_trials(parameters, problem.n_train, problem.dtype), that_fit))
