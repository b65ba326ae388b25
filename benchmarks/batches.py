"""Batches of GD trials beside the same trials one by one: what a step of a run costs.

    .venv/bin/python benchmarks/batches.py [--threads 1] [--device cpu] [--whole 6]

First a table of bare steps, for problems from small to large: GD on one θ, and on K of them at
once, and the bounds that :func:`jobs.calibration.calibrate` finds here. Then whole trials, with
all that they measure: 16 learning rates one after the other, and as one batch, whose rows are
compared.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Iterator

import torch
from script import parse, table
from torch import Tensor, nn

from jobs import OngoingTrial, Problem, Protocol, Trial, TrialResult
from jobs.calibration import calibrate
from jobs.numerics import reproducible
from jobs.objective import Objective
from jobs.ongoing import advance
from jobs.parameters import Layout
from jobs.problem import pose

BATCH_SIZES = (2, 4, 16, 64)
NETWORKS = (
    ("digits", 50, 8, 1),
    ("digits", 200, 16, 2),
    ("digits", 500, 32, 2),
    ("digits", 50, 200, 2),
    ("digits", 1000, 32, 2),
    ("mnist-mini", 200, 32, 2),
    ("digits", 1000, 64, 2),
    ("mnist-mini", 1000, 16, 1),
    ("mnist-mini", 1000, 64, 2),
)
"""Dataset, training samples, width and depth."""

WHOLE = (
    (("digits", 50, 8, 1), "float64", 0.05),
    (("digits", 50, 8, 1), "float32", 0.05),
    (("digits", 200, 16, 2), "float64", 0.05),
    (("digits", 200, 16, 2), "float32", 0.05),
    (("digits", 500, 32, 2), "float32", 0.05),
    (("mnist-mini", 200, 32, 2), "float32", 0.05),
)
"""The networks whose whole trials are run, and until which loss."""


class DiagonalNetwork(nn.Module):
    """x ↦ Σᵢ (uᵢ² − vᵢ²) xᵢ."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.u = nn.Parameter(torch.empty(features))
        self.v = nn.Parameter(torch.empty(features))

    def forward(self, inputs: Tensor) -> Tensor:
        """A value for each sample."""
        return (inputs * (self.u**2 - self.v**2)).sum(dim=1, keepdim=True)


def diagonal(device: str) -> tuple[Objective, Tensor]:
    """One sample with six features, fitted to the value 1."""
    module, generator = DiagonalNetwork(6), torch.Generator().manual_seed(0)
    inputs = torch.randn(1, 6, generator=generator).to(device)
    theta = torch.rand(12, generator=generator).to(device)
    labels = torch.zeros(1, dtype=torch.int64, device=device)

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        return (outputs - 1).square().sum() / 2

    return Objective(module, Layout.of(module), loss, inputs, labels), theta


def problem(dataset: str, samples: int, width: int, depth: int, dtype: str) -> Problem:
    return Problem(
        dataset=dataset,
        n_train=samples,
        width=width,
        depth=depth,
        activation="tanh",
        dtype=dtype,
    )


def milliseconds(steps: list[Callable[[], object]], repeats: int) -> list[float]:
    """The median time of each of several steps, measured in turn so that drifts hit them alike."""
    for step in steps:
        step()
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(repeats):
        for step, taken in zip(steps, times, strict=True):
            calls, start = 0, time.perf_counter()
            while (passed := time.perf_counter() - start) < 0.05 or calls == 0:
                step()
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                calls += 1
            taken.append(1e3 * passed / calls)
    return [statistics.median(taken) for taken in times]


def bare_steps(name: str, objective: Objective, theta: Tensor, repeats: int) -> list[str]:
    """What a run-step costs alone and in batches of several sizes."""
    size = len(theta)

    def alone() -> Tensor:
        return theta.sub(objective.stacked_gradients(theta[None])[1][0], alpha=0.01)

    def batched(runs: int) -> Callable[[], Tensor]:
        thetas, eta = theta.repeat(runs, 1), theta.new_full((runs, 1), 0.01)
        return lambda: thetas - eta * objective.stacked_gradients(thetas)[1]

    one, *batches = milliseconds([alone, *(batched(runs) for runs in BATCH_SIZES)], repeats)
    cells = [
        f"{together / runs:.4f} ({together / runs / one:.2f})"
        for runs, together in zip(BATCH_SIZES, batches, strict=True)
    ]
    products = size * objective.samples
    dtype = str(theta.dtype).removeprefix("torch.")
    return [name, dtype, f"{products:.2g}", f"{one:.4f}", *cells]


def whole_trials(
    network: tuple[str, int, int, int], dtype: str, epsilon: float, options: argparse.Namespace
) -> list[str]:
    """The time of 16 trials one by one and as a batch, and how far their rows are apart."""
    protocol = Protocol(epsilons=(4 * epsilon, epsilon), max_steps=options.steps)
    posed = problem(*network, dtype)

    def runs() -> list[OngoingTrial]:
        trials = [
            Trial(problem=posed, protocol=protocol, kind="gd", learning_rate=0.02 * 1.25**number)
            for number in range(16)
        ]
        place = {"device": options.device, "threads": options.threads}
        return [OngoingTrial(trial, **place) for trial in trials]

    runs()[0].advance()  # what is done once in a process
    one_by_one, together = runs(), runs()
    start = time.perf_counter()
    for run in one_by_one:
        run.advance()
    alone = time.perf_counter() - start
    start = time.perf_counter()
    advance(together)
    batched = time.perf_counter() - start
    apart = [
        difference(one.result(), other.result())
        for one, other in zip(one_by_one, together, strict=True)
    ]
    equal = [difference for difference in apart if math.isfinite(difference)]
    steps = sum(run.step for run in one_by_one)
    row = [" ".join(map(str, network)), dtype, f"{steps:,}", f"{alone:.2f}", f"{batched:.2f}"]
    farthest = f"{max(equal):.0e}" if equal else "–"
    return [*row, f"{batched / alone:.2f}", f"{len(equal)} of 16", farthest]


def difference(one: TrialResult, other: TrialResult) -> float:
    """The largest relative difference of two numbers of the rows; infinite where a step, a status
    or a count differs. What a measurement of S left over is no number of the trial.
    """
    largest = 0.0
    for row, twin in zip(one.crossings, other.crossings, strict=True):
        for field in dataclasses.fields(row):
            a, b = getattr(row, field.name), getattr(twin, field.name)
            if not (isinstance(a, float) and isinstance(b, float)):
                if a != b:
                    return math.inf
            elif not field.name.endswith("_residual"):
                largest = max(largest, abs(a - b) / max(abs(a), abs(b), 1e-300))
    return largest


def all_bare_steps(options: argparse.Namespace) -> Iterator[list[str]]:
    """The rows of the first table."""
    with reproducible(options.threads):
        yield bare_steps("diagonal, 1, 6", *diagonal(options.device), options.repeats)
        for network in NETWORKS[: options.networks]:
            for dtype in ("float32", "float64"):
                objective, _, theta = pose(problem(*network, dtype), options.device)
                name = " ".join(map(str, network))
                yield bare_steps(name, objective, theta, options.repeats)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--networks", type=int, default=len(NETWORKS), help="of bare steps")
    parser.add_argument("--repeats", type=int, default=7, help="of the timing of bare steps")
    parser.add_argument("--whole", type=int, default=len(WHOLE), help="networks of whole trials")
    parser.add_argument("--steps", type=int, default=2000, help="of whole trials, at most")
    options = parse(parser, networks=1, repeats=1, whole=1, steps=5)
    print("ms a step of a run: alone, and in batches of K (relative to alone)\n")
    heads = ["dataset, n, width, depth", "dtype", "P n", "alone"]
    heads += [f"K = {runs}" for runs in BATCH_SIZES]
    table(heads, all_bare_steps(options))
    print(f"\ncalibrated here: {calibrate(options.device)}")
    print(
        "\n16 whole trials, in seconds; rows with equal steps and counts, and the largest relative "
        "difference of a number in them\n"
    )
    heads = [
        "problem",
        "dtype",
        "steps",
        "one by one",
        "as a batch",
        "ratio",
        "equal",
        "difference",
    ]
    table(heads, (whole_trials(*case, options) for case in WHOLE[: options.whole]))


if __name__ == "__main__":
    main()
