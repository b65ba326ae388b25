"""The flow: our default beside RK4 with h = 1/S and torchdiffeq's dopri5 and bosh3.

    .venv/bin/python benchmarks/flow.py                          # mnist-mini; about 5 minutes
    .venv/bin/python benchmarks/flow.py --cifar FOLDER [--time 3]  # and CIFAR-10-5k; 30 minutes
    .venv/bin/python benchmarks/flow.py --cifar FOLDER --parts whole  # 99 % accuracy; 15 minutes

FOLDER holds CIFAR-10's binary files. The times are for two idle cores.

The reference of each case is RK4 with h = 0.25/S until a time T, S measured after every 1/S. Our
methods run until the loss that it has there, as a trial does, so that their rows hold S at that
loss and the largest S on the way; torchdiffeq runs until T and S is measured at 8 ticks, counted
like ours. Its tolerance is tightened (rtol 1e-3, 1e-4 …, atol a hundredth) until S(end) is right to
0.5 %, or until it needs more gradients than RK4; the last one that it finished is printed.

Of the whole flow RK4's gradients are counted as 4 ∫S dt, by the trapezoidal rule over the measured
S(t), and not run. The reference is our own method with a hundredth of its tolerance.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cifar
import networks
import torch
import torchdiffeq
from script import parse, table
from torch import Tensor, nn

from jobs import Problem
from jobs.curvature.sharpness import SharpnessMeter
from jobs.dynamics.flows import METHODS, TOLERANCE, RungeKuttaChebyshev2
from jobs.dynamics.integrator import Integrator
from jobs.dynamics.iterate import Bounds, Iterate
from jobs.losses import LOSS_SUMS
from jobs.numerics import reproducible
from jobs.objective import Objective
from jobs.parameters import Layout
from jobs.problem import pose

RTOL = 1e-3
"""Of the sharpness."""

TICKS = 8
TOLERANCES = (1e-3, 1e-4, 1e-5, 1e-6)
GOOD = 5e-3
ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}


@dataclass(frozen=True)
class Point:
    """Where a flow was looked at, and what it had cost by then."""

    time: float
    loss: float
    sharpness: float
    gradients: int
    hvps: int
    seconds: float


class TooManyGradientsError(Exception):
    """A method needed more gradients than it was given."""


def mnist(samples: int, width: int, activation: str, loss: str) -> tuple[Objective, Tensor]:
    """mnist-mini, 784-width-width-10."""
    problem = Problem(
        dataset="mnist-mini", n_train=samples, width=width, activation=activation, loss=loss
    )
    objective, _, theta = pose(problem)
    return objective, theta


def cifar_10(folder: Path, activation: str, loss: str) -> tuple[Objective, Tensor]:
    """CIFAR-10-5k, 3072-200-200-10, initialised by PyTorch from seed 0."""
    inputs, labels = cifar.read(folder, 5000)
    torch.manual_seed(0)
    network = networks.fcn(ACTIVATIONS[activation])
    layout = Layout.of(network)
    objective = Objective(network, layout, LOSS_SUMS[loss], inputs, labels)
    return objective, networks.flat_parameters(network)


def ours(
    build: Callable[[Objective], Integrator],
    objective: Objective,
    theta: Tensor,
    epsilon: float,
) -> Iterator[Point]:
    """The measurements of one of our methods until the loss is ε."""
    objective.count_from(gradients=0, hvps=0)
    method, meter = build(objective), SharpnessMeter(objective, RTOL)
    start, at = time.perf_counter(), Iterate(theta).evaluated(objective)
    while True:
        if at.loss <= epsilon or method.wants_sharpness:
            measured = meter.measure(at.theta).sharpness
            method.see_sharpness(measured)
            counts = objective.gradients, objective.hvps
            yield Point(at.time, at.loss, measured, *counts, time.perf_counter() - start)
        if at.loss <= epsilon:
            return
        at = method.move(at, Bounds(epsilon, math.inf, 1))


def reference(objective: Objective, theta: Tensor, end: float) -> Iterator[Point]:
    """RK4 with h = 0.25/S until ``end``, by itself."""
    objective.count_from(gradients=0, hvps=0)
    meter, passed, start = SharpnessMeter(objective, RTOL), 0.0, time.perf_counter()
    loss, slope = objective.gradient(theta)
    for count in itertools.count():
        if count % 4 == 0 or passed == end:
            measured = meter.measure(theta).sharpness
            counts = objective.gradients, objective.hvps
            yield Point(passed, loss, measured, *counts, time.perf_counter() - start)
        if passed == end:
            return
        h = min(0.25 / measured, end - passed)
        k2 = objective.gradient(theta - h / 2 * slope)[1]
        k3 = objective.gradient(theta - h / 2 * k2)[1]
        k4 = objective.gradient(theta - h * k3)[1]
        theta = theta - h / 6 * (slope + 2 * k2 + 2 * k3 + k4)
        passed = end if h == end - passed else passed + h
        loss, slope = objective.gradient(theta)


def torchdiffeqs(
    method: str, objective: Objective, theta: Tensor, end: float, rtol: float, most: int
) -> list[Point]:
    """S at the ticks of a flow by torchdiffeq.

    Raises:
        TooManyGradientsError: it needs more gradients than ``most``.
    """
    objective.count_from(gradients=0, hvps=0)

    def slope(_: Tensor, point: Tensor) -> Tensor:
        if objective.gradients > most:
            raise TooManyGradientsError
        return -objective.gradient(point)[1]

    start, points = time.perf_counter(), []
    ticks = torch.linspace(0, end, TICKS + 1, dtype=torch.float64)
    solved = torchdiffeq.odeint(slope, theta, ticks, rtol=rtol, atol=rtol / 100, method=method)
    meter = SharpnessMeter(objective, RTOL)
    for tick, at in zip(ticks.tolist(), solved, strict=True):
        measured = meter.measure(at).sharpness
        counts = objective.gradients, objective.hvps
        seconds = time.perf_counter() - start
        points.append(Point(tick, objective.evaluate(at).loss, measured, *counts, seconds))
    return points


def afforded(
    method: str, objective: Objective, theta: Tensor, truth: list[Point], most: int
) -> tuple[str, list[Point]]:
    """torchdiffeq at the largest tolerance that is good enough, or the smallest that it affords."""
    found: tuple[str, list[Point]] = (method, [])
    for rtol in TOLERANCES:
        try:
            points = torchdiffeqs(method, objective, theta, truth[-1].time, rtol, most)
        except (
            TooManyGradientsError,
            AssertionError,
        ):  # torchdiffeq asserts that its step has not underflowed
            break
        found = (f"{method} {rtol:.0e}", points)
        if abs(points[-1].sharpness / truth[-1].sharpness - 1) <= GOOD:
            break
    return found


def line(name: str, points: list[Point], truth: list[Point]) -> list[str]:
    """What a method cost, and how far its S is from the truth."""
    if not points:
        return [f"{name}, more gradients than RK4 at rtol {TOLERANCES[0]:.0e}", *["–"] * 5]
    end, largest = points[-1], max(point.sharpness for point in points)
    true_end, true_largest = truth[-1], max(point.sharpness for point in truth)
    return [
        name,
        str(end.gradients),
        str(end.hvps),
        f"{end.seconds:.1f}",
        f"{100 * (end.sharpness / true_end.sharpness - 1):+.3f}",
        f"{100 * (largest / true_largest - 1):+.3f}",
    ]


HEADS = ["method", "gradients", "HVPs", "s", "S(end), %", "s_gf, %"]


def compare(name: str, objective: Objective, theta: Tensor, end: float) -> None:
    """Print the table of one case."""
    truth = list(reference(objective, theta, end))
    print(f"\n{name}, T = {end:g}: S {truth[0].sharpness:.2f} -> {truth[-1].sharpness:.2f}\n")

    def rows() -> Iterator[list[str]]:
        yield line("RK4 0.25/S", truth, truth)
        for method in ("rkc2", "rk4"):
            points = list(ours(METHODS[method], objective, theta, truth[-1].loss))
            yield line(method, points, truth)
        most = points[-1].gradients
        for method in ("dopri5", "bosh3"):
            yield line(*afforded(method, objective, theta, truth, most), truth)

    table(HEADS, rows())


def whole(objective: Objective, theta: Tensor) -> None:
    """Print what the flow until 99 % training accuracy costs, and how right it is."""
    epsilon = accurate_loss(objective, theta)
    points = list(ours(RungeKuttaChebyshev2, objective, theta, epsilon))
    finely = partial(RungeKuttaChebyshev2, tolerance=TOLERANCE / 100)
    truth = list(ours(finely, objective, theta, epsilon))
    end = points[-1]
    print(
        f"\ntanh, MSE, whole flow, until 99 %: t = {end.time:.2f}, L = {end.loss:.4f}, "
        f"S {points[0].sharpness:.1f} -> {end.sharpness:.1f}\n"
    )
    rows = [line(f"rkc2 {TOLERANCE / 100:.0e}", truth, truth), line("rkc2", points, truth)]
    area = sum(
        (after.time - before.time) * (before.sharpness + after.sharpness) / 2
        for before, after in itertools.pairwise(points)
    )
    with_looks = end.gradients + 1.2 * end.hvps
    table(HEADS, [*rows, ["RK4 h = 1/S, 4 ∫S dt", f"{4 * area:.0f}", *["–"] * 4]])
    print(
        f"\nRK4 takes {4 * area / end.gradients:.1f} times as many gradients, "
        f"{4 * area / with_looks:.1f} times with S at 1.2 gradients a product"
    )


def accurate_loss(objective: Objective, theta: Tensor) -> float:
    """The loss where the flow has just reached 99 % training accuracy, to one part in 500."""
    method, meter = METHODS["rkc2"](objective), SharpnessMeter(objective, RTOL)
    at = Iterate(theta).evaluated(objective)
    while True:
        if method.wants_sharpness:
            method.see_sharpness(meter.measure(at.theta).sharpness)
        threshold = 0.998 * at.loss if at.loss < 0.11 else 0.0
        at = method.move(at, Bounds(threshold, math.inf, 1))
        if objective.evaluate(at.theta).accuracy >= 0.99:
            return at.loss


Case = tuple[str, Callable[[], tuple[Objective, Tensor]], float]


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """What is compared: a name, the objective with θ0, and T."""
    for activation, loss, until in (
        ("tanh", "mse", 8.0),
        ("relu", "mse", 3.0),
        ("tanh", "ce", 6.0),
        ("relu", "ce", 6.0),
    ):
        build = partial(mnist, options.samples, options.width, activation, loss)
        end = until if options.until is None else options.until
        yield f"mnist-mini, n = {options.samples}, {activation}, {loss}", build, end
    if options.cifar:
        for activation, loss in itertools.product(("tanh", "relu"), ("mse", "ce")):
            build = partial(cifar_10, options.cifar, activation, loss)
            until = options.time if (activation, loss) == ("tanh", "mse") else 3.0
            yield f"CIFAR-10-5k, {activation}, {loss}", build, until


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar", type=Path, metavar="FOLDER")
    parser.add_argument("--time", type=float, default=3.0, help="T of fc-tanh with MSE on CIFAR")
    parser.add_argument("--parts", nargs="+", choices=["cases", "whole"], default=["cases"])
    parser.add_argument("--only", default="", help="the cases whose name contains this")
    parser.add_argument("--samples", type=int, default=1000, help="of mnist-mini")
    parser.add_argument("--until", type=float, help="T on mnist-mini; else each case's own")
    parser.add_argument("--width", type=int, default=64, help="of the networks on mnist-mini")
    parser.add_argument("--threads", type=int)
    smallest = {"only": "tanh, ce", "samples": 20, "until": 1.0, "width": 4}
    options = parse(parser, parts=["cases", "whole"], **smallest)
    with reproducible(options.threads):
        for name, build, end in cases(options) if "cases" in options.parts else ():
            if options.only in name:
                compare(name, *build(), end)
        if "whole" in options.parts:
            tanh_mse = "tanh", "mse"
            if options.cifar:
                whole(*cifar_10(options.cifar, *tanh_mse))
            else:
                whole(*mnist(options.samples, options.width, *tanh_mse))


if __name__ == "__main__":
    main()
