"""GD on a diagonal network at thousands of learning rates: how fast, and the figure of it.

    .venv/bin/python benchmarks/diagonal.py                  # seconds; under half a minute
    .venv/bin/python benchmarks/diagonal.py --figure docs    # and docs/diagonal.png

The runs in a loop, one after the other, are timed on some of the rates and scaled up by steps.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from measuring import timed
from script import parse, table

from jobs.diagonal import TrainingLoss, descend, sweep_plane
from orchestrator.report import draw_diagonal

EVERY = 100
"""Of the rates, which are also run by themselves."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--figure", type=Path, metavar="FOLDER", help="where to draw it")
    parser.add_argument("--rates", type=int, help="so many from 0.02 to 0.26; else the figure's")
    options = parse(parser, rates=200)
    folder = options.figure
    rates = None if options.rates is None else np.linspace(0.02, 0.26, options.rates)
    seconds, sweep = timed(lambda: sweep_plane(rates=rates))
    runs, point = sweep.runs, sweep.point
    loss = TrainingLoss([point.x], [point.y])

    def alone() -> int:
        found = [descend(loss, sweep.flow.start, [eta]) for eta in runs.learning_rates[::EVERY]]
        return sum(int(one.steps[0]) for one in found)

    spent, steps = timed(alone)
    total = int(runs.steps.sum())
    rows = [
        [f"{len(runs.steps):,} runs together", f"{total:,}", f"{seconds:.2f}"],
        [f"{len(runs.steps[::EVERY])} of them alone", f"{steps:,}", f"{spent:.2f}"],
        ["all of them alone, extrapolated", f"{total:,}", f"{spent * total / steps:.0f}"],
    ]
    table(["runs", "steps", "seconds"], rows)
    if folder is not None:
        for path in draw_diagonal(folder, sweep):
            if path.suffix == ".png":
                print(f"\n{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
