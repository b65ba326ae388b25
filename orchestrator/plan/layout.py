"""The trials of a sweep by number: those of a column follow one another, its flow first."""

from __future__ import annotations

import dataclasses
import functools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jobs.spec import GD, Kind, Optimizer, Problem, Protocol
from orchestrator.plan.column_plan import STABLE_LIMIT, ColumnPlan
from orchestrator.plan.cost import flow_gradients, prior_seconds_per_gradient, unknown_gradients
from orchestrator.plan.settled_trials import Mask, Names, as_number
from orchestrator.sweep import Column, EtaGrid

Numbers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Handling:
    """What columns of one grid share: their learning rates, when larger ones are skipped, and the
    kind of their trials.
    """

    etas: tuple[EtaGrid, ...]
    stop_after_divergences: int | None
    kind: Kind = "gd"

    @functools.cached_property
    def multiples(self) -> Floats | None:
        """The multiples of their only unit; None where there are several units.

        Nor where two lie so close that rounding could make one η of them, or where some may turn
        out to be below the η_c of a central flow, or where further ones follow.
        """
        open_ended = self.kind == "central" and self.etas[0].unit != "eta_c"
        if len(self.etas) > 1 or open_ended or self.etas[0].refine is not None:
            return None
        multiples = np.array(self.etas[0].multiples)
        close = bool((np.diff(multiples) <= 1e-12 * multiples[1:]).any())
        return None if close else multiples

    def places(self, plans: Sequence[ColumnPlan], which: Numbers, etas: Floats) -> Numbers:
        """The place of GD at each η in its plan, one of these; 0 where that has no such η."""
        if self.multiples is None:
            laid_out = [{eta: 1 + k for k, eta in enumerate(p.learning_rates)} for p in plans]
            pairs = zip(which.tolist(), etas.tolist(), strict=True)
            return np.array([laid_out[one].get(eta, 0) for one, eta in pairs], dtype=np.int64)
        scales = np.array([plan.scale(self.etas[0].unit) for plan in plans])[which]
        found = np.zeros(len(etas), dtype=np.int64)
        near = np.searchsorted(self.multiples, etas / scales)
        for shift in (-1, 0, 1):
            k = np.clip(near + shift, 0, len(self.multiples) - 1)
            hit = self.multiples[k] * scales == etas
            found[hit] = 1 + k[hit]
        return found

    def laid_out(self, plans: Sequence[ColumnPlan]) -> tuple[Mask, Numbers, Numbers, Numbers]:
        """Of each column: whether its flow gives no learning rates, the number of its GD trials,
        how many of these the file asks for, and the place of the first above 2 η_c.
        """
        if self.multiples is None:
            return (
                np.array([plan.blocked is not None for plan in plans]),
                np.array([plan.n_rates for plan in plans]),
                np.array([plan.n_asked for plan in plans]),
                np.array([plan.first_above for plan in plans]),
            )
        begun = np.array([plan.flow is not None for plan in plans])
        scales = np.array([plan.scale(self.etas[0].unit) for plan in plans])
        limits = STABLE_LIMIT * np.array([plan.critical_rate or 0.0 for plan in plans])
        below = self.multiples * scales[:, None] <= limits[:, None]
        known = np.full(len(plans), len(self.multiples))
        return begun & np.isnan(scales), known, known, 1 + below.sum(axis=1)


@dataclass(frozen=True, eq=False)
class Layout:
    """Where each trial of a sweep has its number.

    Column i has the numbers from ``first[i]`` to ``first[i + 1]``, the first of which is its flow.
    """

    columns: tuple[Column, ...]

    @functools.cached_property
    def first(self) -> Numbers:
        """The number of each column's flow, and at last that of all trials."""
        sizes = [1 + column.n_places for column in self.columns]
        return np.cumsum([0, *sizes], dtype=np.int64)

    @property
    def n_trials(self) -> int:
        """All of them."""
        return int(self.first[-1])

    @functools.cached_property
    def index(self) -> dict[str, int]:
        """The place of each column in the sweep, by its column_id."""
        return {column.column_id: i for i, column in enumerate(self.columns)}

    def slot(self, i: int) -> slice:
        """The numbers of the trials of a column."""
        return slice(int(self.first[i]), int(self.first[i + 1]))

    def column_of(self, number: int) -> int:
        """The column of a trial."""
        return int(np.searchsorted(self.first, number, "right")) - 1

    def find(self, names: Names) -> Numbers:
        """The columns of these names; −1 for each that is not of the sweep."""
        ordered, places = self._ordered
        if not len(ordered):
            return np.full(len(names), -1)
        at = np.minimum(np.searchsorted(ordered, names), len(ordered) - 1)
        return np.where(ordered[at] == names, places[at], -1)

    @functools.cached_property
    def _ordered(self) -> tuple[Names, Numbers]:
        names = np.array([as_number(name) for name in self.index], dtype=np.uint64)
        order = np.argsort(names)
        return names[order], order

    @functools.cached_property
    def handlings(self) -> tuple[tuple[Handling, ...], Numbers]:
        """The distinct handlings, and which one each column has."""
        known: dict[tuple[object, ...], int] = {}
        distinct: dict[Handling, int] = {}
        of_column = np.zeros(len(self.columns), dtype=np.int64)
        for i, column in enumerate(self.columns):
            # The columns of a grid share these.
            key = (*map(id, column.etas), column.stop_after_divergences, column.kind)
            if key not in known:
                one = Handling(column.etas, column.stop_after_divergences, column.kind)
                known[key] = distinct.setdefault(one, len(distinct))
            of_column[i] = known[key]
        return tuple(distinct), of_column

    def alike(self, columns: Sequence[int]) -> Iterator[tuple[Handling, Numbers, Numbers]]:
        """Columns by their handling: that, those that have it, and the numbers of their trials."""
        chosen = np.asarray(columns, dtype=np.int64)
        distinct, handling_of = self.handlings
        for kind in np.unique(handling_of[chosen]).tolist():
            its = chosen[handling_of[chosen] == kind]
            size = int(self.first[its[0] + 1] - self.first[its[0]])
            yield distinct[kind], its, self.first[its][:, None] + np.arange(size)

    @functools.cached_property
    def relatives(self) -> dict[int, tuple[int, ...]]:
        """Columns whose GD trials have the same names at the same η, because they differ only in
        how the flow is integrated; of each that has such, all of them with itself.
        """
        if len({column.protocol.flow_method for column in self.columns}) < 2:
            return {}
        alike: dict[tuple[Problem, Optimizer, Protocol, Kind], list[int]] = defaultdict(list)
        for i, column in enumerate(self.columns):
            if "distance_from_flow" not in column.protocol.also:
                protocol = dataclasses.replace(column.protocol, flow_method="rkc2")
                alike[column.problem, column.optimizer, protocol, column.kind].append(i)
        return _by_member(alike.values())

    @functools.cached_property
    def flow_sharers(self) -> dict[int, tuple[int, ...]]:
        """Columns with one flow, because they have one problem and protocol; of each that has such,
        all of them with itself. The first has the flow's number.
        """
        plain = (GD, None, "gd")
        if all(
            (one.optimizer, one.start, one.kind) == plain and one.protocol.max_time is None
            for one in self.columns
        ):
            return {}
        alike: dict[tuple[Problem, Protocol], list[int]] = defaultdict(list)
        for i, column in enumerate(self.columns):
            alike[column.problem, column.protocol.of_flow].append(i)
        return _by_member(alike.values())

    @functools.cached_property
    def seeds(self) -> dict[int, tuple[int, ...]]:
        """Columns that refine their rates, from θ0, and differ in the seed alone; of each that has
        such, all of them with itself.
        """
        alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for i, one in enumerate(self.columns):
            if one.refine is not None and one.start is None:
                problem = dataclasses.replace(one.problem, seed=0)
                alike[problem, one.optimizer, one.protocol, one.etas, one.kind].append(i)
        return _by_member(alike.values())

    @functools.cached_property
    def flowless(self) -> npt.NDArray[np.bool_]:
        """Of each column, whether its flow has the number of another column's."""
        found = np.zeros(len(self.columns), dtype=bool)
        found[[i for i, group in self.flow_sharers.items() if i != group[0]]] = True
        return found

    def with_flow(self, i: int) -> int:
        """The column that has the number of a column's flow."""
        return self.flow_sharers.get(i, (i,))[0]

    @functools.cached_property
    def flow_names(self) -> dict[int, int]:
        """The first column that has each flow, by the flow's trial_id as a number."""
        found: dict[int, int] = {}
        for i, column in enumerate(self.columns):
            if not self.flowless[i]:
                found[as_number(column.flow().trial_id)] = i
        return found

    @functools.cached_property
    def parents(self) -> dict[int, int]:
        """Of each column with a start, the column from which it starts; parents come first."""
        starts = {i: c.start for i, c in enumerate(self.columns) if c.start is not None}
        found = {i: self.index.get(start.parent) for i, start in starts.items()}
        return {i: parent for i, parent in found.items() if parent is not None}

    @functools.cached_property
    def children(self) -> dict[int, tuple[int, ...]]:
        """The columns that start from each column."""
        found: dict[int, list[int]] = defaultdict(list)
        for i, parent in self.parents.items():
            found[parent].append(i)
        return {parent: tuple(its) for parent, its in found.items()}

    def descendants(self, columns: Iterable[int]) -> list[int]:
        """These columns and all that start from them, parents first."""
        found = dict.fromkeys(columns)
        if not self.parents:
            return list(found)
        left = list(found)
        while left:
            new = [child for i in left for child in self.children.get(i, ()) if child not in found]
            found |= dict.fromkeys(new)
            left = new
        return list(found)

    @functools.cached_property
    def generation(self) -> Numbers:
        """Of each column, how many columns there are from which it starts, one from another."""
        found = np.zeros(len(self.columns), dtype=np.int64)
        for i, above in self.parents.items():
            parent: int | None = above
            while parent is not None:
                found[i] += 1
                parent = self.parents.get(parent)
        return found

    def related(self, columns: Iterable[int]) -> tuple[int, ...]:
        """These columns and those that share trials with them."""
        return tuple(
            dict.fromkeys(
                related
                for i in columns
                for groups in (self.relatives, self.flow_sharers)
                for related in groups.get(i, (i,))
            )
        )

    @functools.cached_property
    def assumed_gradients(self) -> Floats:
        """Gradients of each whole column, as is assumed before its flow has run."""
        known: dict[tuple[object, ...], float] = {}
        found = np.zeros(len(self.columns))
        for i, column in enumerate(self.columns):
            key = (id(column.protocol), column.optimizer, *map(id, column.etas))
            if key not in known:
                known[key] = unknown_gradients(column)
            found[i] = known[key] + (0.0 if self.flowless[i] else flow_gradients(column))
        return found

    @functools.cached_property
    def assumed_seconds(self) -> Floats:
        """Seconds of a gradient of each column, as is assumed before its flow has run."""
        return np.array([prior_seconds_per_gradient(column) for column in self.columns])

    @functools.cached_property
    def resources(self) -> Numbers:
        """Which of the distinct resources each column needs."""
        distinct: dict[object, int] = {}
        return np.array(
            [distinct.setdefault(column.resources, len(distinct)) for column in self.columns],
            dtype=np.int64,
        )


def _by_member(groups: Iterable[Sequence[int]]) -> dict[int, tuple[int, ...]]:
    """Of each column in a group of several, all of them with itself."""
    several = [tuple(group) for group in groups if len(group) > 1]
    return {i: group for group in several for i in group}
