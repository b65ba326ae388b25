"""Sharpness along training at several widths, under standard, ntk and mup.

    python benchmarks/widths.py --figure widths.png

trains fully connected networks of depth 2 with GD at one learning rate, measures the sharpness on
the way, prints a table and draws it. Under mup the curves of wide networks should fall together
(Noci et al. 2024, "Super consistency of neural network landscapes"); under standard the sharpness
grows with the width, and a fixed η is soon too large.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib import pyplot as plt
from script import parse, table

from jobs import OngoingTrial, Problem, Protocol, Trial
from jobs.records import Point

PARAMETERIZATIONS = ("standard", "ntk", "mup")
Curves = dict[tuple[str, int], tuple[Point, ...]]


def main() -> None:
    """Train every width under every parameterization; print and draw the sharpness."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", default="mnist-mini")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256, 512, 1024])
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--every", type=int, default=50, help="steps between two measurements")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--figure", type=Path, help="where to write the figure")
    options = parse(parser, samples=20, widths=[4, 8], steps=4, every=1)
    curves: Curves = {}
    for parameterization in PARAMETERIZATIONS:
        for width in options.widths:
            curves[parameterization, width] = curve(options, parameterization, width)
    print_table(curves, options)
    if options.figure:
        draw(curves, options)


def curve(options: argparse.Namespace, parameterization: str, width: int) -> tuple[Point, ...]:
    """The recorded points of one run; it ends early where the run diverges."""
    problem = Problem(
        dataset=options.dataset,
        n_train=options.samples,
        width=width,
        parameterization=parameterization,
        base_width=min(options.widths),
    )
    protocol = Protocol(epsilons=(1e-9,), max_steps=options.steps, trajectory_every=options.every)
    rate = options.learning_rate
    run = OngoingTrial(
        Trial(problem=problem, protocol=protocol, kind="gd", learning_rate=rate),
        threads=options.threads,
    )
    run.advance()
    return run.result().trajectory


def print_table(curves: Curves, options: argparse.Namespace) -> None:
    """A row for each run: sharpness at the start, after a quarter, a half, and the last one."""
    marks = [0, options.steps // 4, options.steps // 2, options.steps]
    heads = ["parameterization", "width", *(f"S at {mark}" for mark in marks), "last loss"]
    rows = []
    for (parameterization, width), points in curves.items():
        row = [parameterization, str(width)]
        for mark in marks:
            there = [p.sharpness for p in points if p.step == mark and p.sharpness is not None]
            row.append(f"{there[0]:.2f}" if there else "–")
        loss = points[-1].train_loss
        rows.append([*row, "–" if loss is None else f"{loss:.4g}"])
    print(f"η = {options.learning_rate:g}, 2/η = {2 / options.learning_rate:g}")
    table(heads, rows)


def draw(curves: Curves, options: argparse.Namespace) -> None:
    """One panel for each parameterization, one line for each width."""
    figure, panels = plt.subplots(
        1, len(PARAMETERIZATIONS), figsize=(12, 3.6), sharey=True, layout="constrained"
    )
    colours = plt.get_cmap("viridis")
    for panel, parameterization in zip(panels, PARAMETERIZATIONS, strict=True):
        for number, width in enumerate(options.widths):
            points = curves[parameterization, width]
            finite = [point for point in points if point.sharpness is not None]
            steps = [point.step for point in finite]
            values = [point.sharpness for point in finite]
            colour = colours(number / max(len(options.widths) - 1, 1))
            panel.plot(steps, values, color=colour, label=str(width))
        edge = 2 / options.learning_rate
        panel.axhline(edge, color="black", linestyle=":", linewidth=1, label=f"2/η = {edge:g}")
        panel.set(title=parameterization, xlabel="step", yscale="log")
    panels[0].set_ylabel("sharpness")
    lines, labels = panels[-1].get_legend_handles_labels()
    figure.legend(lines, labels, title="width", loc="outside right center")
    figure.savefig(options.figure, dpi=100)


if __name__ == "__main__":
    main()
