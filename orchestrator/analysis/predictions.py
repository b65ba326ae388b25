"""Predictions of the learning rate with the best test loss, beside the measured one.

A candidate says from part of what a sweep knows at which rate GD stops with the least test loss: a
column's flow, cheaper columns, its central flows, or what GD shows without test data. Each has its
cost, relative to that of the column's own GD trials until the same ε, and its regret: the test loss
at the predicted rate over the best measured one, less 1.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.dynamics.schedule import PER_THIRD_DERIVATIVE
from orchestrator.analysis.bounds import LEAST_FOR_VALLEY
from orchestrator.analysis.by_column import is_plain
from orchestrator.analysis.candidates import CANDIDATES, Column, NoPredictionError, Others
from orchestrator.analysis.crossings import GdRows, Places
from orchestrator.analysis.grouped import Numbers, numbers
from orchestrator.plan.probing import stays
from orchestrator.store import COLUMN_FIELDS, PREDICTIONS, PREDICTORS

READ = (
    *("trial_id", "column_id", "kind", "status", "epsilon", "eta", "flow_id", "test_loss"),
    *("init_sharpness", "steps", "time", "gradients", "hvps", "third_derivatives", *COLUMN_FIELDS),
)
"""What of ``trials`` this needs besides what the table of phases does."""

LEAST_FOR_RANKS = 3
"""Fewer pairs have no rank correlation worth the name."""


def predictions_tables(
    trials: pa.Table, central: pa.Table, places: Places, gd: GdRows, truth: Numbers
) -> dict[str, pa.Table]:
    """The tables ``predictions`` and ``predictors``.

    Args:
        trials: with the columns :data:`READ`, flows with their columns.
        central: the rows of central flows, with the same columns.
        places, gd: those of ``trials``.
        truth: 2/S(β*) of each place, NaN where there is no known truth.
    """
    columns = _columns(trials, central, places, gd, truth)
    others = Others(columns)
    rows = [_row(column, others, name) for column in columns for name in CANDIDATES]
    of_each: dict[str, list[dict[str, Any]]] = {name: [] for name in CANDIDATES if rows}
    for row in rows:
        of_each[row["candidate"]].append(row)
    summary = [_summary(name, its) for name, its in of_each.items()]
    return {
        "predictions": pa.Table.from_pylist(rows, schema=PREDICTIONS),
        "predictors": pa.Table.from_pylist(summary, schema=PREDICTORS),
    }


def _row(column: Column, others: Others, name: str) -> dict[str, Any]:
    interval = others.interval(column)
    low, high = (None, None) if interval is None else (end * column.eta_c for end in interval)
    best = column.eta_best
    row: dict[str, Any] = {
        "column_id": column.column_id,
        "epsilon": column.epsilon,
        "candidate": name,
        "eta_best": best,
        "eta_best_low": low,
        "eta_best_high": high,
        "test_loss_best": float(column.test_loss[column.best]),
    }
    try:
        eta, cost = CANDIDATES[name][0](column, others)
    except NoPredictionError as reason:
        return row | {"undecided": str(reason)}
    loss, least = column.loss_at(eta), row["test_loss_best"]
    known = math.isfinite(column.eta_c)
    return row | {
        "eta": eta,
        "eta_over_eta_c": eta / column.eta_c if known else None,
        "cost": cost / column.grid if column.grid > 0 else None,
        "error": math.log(eta / best),
        "regret": loss / least - 1 if loss is not None and least > 0 else None,
        "reaches": loss is not None,
        "undecided": None if loss is not None else "GD reached ε at no rate as large",
    }


def _summary(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How well a candidate does over all places."""
    from scipy.stats import spearmanr  # which takes a second to import

    said = [row for row in rows if row.get("eta") is not None]
    regrets = [row["regret"] for row in said if row["regret"] is not None]
    costs = [row["cost"] for row in said if row["cost"] is not None]
    ranks = None
    if len(said) >= LEAST_FOR_RANKS:
        pairs = [[row["eta"] for row in said], [row["eta_best"] for row in said]]
        if all(len(set(values)) > 1 for values in pairs):
            ranks = float(spearmanr(*pairs).statistic)
    within = [
        row["eta_best_low"] <= row["eta"] <= row["eta_best_high"]
        for row in said
        if row["eta_best_low"] is not None
    ]
    return {
        "candidate": name,
        "meaning": CANDIDATES[name][1],
        "n": len(said),
        "n_without": len(rows) - len(said),
        "n_beyond": sum(not row["reaches"] for row in said),
        "rank_correlation": ranks,
        "error_median": median(abs(row["error"]) for row in said) if said else None,
        "regret_median": median(regrets) if regrets else None,
        "regret_high": float(np.quantile(regrets, 0.9)) if regrets else None,
        "within_seeds": sum(within) / len(within) if within else None,
        "cost_median": median(costs) if costs else None,
    }


def _columns(
    trials: pa.Table, central: pa.Table, places: Places, gd: GdRows, truth: Numbers
) -> list[Column]:
    """The columns of plain GD at each ε with enough rates that count and have a test loss."""
    included = gd.included()
    included = included.chosen(np.isfinite(included.test_loss) & np.isfinite(included.l1_norm))
    order = np.lexsort((included.eta, included.place))
    starts = np.searchsorted(included.place[order], np.arange(len(places) + 1))
    keys = places.keys.to_pylist()
    first = pc.index_in(places.keys["column_id"], value_set=trials["column_id"].combine_chunks())
    problems = trials.select(COLUMN_FIELDS).take(first).to_pylist()
    eta_0 = 2 / numbers(trials["init_sharpness"].take(first))
    cost = _cost(trials)
    grid = np.bincount(gd.place, np.nan_to_num(cost[gd.row]), len(places))
    flows, averages = _flows(trials, cost), _central_flows(central)
    tried = _tried(trials, gd, len(places))
    found = []
    for place, key in enumerate(keys):
        rows = order[starts[place] : starts[place + 1]]
        problem = problems[place]
        if len(rows) < LEAST_FOR_VALLEY or not is_plain(problem):
            continue
        flow = flows.get((key["column_id"], key["epsilon"]), _NO_FLOW)
        found.append(
            Column(
                column_id=key["column_id"],
                epsilon=key["epsilon"],
                problem=problem,
                eta_c=float(places.predicted[place]),
                eta_0=float(eta_0[place]),
                truth=float(truth[place]),
                **{
                    name: getattr(included, name)[rows]
                    for name in ("eta", "test_loss", "sharpness", "l1_norm")
                },
                flow_sharpness=float(places.flow_sharpness[place]),
                flow_l1=float(places.flow_l1[place]),
                flow_loss=flow.test_loss,
                flow_cost=flow.cost,
                grid=float(grid[place]),
                central=averages.get((flow.trial_id, key["epsilon"]), ()),
                flow_time=flow.time,
                tried=tried[place],
            )
        )
    return found


class _Flow(NamedTuple):
    """What the flow of a column found at an ε that it reached."""

    trial_id: str
    test_loss: float
    time: float
    cost: float


_NO_FLOW = _Flow("", math.nan, math.nan, math.nan)


def _flows(trials: pa.Table, cost: Numbers) -> dict[tuple[str, float], _Flow]:
    """The flow of each column at each ε that it reached."""
    is_flow = pc.and_(pc.equal(trials["kind"], "flow"), pc.equal(trials["status"], "reached"))
    at = np.flatnonzero(is_flow.to_numpy(zero_copy_only=False).astype(bool))
    names = trials.select(["column_id", "epsilon", "trial_id"]).take(at).to_pylist()
    found = (numbers(trials["test_loss"])[at], numbers(trials["time"])[at], cost[at])
    return {
        (name["column_id"], name["epsilon"]): _Flow(name["trial_id"], *of_flow)
        for name, *of_flow in zip(names, *(each.tolist() for each in found), strict=True)
    }


def _tried(
    trials: pa.Table, gd: GdRows, places: int
) -> list[list[tuple[float, float | None, float]]]:
    """η, test loss and steps of all GD trials of each place, in ascending η; no test loss of those
    that did not come to ε and stay.
    """
    order = np.lexsort((gd.eta, gd.place))
    reached = pc.equal(trials["status"], "reached").to_numpy()[gd.row]
    steps = numbers(trials["steps"])[gd.row]
    found: list[list[tuple[float, float | None, float]]] = [[] for _ in range(places)]
    columns = (gd.place, gd.eta, gd.test_loss, steps, gd.sharpness, reached)
    for place, eta, loss, its_steps, sharpness, here in zip(
        *(values[order].tolist() for values in columns), strict=True
    ):
        stable = here and stays(eta, sharpness)
        found[place].append((eta, loss if stable else None, its_steps))
    return found


def _central_flows(central: pa.Table) -> dict[tuple[str, float], list[tuple[float, float, float]]]:
    """η, test loss and cost of the central flows of each flow at each ε, in ascending η."""
    found: dict[tuple[str, float], list[tuple[float, float, float]]] = defaultdict(list)
    known = pc.and_(pc.equal(central["status"], "reached"), pc.is_valid(central["test_loss"]))
    central = central.filter(known).sort_by("eta")
    for row, cost in zip(central.to_pylist(), _cost(central).tolist(), strict=True):
        found[row["flow_id"], row["epsilon"]].append((row["eta"], row["test_loss"], cost))
    return found


def _cost(trials: pa.Table) -> Numbers:
    """What each took, in gradients."""
    third = np.nan_to_num(numbers(trials["third_derivatives"]))
    return numbers(trials["gradients"]) + numbers(trials["hvps"]) + PER_THIRD_DERIVATIVE * third
