"""The published curve of fc-tanh on CIFAR-10-5k under GD at η = 0.01, computed again.

    .venv/bin/python benchmarks/published.py --cifar FOLDER

trains the network of Cohen et al. 2021 (3072-200-200-10, tanh, MSE as ½ Σ over outputs, PyTorch's
default initialisation from seed 0) to 99 % training accuracy, measures the sharpness every 50
steps, and prints it beside the values read off their figure (good to 1-2 % of the axis). It takes
about 10 minutes on 2 cores. Their inputs are standardised over all 50,000 images, ours over the
5,000 that are used.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import networks
import torch
from networks import Case
from script import parse, table
from torch import Tensor

from jobs.curvature.sharpness import SharpnessMeter
from jobs.dynamics.descent import GradientDescent
from jobs.dynamics.iterate import Bounds, Iterate
from jobs.numerics import reproducible
from jobs.objective import Objective

LEARNING_RATE = 0.01
PUBLISHED = {
    0: (77.5, 0.60),
    200: (72.5, None),
    500: (71.7, 0.368),
    1000: (75, 0.348),
    1500: (86.5, None),
    2000: (100, 0.304),
    2500: (117.5, None),
    3000: (137, 0.264),
    3500: (158, None),
    4000: (182.5, 0.223),
    4300: (197, None),
    4400: (205, None),
    5000: (204, 0.188),
    6000: (208, 0.165),
    7000: (209, 0.145),
    8000: (212, 0.14),
    9000: (211, 0.12),
}
"""Sharpness and training loss by step, as read off the figure."""

ENDS = 9040
"""The step at which the published run reached 99 % training accuracy."""


def main() -> None:
    """Train, and print the curve beside the published one."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cifar", type=Path, help="folder of the binary files; else random images")
    parser.add_argument("--samples", type=int, default=5_000)
    parser.add_argument("--steps", type=int, default=10_000, help="stop here at the latest")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parse(parser, samples=50, steps=50)
    with reproducible(options.threads):
        compare(networks.case("fc", options.samples, options.cifar), options.steps)


def compare(case: Case, most_steps: int) -> None:
    """Train to 99 % accuracy or the last step, printing rows where there is a published value."""
    objective, training = case.objective(), Training()
    start = time.perf_counter()
    heads = ["step", "S", "published S", "difference", "loss", "published loss"]
    table(heads, curve(objective, case.theta, most_steps, training))
    crossed = "never" if training.crossed is None else f"at step {training.crossed}"
    print(
        f"largest difference of S {training.worst:.1%}; S crosses 2/η {crossed} (published: about "
        f"4350); {100 * training.accuracy:.0f} % accuracy at step {training.step} (published: "
        f"99 % at about {ENDS})\n"
        f"{objective.gradients} gradients and {objective.hvps} Hessian products in "
        f"{time.perf_counter() - start:.0f} s"
    )


@dataclass
class Training:
    """How far it came."""

    step: int = 0
    crossed: int | None = None
    worst: float = 0.0
    accuracy: float = 0.0


def curve(
    objective: Objective, theta: Tensor, most_steps: int, training: Training
) -> Iterator[list[str]]:
    """A row for each step with a published value."""
    method, meter = GradientDescent(objective, LEARNING_RATE), SharpnessMeter(objective, 1e-3)
    at = Iterate(theta).evaluated(objective)
    for step in range(most_steps + 1):
        training.step, loss, theta = step, at.loss, at.theta
        if step % 50 == 0:
            sharpness = meter.measure(theta).sharpness
            if training.crossed is None and sharpness > 2 / LEARNING_RATE:
                training.crossed = step
            if step in PUBLISHED:
                theirs, their_loss = PUBLISHED[step]
                off = sharpness / theirs - 1
                training.worst = max(training.worst, abs(off))
                row = [str(step), f"{sharpness:.1f}", f"{theirs:.1f}", f"{off:.1%}", f"{loss:.4f}"]
                yield [*row, "–" if their_loss is None else f"{their_loss}"]
            training.accuracy = objective.evaluate(theta).accuracy
            if training.accuracy >= 0.99:
                break
        at = method.move(at, Bounds(0.0, 1e3, 1))


if __name__ == "__main__":
    main()
