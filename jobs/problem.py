"""A problem made ready to compute with: its objectives and θ0, and the memory and time it takes."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from jobs import datasets, models
from jobs.curvature import memory
from jobs.curvature.hessian import Hessian
from jobs.curvature.memory import Chunks, Footprint
from jobs.custom_loss import loss_of
from jobs.machine import machine_memory
from jobs.numerics import reproducible
from jobs.objective import Objective
from jobs.parameterization import initial_parameters, multipliers
from jobs.parameters import Layout
from jobs.process_group import Alone, Ranks
from jobs.spec import Problem

FEW_SAMPLES = 256
"""Up to which all go through a user's network at once: to measure what they take needs as many."""

CHUNK_BYTES = {"cpu": 96 * 2**20, "cuda": 2 * 2**30}
"""Of the graph of one chunk, by kind of device (``benchmarks/README.md`` has the measurements)."""

PROBED_SAMPLES, PROBED_BY_FORMULAS, PROBED_ON_GPU = (2, 6), (32, 96), (64, 192)
"""Where a network is computed by formulas, samples come with room up to a multiple of 32. On a GPU,
libraries choose other kernels for few samples, with other workspaces."""

FEWEST_SAMPLES = 8
"""With which a timing begins."""

MEASURED_VECTORS = 4
"""Vectors of the size of θ that a measurement of a network takes at least."""


class PlacementError(ValueError):
    """A problem that cannot be computed where it was put; says what would be right."""


class NoDeviceError(PlacementError):
    """A device that is not there, which is no fault of the problem's."""


def check_placement(problem: Problem, device: str, ranks: int = 1) -> None:
    """Make sure that a device is there, computes in the problem's dtype, and no rank is idle.

    Raises:
        PlacementError: it is not so.
    """
    try:
        kind = torch.device(device).type
    except RuntimeError:  # torch knows no such device
        kind = device
    if kind not in CHUNK_BYTES:
        raise PlacementError(f"device is {device!r}; it must be cpu or cuda (float32 and float64)")
    if kind == "cuda" and not torch.cuda.is_available():
        raise NoDeviceError(f"device is {device!r}; it must be cpu, for torch finds no GPU here")
    if ranks > problem.n_train:
        raise PlacementError(
            f"workers is {ranks}; it must be at most {problem.n_train}, the number of training "
            "samples (n_train), so that each worker has one"
        )


def pose(
    problem: Problem, device: str = "cpu", ranks: Ranks | None = None, budget: int | None = None
) -> tuple[Objective, Objective, Tensor]:
    """The training objective, the test objective, which has no weight decay, and θ0, on the device,
    in the problem's dtype.

    Args:
        problem: what to compute.
        device: where.
        ranks: the processes that share the samples; None for this one alone.
        budget: bytes of memory of this rank; None for
            :func:`jobs.curvature.memory.default_budget`.

    Raises:
        DatasetError: the dataset is not there, or too small.
        PlacementError: as in :func:`check_placement`.
        MemoryBudgetError: not even one sample fits into the budget.
    """
    ranks = ranks or Alone()
    check_placement(problem, device, ranks.size)
    data = datasets.load(problem)
    train = _objective(problem, data.train, device, ranks, problem.weight_decay or 0.0)
    test = _objective(problem, data.test, device, ranks, 0.0)
    for objective in (train, test):
        samples = len(objective.inputs)
        objective.chunks = plan_chunks(problem, samples, device, budget)
    theta = initial_parameters(problem, datasets.shape(problem.dataset))
    return train, test, theta.to(device)


def check_memory(problem: Problem, budget: int) -> None:
    """Make sure that one sample at a time fits into a budget of bytes.

    Raises:
        DatasetError: the dataset is not there, or too small.
        MemoryBudgetError: it does not.
    """
    datasets.check(problem)
    plan_chunks(problem, problem.n_train, "cpu", budget)


def parameter_count(problem: Problem) -> int:
    """P, without making any parameter.

    Raises:
        DatasetError: the dataset is not there, or too small.
    """
    datasets.check(problem)
    return Layout.of(models.build(problem, datasets.shape(problem.dataset))).size


def working_memory(problem: Problem) -> int:
    """Bytes that a trial takes on a CPU with all its samples in the network at once.

    Raises:
        DatasetError: the dataset is not there, or too small.
    """
    datasets.check(problem)
    return math.ceil(memory.working_bytes(_footprint(_shape(problem), "cpu"), problem.n_train))


def plan_chunks(problem: Problem, samples: int, device: str, budget: int | None = None) -> Chunks:
    """How a number of samples goes through the problem's network.

    Raises:
        MemoryBudgetError: not even one sample fits into the budget.
    """
    budget = budget or memory.default_budget(device)
    vector = vector_bytes(problem)
    if MEASURED_VECTORS * vector > machine_memory():
        raise memory.MemoryBudgetError(budget, memory.WORKING_VECTORS * vector)
    needed = _footprint(_shape(problem), device)
    return memory.plan(needed, samples, budget, CHUNK_BYTES[torch.device(device).type])


def vector_bytes(problem: Problem) -> int:
    """The size of θ, without making any parameter."""
    return _vector_bytes(_shape(problem))


@dataclass(frozen=True)
class Timing:
    """Seconds of one gradient and of one Hessian product over all training samples.

    They are CPU seconds of each thread, so that what else runs on the machine does not count.
    ``samples`` is how many of them went through the network; from fewer than all, the seconds are
    extrapolated in proportion.
    """

    gradient: float
    product: float
    samples: int


def time_problem(problem: Problem, seconds: float, threads: int = 1) -> Timing:
    """Time one gradient and one product at θ0 on this machine's CPU, on inputs of the right shape.

    Nothing of the dataset is read: how long it takes does not depend on the values. It begins with
    few samples, and takes more as long as they are predicted to fit into ``seconds``.

    Raises:
        DatasetError, NetworkError, SpecError: the problem cannot be computed.
        MemoryBudgetError: not even one sample fits into a trial's share of the machine's memory.
    """
    budget, least = memory.default_budget("cpu"), memory.WORKING_VECTORS * vector_bytes(problem)
    if least > budget:
        raise memory.MemoryBudgetError(budget, least)
    with reproducible(threads):
        end = time.monotonic() + seconds
        count = min(FEWEST_SAMPLES, problem.n_train)
        _time(problem, count, threads)  # what happens once, such as the choice of kernels
        while True:
            began = time.monotonic()
            gradient, product = _time(problem, count, threads)
            now = time.monotonic()
            fitting = count * (end - now) / max(now - began, 1e-9)
            more = problem.n_train if fitting >= problem.n_train else max(2 * count, fitting // 2)
            if count == problem.n_train or fitting < more:
                scale = problem.n_train / count
                return Timing(gradient * scale, product * scale, count)
            count = int(more)


def _time(problem: Problem, count: int, threads: int) -> tuple[float, float]:
    """Seconds of a gradient and of a product over this number of samples."""
    shape, dtype = datasets.shape(problem.dataset), getattr(torch, problem.dtype)
    module, theta = models.build(problem, shape), initial_parameters(problem, shape)
    inputs = torch.randn(count, shape.features, dtype=dtype)
    labels = torch.zeros(count, dtype=torch.int64)
    if shape.kind != "classes":
        labels = torch.ones(count, shape.outputs, dtype=dtype)
    objective = Objective(
        module,
        Layout.of(module),
        loss_of(problem.loss, shape),
        inputs,
        labels,
        chunks=plan_chunks(problem, count, "cpu"),
        multipliers=multipliers(problem, shape),
    )
    began = time.process_time()
    objective.gradient(theta)
    of_gradient = time.process_time() - began
    hessian = Hessian(objective, theta)
    began = time.process_time()
    hessian @ theta
    return of_gradient / threads, (time.process_time() - began) / threads


@functools.cache
def _vector_bytes(problem: Problem) -> int:
    network = models.build(problem, datasets.shape(problem.dataset))
    dtype: torch.dtype = getattr(torch, problem.dtype)
    return Layout.of(network).size * dtype.itemsize


def _shape(problem: Problem) -> Problem:
    """What of a problem its footprint depends on."""
    return dataclasses.replace(problem, seed=0, init_scale=1.0, n_train=1)


def _objective(
    problem: Problem, samples: datasets.Samples, device: str, ranks: Ranks, weight_decay: float
) -> Objective:
    """The mean loss over samples, of which this rank takes its share, with weight decay."""
    shape = datasets.shape(problem.dataset)
    module = models.build(problem, shape, device)
    share = ranks.share(len(samples.inputs))
    dtype = getattr(torch, problem.dtype)
    return Objective(
        module,
        Layout.of(module),
        loss_of(problem.loss, shape),
        torch.from_numpy(samples.inputs[share]).to(device=device, dtype=dtype),
        _labels(samples, share, dtype).to(device),
        samples=len(samples.inputs),
        ranks=ranks,
        multipliers=multipliers(problem, shape),
        weight_decay=weight_decay,
    )


def _labels(samples: datasets.Samples, share: slice, dtype: torch.dtype) -> Tensor:
    labels = torch.from_numpy(samples.labels[share])
    return labels.to(dtype) if labels.is_floating_point() else labels


@functools.cache
def _footprint(problem: Problem, device: str) -> Footprint:
    """What a network of these shapes allocates, whatever its parameters."""
    shape = datasets.shape(problem.dataset)
    module = models.build(problem, shape, device)
    layout, factors = Layout.of(module), multipliers(problem, shape)
    dtype = getattr(torch, problem.dtype)
    most = max(*PROBED_BY_FORMULAS, *PROBED_ON_GPU)
    inputs = torch.ones(most, shape.features, device=device, dtype=dtype)
    labels = torch.zeros(most, device=device, dtype=torch.int64)
    if shape.kind != "classes":
        labels = torch.ones(most, shape.outputs, device=device, dtype=dtype)

    def objective(count: int) -> Objective:
        loss = loss_of(problem.loss, shape)
        data = inputs[:count], labels[:count]
        return Objective(module, layout, loss, *data, multipliers=factors)

    return footprint_of(objective, initial_parameters(problem, shape).to(device))


def chunks_of(objective: Objective, size: int | None = None) -> Chunks:
    """How the samples of an objective go through its network, by what a few of them allocate.

    Args:
        objective: all samples in one process.
        size: how many at once; None for as many as are fast. Where there are few, that is all.
    """
    inputs, labels, theta = objective.inputs, objective.labels, objective.theta()
    count, device = len(inputs), inputs.device
    if count <= FEW_SAMPLES:
        return Chunks(size or count, -(-count // (size or count)))

    def first(samples: int) -> Objective:
        data = inputs[:samples], labels[:samples]
        return Objective(objective.module, objective.layout, objective.loss_sum, *data)

    needed, budget = footprint_of(first, theta), memory.default_budget(str(device))
    if size is None:
        return memory.plan(needed, count, budget, CHUNK_BYTES[device.type])
    return memory.of_size(needed, min(size, count), count, budget)


def footprint_of(objective: Callable[[int], Objective], theta: Tensor) -> Footprint:
    """What an objective over a number of samples allocates, on the device of θ."""
    samples = PROBED_SAMPLES
    if theta.is_cuda:
        samples = PROBED_ON_GPU
    elif objective(1).closed_form is not None:
        samples = PROBED_BY_FORMULAS
    return memory.footprint(
        samples,
        math.prod(theta.shape) * theta.element_size(),
        lambda count: objective(count).gradient(theta),
        lambda count: Hessian(objective(count), theta),
        lambda hessian: hessian @ theta,
        on_gpu=theta.is_cuda,
    )
