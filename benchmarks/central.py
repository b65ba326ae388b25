"""What a central flow costs beside the GD trial that it explains, and where both end.

    .venv/bin/python benchmarks/central.py            # the quickstart's problem; about ten minutes

A product counts as one gradient, a third derivative as three; one thread.
"""

from __future__ import annotations

import argparse

import torch
from measuring import timed
from script import parse, table

from jobs import Problem, Protocol, Trial, run_trial
from jobs.dynamics.schedule import PER_THIRD_DERIVATIVE
from jobs.records import Crossing

FACTORS = (1.32, 1.91, 2.76, 4.0)
"""Rates in units of η_c."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-train", type=int, default=1000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--epsilon", type=float, default=0.02)
    parser.add_argument("--factors", type=float, nargs="*", default=FACTORS)
    options = parse(parser, n_train=40, width=8, epsilon=0.2, factors=[1.5])
    torch.set_num_threads(1)
    problem = Problem(
        dataset="mnist-mini",
        n_train=options.n_train,
        width=options.width,
        depth=2,
        activation="tanh",
        dtype="float64",
    )
    protocol = Protocol(epsilons=(options.epsilon,), trajectory_every="factor 1.5")

    def run(kind: str, eta: float | None) -> tuple[float, Crossing]:
        trial = Trial(problem=problem, protocol=protocol, kind=kind, learning_rate=eta)
        seconds, found = timed(lambda: run_trial(trial, threads=1))
        return seconds, found.crossings[0]

    _, flow = run("flow", None)
    assert flow.max_sharpness is not None
    eta_c = 2 / flow.max_sharpness
    heads = ["η/η_c", "steps of GD", "S·η/2", "‖θ‖₁", "test loss", "steps", "gradients", "products"]
    heads += ["third derivatives", "gradients a step of GD", "s", "s ÷ GD"]
    rows = [_row("flow", None, flow, [])]
    for factor in options.factors:
        eta = factor * eta_c
        of_gd, gd = run("gd", eta)
        of_central, central = run("central", eta)
        rows.append(_row(f"GD {factor:g}", eta, gd, ["", f"{of_gd:.1f}", ""]))
        ratio = f"{of_central / of_gd:.1f}"
        costs = [f"{_cost(central) / (central.time / eta):.1f}", f"{of_central:.1f}", ratio]
        rows.append(_row(f"central {factor:g}", eta, central, costs))
    table(heads, rows)


def _cost(row: Crossing) -> float:
    return row.gradients + row.hvps + PER_THIRD_DERIVATIVE * (row.third_derivatives or 0)


def _row(name: str, eta: float | None, row: Crossing, costs: list[str]) -> list[str]:
    steps = "" if eta is None else f"{row.time / eta:.1f}"
    edge = "" if eta is None else f"{(row.sharpness or 0) * eta / 2:.3f}"
    third = "" if row.third_derivatives is None else f"{row.third_derivatives:,}"
    ends = [f"{row.l1_norm:.1f}", f"{row.test_loss:.4f}", f"{row.steps:,}"]
    counts = [f"{row.gradients:,}", f"{row.hvps:,}", third]
    return [name, steps, edge, *ends, *counts, *(costs or ["", "", ""])]


if __name__ == "__main__":
    main()
