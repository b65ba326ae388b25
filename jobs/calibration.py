"""How fast this device is, and what batches of GD trials save on it, measured in a few seconds.

    python -m jobs.calibration cpu

prints both as JSON.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from jobs.batch_bounds import MOST_TINY_TRIALS, MOST_TRIALS, BatchBounds
from jobs.curvature.eigenvalues import extremal_eigenvalues_together
from jobs.curvature.hessian import BatchedHessian, Hessian
from jobs.curvature.krylov import BatchedProducts
from jobs.curvature.memory import default_budget
from jobs.device_speed import Calibration, DeviceSpeed
from jobs.dynamics.schedule import PRODUCTS_PER_GRADIENT
from jobs.losses import half_squared_error
from jobs.numerics import reproducible
from jobs.objective import Objective
from jobs.parameters import Layout

NETWORKS = (
    (50, 64, 8, 1),
    (100, 64, 16, 1),
    (200, 64, 16, 2),
    (500, 64, 32, 2),
    (1000, 64, 32, 2),
    (1000, 64, 64, 2),
    (1000, 784, 32, 2),
    (1000, 784, 64, 2),
    (2000, 784, 128, 2),
    (5000, 784, 200, 2),
    (5000, 3072, 200, 2),
    (5000, 3072, 400, 2),
)
"""Samples, features, width and depth of fully connected networks, from small to large. On a GPU,
where batches pay up to the largest, every third is tried."""

SAVED = 0.1
"""Of the time of single trials, what a batch must save."""

SECONDS = {"cpu": 4.0, "cuda": 15.0}
"""After which no larger network is tried, by kind of device."""

MISSES = 2
"""Sizes in a row at which a batch must save too little before no larger network is tried: at one,
another program may have taken the processor's caches."""

REPEATS = 3
"""Turns in which what is compared is timed."""

PRODUCTS = 5
"""Of a measurement that is timed. What the eigensolver does besides takes more than the products of
small networks, and is what a batch saves most of."""


MATRIX, COPIED, LAUNCHED = {"cpu": 1024, "cuda": 8192}, {"cpu": 2**24, "cuda": 2**28}, 100
"""By kind of device: rows and columns of the matrices whose product is timed, and the numbers of
which a copy is. And how many small operations are timed together."""


def calibrate(device: str = "cpu", seconds: float | None = None) -> Calibration:
    """Measure a device: with one CPU thread, or on a GPU."""
    with reproducible(threads=1):
        return Calibration(batch_bounds(device, seconds), device_speed(device))


def device_speed(device: str, matrix: int | None = None, copied: int | None = None) -> DeviceSpeed:
    """Measure the speed of a device, with the settings of the moment.

    Args:
        device: a torch device.
        matrix: rows and columns of the matrices that are multiplied; None for what suits it.
        copied: the numbers that are copied.
    """
    kind = torch.device(device).type
    size = matrix or MATRIX[kind]
    few, source = torch.zeros(4, device=device), torch.zeros(copied or COPIED[kind], device=device)
    found, target = torch.empty_like(few), torch.empty_like(source)

    def launches() -> None:
        for _ in range(LAUNCHED):
            torch.mul(few, few, out=found)

    dtypes = {"float32": torch.float32, "float64": torch.float64}
    steps: list[Callable[[], object]] = [launches, lambda: target.copy_(source)]
    for dtype in dtypes.values():
        matrices = torch.randn(2, size, size, dtype=dtype, device=device)
        steps.append(functools.partial(torch.mm, *matrices))
    of_launches, of_copy, *of_products = _seconds(steps, few)
    rates = (2 * size**3 / seconds for seconds in of_products)
    return DeviceSpeed(
        launch=of_launches / LAUNCHED,
        flops=dict(zip(dtypes, rates, strict=True)),
        nbytes=2 * source.nbytes / of_copy,
    )


def batch_bounds(device: str, seconds: float | None = None) -> BatchBounds:
    """Measure up to which size batches save time.

    Networks are tried from small to large until batches save less than ``SAVED`` at ``MISSES``
    sizes in a row, or the time is used up. On a GPU, the machine's cores are measured too, up to
    the size at which a GPU does more than its share of them.
    """
    most = tiny = misses = misses_of_many = 0
    pays_from = None
    torch.zeros(1, device=device)  # what happens once, such as the start of a GPU
    end = time.monotonic() + (SECONDS[device] if seconds is None else seconds)
    trials = MOST_TRIALS[device]
    for network in NETWORKS if device == "cpu" else NETWORKS[2::3]:
        objective, theta = _problem(*network, device)
        size = len(theta) * objective.samples * theta.element_size()
        with_many = misses_of_many < MISSES
        alone, some, many = _seconds_per_trial(objective, theta, trials, with_many=with_many)
        pays = some <= (1 - SAVED) * alone
        many_pay = pays and many <= (1 - SAVED) * some
        most, misses = (size, 0) if pays else (most, misses + 1)
        tiny, misses_of_many = (size, 0) if many_pay else (tiny, misses_of_many + 1)
        if device != "cpu" and pays_from is None and min(alone, some) < _by_cores(network):
            pays_from = size
        if misses == MISSES or time.monotonic() > end:
            break
    memory = None if device == "cpu" else default_budget(device)
    return BatchBounds(most, tiny, memory, trials, pays_from)


def _by_cores(network: tuple[int, int, int, int]) -> float:
    """Seconds of a trial's step with its share of measuring, by as many cores as there are for each
    GPU of the machine.
    """
    objective, theta = _problem(*network, "cpu")
    trials = MOST_TRIALS["cpu"]
    alone, some, _ = _seconds_per_trial(objective, theta, trials, with_many=False)
    return min(alone, some) * torch.cuda.device_count() / len(os.sched_getaffinity(0))


def _problem(
    samples: int, features: int, width: int, depth: int, device: str
) -> tuple[Objective, Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = [features, *[width] * depth, 10]
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.Tanh()]
    module = nn.Sequential(*layers[:-1]).to(device)
    inputs = torch.randn(samples, features, generator=generator).to(device)
    labels = torch.zeros(samples, 10, device=device)
    layout = Layout.of(module)
    theta = torch.randn(layout.size, generator=generator).to(device) / 10
    return Objective(module, layout, half_squared_error, inputs, labels), theta


def _seconds_per_trial(
    objective: Objective, theta: Tensor, some: int, *, with_many: bool
) -> tuple[float, float, float]:
    """Of a step with its share of measuring: of one trial alone, in a batch of some, in a larger.

    The last one is not finite if it is not asked for.
    """

    def alone() -> None:
        objective.stacked_gradients(theta[None])

    def measure(products: BatchedProducts, thetas: Tensor) -> Callable[[], object]:
        """A measurement that ends after :data:`PRODUCTS`."""
        return lambda: extremal_eigenvalues_together(
            products, thetas[:, None], rtol=0.0, max_products=PRODUCTS
        )

    def alone_measure() -> Callable[[], object]:
        hessian = Hessian(objective, theta)
        return measure(lambda vectors: hessian.products(vectors[0])[None], theta[None])

    def batch(trials: int) -> tuple[Callable[[], object], Callable[[], object]]:
        thetas = theta.repeat(trials, 1)
        together = measure(BatchedHessian(objective, thetas).products, thetas)
        return lambda: objective.stacked_gradients(thetas), together

    pairs = [(1, alone, alone_measure()), (some, *batch(some))]
    if with_many:
        pairs.append((MOST_TINY_TRIALS, *batch(MOST_TINY_TRIALS)))
    steps = _seconds([step for _, step, _ in pairs], theta)
    measurements = _seconds([measuring for _, _, measuring in pairs], theta)
    share = PRODUCTS_PER_GRADIENT / PRODUCTS
    single, of_some, *more = (
        (step + share * measuring) / trials
        for (trials, _, _), step, measuring in zip(pairs, steps, measurements, strict=True)
    )
    return single, of_some, more[0] if more else float("inf")


def _seconds(steps: Sequence[Callable[[], object]], like: Tensor) -> list[float]:
    """The least time of each, in turns: CPU seconds, so that no other program's count, or a GPU's.

    In turns, for a slow moment of the machine must not fall on one of them alone.
    """
    clock = time.perf_counter if like.is_cuda else time.process_time
    for step in steps:
        step()
    least = [float("inf")] * len(steps)
    for _ in range(REPEATS):
        for number, step in enumerate(steps):
            calls, start = 0, clock()
            while calls == 0 or clock() - start < 0.005:
                step()
                calls += 1
                if like.is_cuda:
                    torch.cuda.synchronize()
            least[number] = min(least[number], (clock() - start) / calls)
    return least


if __name__ == "__main__":
    print(json.dumps(calibrate(sys.argv[1] if len(sys.argv) > 1 else "cpu").to_json()))
