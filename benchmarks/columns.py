"""Whole sweeps by this package on all cores, beside the loop that a researcher writes, on one.

    .venv/bin/python benchmarks/columns.py [--cases tiny small mnist quickstart] [--points none 50]

A sweep is run into an empty folder by ``eos run``, and timed from the start of its first trial to
the end of its last, by the tables: the start of Ray and of the workers is not counted, the flows
are. The loop takes the same GD trials from the tables, one after the other in one thread: gradients
by autograd, updates in place, the loss read after each step, and λ_max by scipy's ``eigsh`` with
products by autograd, every 50 steps and at the end. It has no flow, no λ_min, no trajectory, no
test loss and no checkpoint. With ``--points 50`` the sweep, too, measures at every 50th step only;
with ``none`` by its own rule, most often among the first 100. Below η_c, where rounding does not
grow, the loop ends at the same loss and λ_max: ``difference`` is the largest relative one there.

The floor is what matrix products take for the counted gradients and Hessian products (of three
times, and twice three times, the multiplications of a forward pass), at the rate of large ones.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import yaml
from floors import counted_flops
from scipy.sparse.linalg import LinearOperator, eigsh
from script import parse, table
from torch import Tensor, nn

from jobs import Problem, datasets
from jobs.calibration import device_speed
from jobs.losses import half_squared_error
from jobs.numerics import reproducible
from jobs.problem import pose
from orchestrator.store import Store

EVERY, RTOL = 50, 1e-3
EOS = Path(sys.executable).with_name("eos")

TINY = """
name: tiny
problem: {dataset: digits, n_train: 200, width: 16, depth: 2, activation: tanh, loss: mse,
  seed: [0, 1, 2, 3, 4, 5, 6, 7]}
eta: {values: {geometric: [0.2, 2.0, 32]}}
stop: {epsilon: 0.1}
"""
SMALL = """
name: small
problem: {dataset: digits, n_train: 1000, width: 32, depth: 2, activation: tanh, loss: mse}
eta: {values: {geometric: [0.2, 2.0, 32]}}
stop: {epsilon: 0.05}
"""
MNIST = """
name: mnist
problem: {dataset: mnist-mini, n_train: 1000, width: 64, depth: 2, activation: tanh, loss: mse}
eta: {values: {geometric: [0.5, 2.0, 8]}}
stop: {epsilon: 0.1}
"""
SMALLEST = """
name: smallest
problem: {dataset: digits, n_train: 50, width: 8, depth: 1, activation: tanh, loss: mse}
eta: {values: [0.5, 1.0]}
stop: {epsilon: 0.4}
"""
QUICKSTART = Path(__file__).parents[1] / "configs" / "quickstart.yaml"
CASES = {
    "tiny": TINY,
    "small": SMALL,
    "mnist": MNIST,
    "quickstart": QUICKSTART.read_text(),
    "smallest": SMALLEST,
}


def with_points(text: str, points: str) -> str:
    """The sweep with a point of the trajectory at every so many steps; by its own rule for none."""
    sweep = yaml.safe_load(text)
    every = None if points == "none" else int(points)
    sweep["measure"] = {**sweep.get("measure", {}), "trajectory_every": every}
    return str(yaml.safe_dump(sweep))


def ours(text: str) -> tuple[float, list[dict[str, object]]]:
    """Seconds from the first start to the last end, and the last row of each trial."""
    with tempfile.TemporaryDirectory() as folder:
        sweep, run = Path(folder) / "sweep.yaml", Path(folder) / "run"
        sweep.write_text(text)
        command = [str(EOS), "run", str(sweep), "--run-dir", str(run)]
        subprocess.run(command, check=True, capture_output=True)
        rows = Store(run).rows("trials")
    first = min(row["started_at"] for row in rows)
    seconds = (max(row["finished_at"] for row in rows) - first).total_seconds()
    smallest = min(row["epsilon"] for row in rows)
    return seconds, [row for row in rows if row["epsilon"] == smallest]


def problem_of(row: dict[str, object]) -> Problem:
    """The problem of a trial's row."""
    names = ("dataset", "n_train", "width", "depth", "activation", "loss", "seed")
    return Problem(**{name: row[name] for name in names})


def by_hand(row: dict[str, object]) -> tuple[float, float, float]:
    """Seconds of a GD trial by a loop in one thread, its last loss, and λ_max there."""
    problem = problem_of(row)
    train, _, theta = pose(problem)
    sizes = [train.inputs.shape[1], *[problem.width] * problem.depth, outputs_of(problem)]
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.Tanh()]
    module = nn.Sequential(*layers[:-1])
    nn.utils.vector_to_parameters(theta, module.parameters())
    x, y, eta = train.inputs, train.labels, float(row["eta"])  # type: ignore[arg-type]
    y = nn.functional.one_hot(y, sizes[-1]).to(x.dtype)
    start = time.perf_counter()
    loss, sharpness = descend(module, x, y, eta, int(row["steps"]))  # type: ignore[call-overload]
    return time.perf_counter() - start, loss, sharpness


def outputs_of(problem: Problem) -> int:
    """The outputs of a dataset's networks."""
    return datasets.shape(problem.dataset).outputs


def descend(module: nn.Module, x: Tensor, y: Tensor, eta: float, steps: int) -> tuple[float, float]:
    """As many steps of GD: the loss at the end, and λ_max there."""
    parameters = list(module.parameters())
    for step in range(steps):
        if step % EVERY == 0:
            lambda_max(module, x, y)
        loss = half_squared_error(module(x), y) / len(x)
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= eta * gradient
        loss.item()
    sharpness = lambda_max(module, x, y)
    return float(half_squared_error(module(x), y).detach() / len(x)), sharpness


def lambda_max(module: nn.Module, x: Tensor, y: Tensor) -> float:
    """The largest eigenvalue, by Lanczos."""
    parameters = list(module.parameters())
    loss = half_squared_error(module(x), y) / len(x)
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])

    def product(vector: np.ndarray) -> np.ndarray:
        direction = torch.from_numpy(vector.reshape(-1)).to(flat)
        parts = torch.autograd.grad(flat, parameters, direction, retain_graph=True)
        return torch.cat([part.reshape(-1) for part in parts]).numpy()

    operator = LinearOperator((len(flat), len(flat)), matvec=product, dtype=np.float32)
    return float(eigsh(operator, k=1, which="LA", tol=RTOL, return_eigenvectors=False)[0])


def floor(rows: list[dict[str, object]], rate: float) -> float:
    """Seconds that the matrix products of all trials take at that rate."""
    counts = ((problem_of(row), row["gradients"], row["hvps"]) for row in rows)
    return sum(counted_flops(*count) for count in counts) / rate  # type: ignore[arg-type]


def measure(name: str, points: str) -> list[str]:
    """A row of the table."""
    seconds, rows = ours(with_points(CASES[name], points))
    descents = [row for row in rows if row["kind"] == "gd" and row["status"] == "reached"]
    with reproducible(threads=1):
        rate = device_speed("cpu", matrix=512).flops["float32"]
        found = [by_hand(row) for row in descents]
    worst = max(
        max(abs(loss / row["train_loss"] - 1), abs(top / row["lambda_max"] - 1))  # type: ignore[operator]
        for (_, loss, top), row in zip(found, descents, strict=True)
        if row["eta_over_eta_c"] < 1  # type: ignore[operator]
    )
    loop, cores = sum(one for one, _, _ in found), len(os.sched_getaffinity(0))
    least = floor(rows, rate)
    gradients, products = (sum(row[key] for row in rows) for key in ("gradients", "hvps"))  # type: ignore[misc]
    counts = (str(len(descents)), str(gradients), str(products))
    times = (f"{loop:.2f}", f"{seconds:.2f}", f"{loop / seconds:.2f}")
    return [name, points, *counts, *times, f"{seconds * cores / least:.2f}", f"{worst:.1e}"]


def main() -> None:
    """Run each case both ways, and print what they take."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    usual = [name for name in CASES if name != "smallest"]
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=usual)
    parser.add_argument("--points", nargs="+", default=["none", str(EVERY)])
    args = parse(parser, cases=["smallest"], points=[str(EVERY)])
    rows = (measure(name, points) for name in args.cases for points in args.points)
    counts, times = ("GD trials", "gradients", "products"), ("loop s", "ours s", "loop ÷ ours")
    table(("sweep", "points", *counts, *times, "CPU s ÷ floor", "difference"), rows)


if __name__ == "__main__":
    main()
