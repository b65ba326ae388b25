"""How good the rate is that ``eos predict`` recommends, by the number of rates that it tries.

    .venv/bin/python benchmarks/predicting.py        # a few minutes

The grid of configs/predicting.yaml, each trial in full: FCN with tanh and ReLU, MSE and cross-
entropy, on mnist-mini and digits, two seeds, two thresholds, 13 rates from 0.7 to 11.2 η_c. Of each
column the rates are taken in the order in which they would be tried. The regret is the test loss at
the best of them over the best of the grid, less 1; the cost that of flow and probes, relative to
the grid's GD trials. Beside them the rates that follow from the flow alone, and the largest that
came to ε.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from script import parse, table

from jobs import run_trial
from jobs.records import Crossing
from orchestrator import sweep as sweeps
from orchestrator.analysis.candidates import Column, probed
from orchestrator.plan.probing import best_probe, stays
from orchestrator.store import COLUMN_FIELDS
from orchestrator.sweep import Column as SweepColumn

CONFIG = Path(__file__).parents[1] / "configs" / "predicting.yaml"
SHOWN = (1, 2, 3, 5, 7)
NAMES = ("η_c", "2 η_c", *map(str, SHOWN), "largest")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("overrides", nargs="*", help="such as problem.seed=0")
    options = parse(
        parser,
        overrides=[
            *("problem.dataset=digits", "problem.n_train=60", "problem.width=16", "problem.seed=0"),
            *("problem.activation=tanh", "measure.trajectory_every=factor 2"),
        ],
    )
    places = [
        place
        for column in sweeps.load(CONFIG, options.overrides).columns
        for place in _places(column)
    ]
    heads = ["rates tried", "loss", "places", "beyond", "median regret", "90 %", "cost"]
    table(heads, _rows(places))


def _rows(places: Sequence[Column]) -> Iterator[list[str]]:
    """By the number of rates tried, and of multiples of η_c, for each loss."""
    found: dict[tuple[str, str], list[tuple[float | None, float]]] = defaultdict(list)
    for place in places:
        loss, cost, stable = place.problem["loss"], place.flow_cost, []
        for number, (probe, its_cost, _) in enumerate(probed(place), 1):
            cost += its_cost
            stable += [probe] if probe.reached else []
            rate = best_probe(stable).eta if stable else math.inf
            if number in SHOWN:
                found[str(number), loss].append((_regret(place, rate), cost / place.grid))
        for name, factor in (("η_c", 1.0), ("2 η_c", 2.0)):
            its = (_regret(place, factor * place.eta_c), place.flow_cost / place.grid)
            found[name, loss].append(its)
        found["largest", loss].append((_regret(place, float(place.eta[-1])), 1.0))
    for (name, loss), its in sorted(found.items(), key=lambda item: NAMES.index(item[0][0])):
        regrets = [regret for regret, _ in its if regret is not None]
        yield [
            *(name, loss, str(len(its)), str(len(its) - len(regrets))),
            f"{100 * median(regrets):.1f} %",
            f"{100 * float(np.quantile(regrets, 0.9)):.1f} %",
            f"{median(cost for _, cost in its):.2f}",
        ]


def _regret(place: Column, eta: float) -> float | None:
    loss = place.loss_at(eta)
    return None if loss is None else loss / float(place.test_loss.min()) - 1


def _places(column: SweepColumn) -> Iterator[Column]:
    """The column at each of its ε, all its trials in full."""
    flow = run_trial(column.flow(), threads=1).crossings
    eta_c = 2 / flow[-1].max_sharpness
    runs = {
        eta: run_trial(column.at(eta), threads=1).crossings for eta in column.learning_rates(eta_c)
    }
    for number, of_flow in enumerate(flow):
        rows = {eta: crossings[number] for eta, crossings in runs.items()}
        stable = {
            eta: row
            for eta, row in rows.items()
            if row.status == "reached" and stays(eta, row.sharpness)
        }
        values = {
            name: np.array([getattr(row, name) for row in stable.values()])
            for name in ("test_loss", "sharpness", "l1_norm")
        }
        yield Column(
            column_id=column.column_id,
            epsilon=of_flow.epsilon,
            problem={**dict.fromkeys(COLUMN_FIELDS), **vars(column.problem)},
            eta_c=2 / of_flow.max_sharpness,
            eta_0=math.nan,
            truth=math.nan,
            eta=np.array(list(stable)),
            **values,
            flow_sharpness=of_flow.sharpness,
            flow_l1=of_flow.l1_norm,
            flow_loss=of_flow.test_loss,
            flow_cost=_cost(of_flow),
            grid=sum(map(_cost, rows.values())),
            flow_time=of_flow.time,
            tried=[
                (eta, row.test_loss if eta in stable else None, row.steps)
                for eta, row in rows.items()
            ],
        )


def _cost(row: Crossing) -> float:
    return float(row.gradients + row.hvps)


if __name__ == "__main__":
    main()
