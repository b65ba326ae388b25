"""What machines can hold: which trials fit, on which nodes, and how many go into one batch."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from jobs.batch_bounds import BatchBounds
from jobs.kept_states import Keep
from jobs.spec import Problem, SpecError, Trial
from jobs.spec.loss_name import own_loss
from jobs.spec.network_name import short_name
from jobs.spec.problem import sizes
from orchestrator.cluster import Allocation, Node
from orchestrator.plan import Batching
from orchestrator.store.states import FOLDER
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
    kind: str, resources: Resources, each: float, on_node: int, allocation: Allocation
) -> None:
    nodes = len(allocation.nodes)
    if each <= on_node and resources.workers <= nodes * _fitting(on_node, each):
        return
    if each > on_node:
        key, value, most = f"{kind}_per_worker", each, on_node
    else:
        key, value, most = "workers", resources.workers, nodes * _fitting(on_node, each)
    if allocation.nodes == ("localhost",):
        have = "this machine has"
    else:
        have = "the node has" if nodes == 1 else f"each of the {nodes} nodes has"
    raise SweepError(
        f"resources.{key} is {value}; it must be at most {most} here: a trial takes workers × "
        f"{kind}_per_worker = {resources.workers * each:g} {kind.upper()[:-1]}s, and {have} "
        f"{on_node}"
    )


def _fitting(there: int, each: float) -> int:
    """How many workers fit on a node, each with its CPUs, or its GPUs or fraction of one."""
    return int(there // each) if each >= 1 else there * int(1 / each + 1e-9)


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


def kept_bytes(column: Column, trials: int) -> int:
    """Bytes of the states that so many trials of a column keep, if they reach all of them, and of
    the one at which they begin.
    """
    keep = Keep.of(column.resources.keep)
    if not trials or not (keep or column.start):
        return 0
    from jobs.problem import vector_bytes

    each = len(column.protocol.epsilons) * keep.thresholds + len(keep.steps)
    return (trials * each + (column.start is not None)) * vector_bytes(column.problem)


def refuse_full_disk(run: Path, columns: Iterable[Column]) -> None:
    """Make sure that the disk of a run directory has room for the states that are to be kept.

    Raises:
        SweepError: it has not, even if nothing else is written there.
    """
    needed = sum(kept_bytes(column, 1 + column.n_places) for column in columns)
    if not needed:
        return
    there = next(folder for folder in (run, *run.absolute().parents) if folder.is_dir())
    kept = sum(path.stat().st_size for path in (run / FOLDER).glob("*.safetensors"))
    free = shutil.disk_usage(there).free
    if needed - kept > free:
        raise SweepError(
            f"resources.keep and start ask for {needed / 2**30:.3g} GiB of states; there must be "
            f"as much room in {there}, which has {free / 2**30:.3g} GiB: keep fewer, or use "
            "another --run-dir"
        )


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
                by_cpus = _fitting(node.cpus, resources.cpus_per_worker)
                gpus = resources.gpus_per_worker
                processes += min(by_cpus, _fitting(node.gpus, gpus)) if gpus else by_cpus
        return processes // resources.workers

    def why(self) -> str:
        """What is wrong with the unfit nodes."""
        return "; ".join(str(error) for error in self.unfit.values())


def may_batch(problem: Problem, resources: Resources) -> bool:
    """Whether trials of a problem may go in batches, where they are small enough."""
    one_cpu = resources.device == "cpu" and resources.cpus_per_worker == 1
    whole = one_cpu or resources.gpus_per_worker == 1
    formulas = problem.architecture in BATCHED and own_loss(problem.loss) is None
    return formulas and resources.workers == 1 and whole


def batch_size(
    trial: Trial, resources: Resources, memory: int | None, batching: Batching | None = None
) -> int:
    """How many trials a batch holds at most; 0 for a trial that runs by itself.

    Whether a trial is batched depends on the trial, its resources and the bounds of ``batching``,
    which a run directory keeps, so that its bits do not depend on what else there is to run. To
    find these may take seconds: they are asked for where it depends on them only, and not for flows
    on a CPU, which come first and would gain little, nor for central flows, of which most is
    computed one by one. How large the batch may be depends on the
    ``memory`` of a process too (bytes; None for the default): what fits into it, but at least one
    trial; and on the most trials of ``batching``.
    """
    batching = batching or Batching()
    if not may_batch(trial.problem, resources):
        return 0
    if trial.kind == "central" or (trial.kind == "flow" and resources.device == "cpu"):
        return 0
    if (bounds := batching.bounds.get(resources.device)) is None:
        return 0
    most = _most_trials(trial.problem, memory, bounds)
    return most if batching.most_trials is None else min(most, batching.most_trials)


@functools.cache
def _most_trials(problem: Problem, memory: int | None, bounds: BatchBounds) -> int:
    # torch is imported only where something is to be run.
    from jobs.curvature.memory import default_budget
    from jobs.datasets import DatasetError
    from jobs.problem import parameter_count, working_memory

    try:
        parameters, needed = parameter_count(problem), working_memory(problem)
    except (DatasetError, SpecError):
        return 0  # the trial itself will say why
    most = bounds.most_trials(parameters, problem.n_train, problem.dtype)
    that_fit = (memory or bounds.memory or default_budget("cpu")) // needed
    return max(1, min(most, that_fit)) if most else 0
