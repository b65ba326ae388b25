"""How long a gradient and a Hessian product of a problem take here, measured in bounded time."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from jobs import datasets, models
from jobs.hessian import Hessian
from jobs.losses import LOSS_SUMS
from jobs.memory import WORKING_VECTORS, MemoryBudgetError, default_budget
from jobs.numerics import reproducible
from jobs.objective import Objective
from jobs.parameterization import initial_parameters, multipliers
from jobs.parameters import Layout
from jobs.problem import plan_chunks, vector_bytes
from jobs.spec import Problem

FEWEST_SAMPLES = 8


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
    budget, least = default_budget("cpu"), WORKING_VECTORS * vector_bytes(problem)
    if least > budget:
        raise MemoryBudgetError(budget, least)
    with reproducible(threads):
        end = time.monotonic() + seconds
        count = min(FEWEST_SAMPLES, problem.n_train)
        _measure(problem, count, threads)  # what happens once, such as the choice of kernels
        while True:
            began = time.monotonic()
            gradient, product = _measure(problem, count, threads)
            now = time.monotonic()
            fitting = count * (end - now) / max(now - began, 1e-9)
            more = problem.n_train if fitting >= problem.n_train else max(2 * count, fitting // 2)
            if count == problem.n_train or fitting < more:
                scale = problem.n_train / count
                return Timing(gradient * scale, product * scale, count)
            count = int(more)


def _measure(problem: Problem, count: int, threads: int) -> tuple[float, float]:
    """Seconds of a gradient and of a product over so many samples."""
    shape, dtype = datasets.shape(problem.dataset), getattr(torch, problem.dtype)
    module, theta = models.build(problem, shape), initial_parameters(problem, shape)
    inputs = torch.randn(count, shape.features, dtype=dtype)
    labels = torch.zeros(count, dtype=torch.int64)
    if shape.kind != "classes":
        labels = torch.ones(count, shape.outputs, dtype=dtype)
    objective = Objective(
        module,
        Layout.of(module),
        LOSS_SUMS[problem.loss],
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
