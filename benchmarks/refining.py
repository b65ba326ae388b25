"""Rates that refine themselves beside the uniform grid of the same precision.

    .venv/bin/python benchmarks/refining.py        # about two minutes

Twenty columns with known answers: ten synthetic ones, whose S, divergence and valley are given with
1 % of scatter, and ten diagonal networks on one point, whose η_c is known in closed form and whose
GD is computed at each rate. Ten real ones: networks of 8 units on digits, with a seed each. All
begin with 8 rates from η_c/2 to 16 η_c. The uniform grid has the same ends, and rates as close as
the asked precision; its gradients are those of the refined trials, interpolated in log η.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from script import parse, table

from jobs import Problem, Protocol, Trial, run_trial
from jobs.diagonal import Flow, OnePoint, TrainingLoss, descend
from orchestrator.plan.refining import Found, Refinement, refined
from orchestrator.sweep import Refine

FIRST = np.geomspace(0.5, 16.0, 8)
ASKED = Refine()
SCATTER = 0.01


@dataclass(frozen=True)
class Rate:
    """What GD found at one rate."""

    diverged: bool
    reached: bool
    sharpness: float
    test_loss: float
    gradients: float


@dataclass(frozen=True)
class Column:
    """GD at a multiple of η_c; what is known of the kink and of the largest stable rate."""

    eta_c: float
    at: Callable[[float], Rate]
    kink: float = math.nan
    largest: float = math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--columns", type=int, default=10, help="of each kind")
    parser.add_argument("--n-train", type=int, default=60)
    options = parse(parser, columns=1, n_train=20)
    rng = np.random.default_rng(0)
    kinds: dict[str, Callable[[int], Column]] = {
        "synthetic": lambda _: _synthetic(rng),
        "diagonal": lambda _: _diagonal(rng),
        "digits": lambda number: _digits(number, options.n_train),
    }
    heads = ["columns", "rates", "uniform", "rates ÷ uniform", "gradients ÷ uniform"]
    heads += ["kink met", "divergence met", "valley met", "true kink inside", "true end inside"]
    table(
        heads,
        (_row(name, [make(n) for n in range(options.columns)]) for name, make in kinds.items()),
    )


def _row(name: str, columns: Sequence[Column]) -> list[str]:
    ends = [_refined(column) for column in columns]
    uniform = math.log(FIRST[-1] / FIRST[0]) / (ASKED.divergence or 1) + 1
    rates = [len(known) for _, known in ends]
    shares = [_gradients(known, uniform) for _, known in ends]
    last = [refinement for refinement, _ in ends]
    pairs = list(zip(columns, last, strict=True))
    return [
        name,
        f"{median(rates):.0f}",
        f"{uniform:.0f}",
        f"{median(rates) / uniform:.2f}",
        f"{median(shares):.2f}",
        *(f"{sum(getattr(one, what).met for one in last)} of {len(last)}"
          for what in ("kink", "divergence", "valley")),
        _inside([(c.kink, r.kink.low, r.kink.high) for c, r in pairs if r.kink.met]),
        _inside([(c.largest, r.divergence.low, r.divergence.high) for c, r in pairs]),
    ]  # fmt: skip


def _inside(bounds: Sequence[tuple[float, float, float]]) -> str:
    known = [(true, low, high) for true, low, high in bounds if math.isfinite(true)]
    return (
        f"{sum(low <= true <= high for true, low, high in known)} of {len(known)}" if known else ""
    )


def _refined(column: Column) -> tuple[Refinement, dict[float, Rate]]:
    known = {float(multiple): column.at(float(multiple)) for multiple in FIRST}
    while True:
        found = Found(
            multiple=np.array(list(known)),
            eta=np.array(list(known)) * column.eta_c,
            **{
                name: np.array([getattr(rate, name) for rate in known.values()])
                for name in ("diverged", "reached", "sharpness", "test_loss")
            },
        )
        last = refined(found, ASKED, len(known) - len(FIRST))
        if not last.following:
            return last, known
        known |= {multiple: column.at(multiple) for multiple in last.following}


def _gradients(known: dict[float, Rate], uniform: float) -> float:
    """The gradients of the refined rates over those of the uniform grid."""
    at = np.array(sorted(known))
    each = np.array([known[multiple].gradients for multiple in at.tolist()])
    grid = np.geomspace(FIRST[0], FIRST[-1], round(uniform))
    return float(each.sum() / np.interp(np.log(grid), np.log(at), each).sum())


def _synthetic(rng: np.random.Generator) -> Column:
    """S is constant below a kink near η_c and 2/η above; GD takes 1000/η steps in its units."""
    kink, largest, best = np.exp(rng.uniform([-0.1, 0.7, 0.2], [0.1, 1.8, 0.6])).tolist()

    def at(multiple: float) -> Rate:
        reached = multiple <= largest
        off, noise = rng.standard_normal(2) * SCATTER
        sharpness = 20 / max(multiple, kink) * math.exp(off if multiple > kink else off / 10)
        loss = 0.5 + math.log(multiple / best) ** 2 + noise / 100
        steps = 1000 / multiple if reached else 20
        if not reached:
            sharpness = loss = math.nan
        return Rate(not reached, reached, sharpness, loss, steps)

    return Column(0.1, at, kink, largest)


def _diagonal(rng: np.random.Generator) -> Column:
    """A point in the plane: its flow ends in closed form, and GD is computed rate by rate."""
    point = OnePoint.labelled_by(
        truth=rng.uniform(0.2, 1.0, 2), x=rng.uniform([1.5, 0.5], [2.5, 1.2])
    )
    start = np.full(2, 0.01)
    eta_c = Flow(point.x, point.y, start=start).critical_rate(1e-12)
    loss = TrainingLoss([point.x], [point.y])
    truth = rng.uniform(0.2, 1.0, 2)

    def at(multiple: float) -> Rate:
        run = descend(loss, start, [multiple * eta_c])
        status, steps = str(run.status[0]), float(run.steps[0])
        return Rate(
            status == "diverged",
            status == "reached",
            float(run.sharpness[0]),
            float(run.risk(truth)[0]),
            steps,
        )

    return Column(eta_c, at, kink=1.0)


def _digits(seed: int, n_train: int) -> Column:
    problem = Problem(
        dataset="digits", n_train=n_train, width=8, depth=1, activation="tanh", seed=seed
    )
    protocol = Protocol(epsilons=(0.2,), max_steps=2_000, trajectory_every="factor 2")

    def run(eta: float | None):  # type: ignore[no-untyped-def]
        kind = "flow" if eta is None else "gd"
        trial = Trial(problem=problem, protocol=protocol, kind=kind, learning_rate=eta)
        return run_trial(trial, threads=1).crossings[0]

    eta_c = 2 / (run(None).max_sharpness or math.nan)

    def at(multiple: float) -> Rate:
        row = run(multiple * eta_c)
        reached = row.status == "reached"
        sharpness = row.sharpness if reached and row.sharpness_converged else None
        return Rate(
            row.status == "diverged",
            reached,
            math.nan if sharpness is None else sharpness,
            (row.test_loss or math.nan) if reached else math.nan,
            row.gradients + row.hvps,
        )

    return Column(eta_c, at)


if __name__ == "__main__":
    main()
