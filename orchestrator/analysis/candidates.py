"""Candidates for the learning rate with the best test loss: what each predicts of a column.

A candidate knows part of a sweep: a column's flow, cheaper columns, its central flows, what GD
shows without test data, or a few of its rates. It gives a rate and what that costs.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jobs.dynamics.schedule import MEASUREMENT
from jobs.multiplications import multiplications
from jobs.spec import Problem
from orchestrator.analysis.bounds import LEAST_FOR_VALLEY
from orchestrator.analysis.grouped import Numbers
from orchestrator.analysis.groups import aliases
from orchestrator.plan.probing import (
    DEFAULT_SHARE,
    LONGEST,
    Probe,
    best_probe,
    measuring,
    next_probe,
)
from orchestrator.store import COLUMN_FIELDS, PROBLEM_FIELDS

Predicted = tuple[float, float]
"""A rate, and its cost in gradients and products."""


class NoPredictionError(ValueError):
    """A candidate has nothing to say of a column at ε; says why."""


@dataclass(frozen=True, eq=False)
class Column:
    """A column of plain GD at one ε, with what candidates may know of it.

    ``problem`` has the fields that tell columns apart. Arrays are of the trials that count, in
    ascending η, of shape (rates,). ``grid`` is what all GD trials of the column cost until ε.
    ``central`` has η, test loss and cost of the central flows, ``tried`` η, test loss and steps of
    all GD trials, in ascending η; the test loss of those that did not come to ε and stay is None.
    """

    column_id: str
    epsilon: float
    problem: Mapping[str, Any]
    eta_c: float
    eta_0: float
    truth: float
    eta: Numbers
    test_loss: Numbers
    sharpness: Numbers
    l1_norm: Numbers
    flow_sharpness: float
    flow_l1: float
    flow_loss: float
    flow_cost: float
    grid: float
    central: Sequence[tuple[float, float, float]] = ()
    flow_time: float = math.nan
    tried: Sequence[tuple[float, float | None, float]] = ()

    @functools.cached_property
    def best(self) -> int:
        """The place of the least test loss."""
        return int(np.argmin(self.test_loss))

    @functools.cached_property
    def eta_best(self) -> float:
        """The rate of the least test loss."""
        return float(self.eta[self.best])

    @property
    def multiple(self) -> float:
        """The same in units of η_c."""
        return self.eta_best / self.eta_c

    @functools.cached_property
    def family(self) -> tuple[Any, ...]:
        """What its other seeds share."""
        return self.fixed("seed")

    def loss_at(self, eta: float) -> float | None:
        """The test loss of GD at a rate, between those measured in proportion to log η.

        Below the smallest it is the flow's; above the largest that reached ε there is none.
        """
        if eta > self.eta[-1] * (1 + 1e-9):
            return None
        if eta < self.eta[0] and math.isfinite(self.flow_loss) and eta < self.eta_c:
            return self.flow_loss
        return float(np.interp(math.log(eta), np.log(self.eta), self.test_loss))

    def fixed(self, name: str) -> tuple[Any, ...]:
        """All that tells it apart but a field."""
        return _fixed(self.problem, name)


CHEAPER = ("width", "n_train")
"""Fields of which a smaller value makes a column cheaper."""


class Others:
    """What a candidate may know of the other columns of a sweep, found without going through all.

    Args:
        columns: all of them, at each ε.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._smallest: dict[tuple[Any, ...], Column] = {}
        self._thresholds: dict[str, list[Column]] = defaultdict(list)
        multiples: dict[float, list[float]] = defaultdict(list)
        # At the base width, mup has the name of the standard parameterization.
        for place, other in aliases([one.problem for one in columns], "width"):
            one = columns[place]
            self._add("width", one, _fixed(other, "width"))
        self._families: dict[tuple[Any, ...], list[float]] = defaultdict(list)
        for one in columns:
            self._thresholds[one.column_id].append(one)
            for name in CHEAPER:
                self._add(name, one, one.fixed(name))
            self._families[one.family, one.epsilon].append(one.multiple)
            if math.isfinite(one.multiple):
                multiples[one.epsilon].append(one.multiple)
        self._multiples = {epsilon: np.sort(values) for epsilon, values in multiples.items()}

    def _add(self, name: str, one: Column, fixed: tuple[Any, ...]) -> None:
        """Keep the column with the smallest value of a field among those that agree in all else."""
        if one.problem[name] is None:
            return
        known = self._smallest.setdefault((name, one.epsilon, fixed), one)
        if (one.problem[name], one.column_id) < (known.problem[name], known.column_id):
            self._smallest[name, one.epsilon, fixed] = one

    def smallest(self, column: Column, name: str) -> Column | None:
        """The column at the same ε with the smallest value of a field, if that is below this one's,
        and all else equal.
        """
        own = column.problem[name]
        one = self._smallest.get((name, column.epsilon, column.fixed(name)))
        return one if one is not None and own is not None and one.problem[name] < own else None

    def loosest(self, column: Column) -> Column | None:
        """The same column at its largest ε; None where that is this one."""
        one = max(self._thresholds[column.column_id], key=lambda other: other.epsilon)
        return one if one.epsilon > column.epsilon else None

    def interval(self, column: Column) -> tuple[float, float] | None:
        """The range of best η/η_c over the seeds of the problem at this ε; None of a single seed,
        and where one has no η_c.
        """
        known = self._seeds(column)
        if len(known) < 2 or not all(map(math.isfinite, known)):
            return None
        return min(known), max(known)

    def _seeds(self, column: Column) -> list[float]:
        return self._families[column.family, column.epsilon]

    def median_multiple(self, column: Column) -> float | None:
        """The median best η/η_c at the same ε over the columns of other problems."""
        all_of_them = self._multiples.get(column.epsilon, np.zeros(0))
        own = np.sort([each for each in self._seeds(column) if math.isfinite(each)])
        # The places of its own, equal ones counted on; all but these are of others.
        places = np.searchsorted(all_of_them, own) + np.arange(len(own))
        places -= np.searchsorted(own, own)
        left = len(all_of_them) - len(own)
        if not left:
            return None
        middle = [(left - 1) // 2, left // 2]
        for place in places:
            middle = [at + int(place <= at) for at in middle]
        return float(all_of_them[middle].mean())


def _eta_c(column: Column, others: Others) -> Predicted:
    return _times_eta_c(column, 1.0)


def _twice_eta_c(column: Column, others: Others) -> Predicted:
    return _times_eta_c(column, 2.0)


def _times_eta_c(column: Column, factor: float) -> Predicted:
    if not math.isfinite(column.eta_c):
        raise NoPredictionError("η_c is not known")
    return factor * column.eta_c, column.flow_cost


def _learned_multiple(column: Column, others: Others) -> Predicted:
    """The median of best η/η_c over the columns of other problems in the sweep."""
    factor = others.median_multiple(column)
    if factor is None:
        raise NoPredictionError("no column of another problem has a best rate at this ε")
    return _times_eta_c(column, factor)


def _init_sharpness(column: Column, others: Others) -> Predicted:
    if not math.isfinite(column.eta_0):
        raise NoPredictionError("the sharpness at θ0 is not known")
    return column.eta_0, MEASUREMENT


def _largest_stable(column: Column, others: Others) -> Predicted:
    return float(column.eta[-1]), column.grid


def _knee(column: Column, others: Others) -> Predicted:
    """Where the growth of ‖θ‖₁ meets the fall of S, each relative to its whole range above η_c."""
    above = column.eta > column.eta_c
    if above.sum() < LEAST_FOR_VALLEY:
        raise NoPredictionError(f"fewer than {LEAST_FOR_VALLEY} rates above η_c reached ε")
    eta, fall, rise = column.eta[above], column.sharpness[above], column.l1_norm[above]
    with np.errstate(divide="ignore", invalid="ignore"):
        fallen = (column.flow_sharpness - fall) / (column.flow_sharpness - fall[-1])
        risen = (rise - column.flow_l1) / (rise[-1] - column.flow_l1)
    left = 1 - fallen - risen
    opposite = fall[-1] < column.flow_sharpness and rise[-1] > column.flow_l1
    if not (opposite and np.isfinite(left).all() and left[0] >= 0):
        raise NoPredictionError("‖θ‖₁ and S do not change in opposite directions above η_c")
    place = int(np.argmax(left < 0)) or len(left) - 1
    share = left[place - 1] / (left[place - 1] - left[place])
    at = np.interp(share, [0, 1], np.log(eta[place - 1 : place + 1]))
    return math.exp(float(at)), column.grid


def _narrower(column: Column, others: Others) -> Predicted:
    """The best rate of the narrowest network: η itself under mup, else in units of η_c."""
    return _transferred(
        column, others, "width", absolute=column.problem["parameterization"] == "mup"
    )


def _fewer_samples(column: Column, others: Others) -> Predicted:
    return _transferred(column, others, "n_train", absolute=False)


def _transferred(column: Column, others: Others, name: str, *, absolute: bool) -> Predicted:
    one = others.smallest(column, name)
    if one is None:
        raise NoPredictionError(f"no column differs in a smaller {name} alone")
    cost = one.grid * _relative_cost(one.problem, column.problem)
    if absolute:
        return one.eta_best, cost
    eta, of_flow = _times_eta_c(column, one.multiple)
    if not math.isfinite(eta):
        raise NoPredictionError(f"η_c of the column with the smaller {name} is not known")
    return eta, cost + of_flow


def _looser_epsilon(column: Column, others: Others) -> Predicted:
    one = others.loosest(column)
    if one is None:
        raise NoPredictionError("there is no looser ε")
    return one.eta_best, one.grid


def _central(column: Column, others: Others) -> Predicted:
    """The least test loss along central flows, from the parabola through the three least."""
    if len(column.central) < LEAST_FOR_VALLEY - 1:
        raise NoPredictionError(f"fewer than {LEAST_FOR_VALLEY - 1} central flows reached ε")
    eta, loss, cost = (np.array(values) for values in zip(*column.central, strict=True))
    place = int(np.argmin(loss))
    rate = float(eta[place])
    if 0 < place < len(eta) - 1:
        near = slice(place - 1, place + 2)
        bend, slope, _ = np.polyfit(np.log(eta[near] / rate), loss[near], 2)
        rate *= math.exp(-slope / (2 * bend)) if bend > 0 else 1.0
    return rate, float(cost.sum()) + column.flow_cost


def probed(column: Column) -> Iterator[tuple[Probe, float, float]]:
    """The probes of a column by :func:`orchestrator.plan.probing.next_probe`, one after the other,
    each with its cost and the most that it might have cost.

    Raises:
        NoPredictionError: the flow did not come to ε.
    """
    if not (math.isfinite(column.flow_time) and math.isfinite(column.eta_c)):
        raise NoPredictionError("the flow did not come to ε")
    known = {eta: (loss, steps) for eta, loss, steps in column.tried}
    probes: list[Probe] = []
    while (eta := next_probe(list(known), column.eta_c, probes)) is not None:
        most, (loss, steps) = LONGEST * column.flow_time / eta, known[eta]
        in_time = loss is not None and steps <= most
        probes.append(Probe(eta, in_time, math.nan if loss is None else loss))
        yield probes[-1], min(steps, most) + measuring(1), most + measuring(1)


def _probes(column: Column, others: Others) -> Predicted:
    """The best of as many rates as a share of the column's cost pays for."""
    stable, spent = list[Probe](), column.flow_cost
    for probe, cost, most in probed(column):
        if spent + most > DEFAULT_SHARE * column.grid:
            break
        spent += cost
        stable += [probe] if probe.reached else []
    if not stable:
        raise NoPredictionError(f"{DEFAULT_SHARE:g} of the cost pays for no rate that reaches ε")
    return best_probe(stable).eta, spent


def _truth(column: Column, others: Others) -> Predicted:
    if not math.isfinite(column.truth):
        raise NoPredictionError("the dataset has no known truth")
    return column.truth, 0.0


CANDIDATES: dict[str, tuple[Callable[[Column, Others], Predicted], str]] = {
    "eta_c": (_eta_c, "η_c, from the flow alone"),
    "twice_eta_c": (_twice_eta_c, "2 η_c, a plain guess"),
    "learned_multiple": (_learned_multiple, "the median multiple of η_c of the other problems"),
    "init_sharpness": (_init_sharpness, "2/S(θ0)"),
    "narrower": (_narrower, "the best rate of the narrowest width"),
    "fewer_samples": (_fewer_samples, "the best multiple of η_c with the fewest samples"),
    "looser_epsilon": (_looser_epsilon, "the best rate at the loosest ε"),
    "central": (_central, "the least test loss along central flows"),
    "probes": (_probes, f"the best of a few rates, for {DEFAULT_SHARE:g} of the cost"),
    "knee": (_knee, "where ‖θ‖₁ has grown as much as S has yet to fall"),
    "truth": (_truth, "2/S(β*) of the known truth"),
    "largest_stable": (_largest_stable, "the largest rate that reached ε, a plain guess"),
}
"""Each candidate, and what it is in words; those that need the least first."""


def _fixed(problem: Mapping[str, Any], name: str) -> tuple[Any, ...]:
    return tuple(problem[field] for field in COLUMN_FIELDS if field != name)


def _relative_cost(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """What a gradient of one problem costs in gradients of another."""
    samples = float(one["n_train"] / other["n_train"])
    try:
        of_each = [
            multiplications(Problem(**{name: p[name] for name in PROBLEM_FIELDS}))
            for p in (one, other)
        ]
    except (ValueError, TypeError):  # a network that is not there any more
        return samples
    return samples * of_each[0] / of_each[1]
