"""Columns: a problem with an optimiser, a protocol and learning rates; how grids come to them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from jobs.spec import (
    GD,
    Kind,
    Optimizer,
    Problem,
    Protocol,
    SpecError,
    Start,
    Trial,
    check_comparable,
    check_reachable,
)
from jobs.spec import column_id as name_of_column
from jobs.spec.start import check_reached
from orchestrator.sweep.errors import NoColumnError, SweepError, shown, wrong
from orchestrator.sweep.grid import AskedRate, EtaGrid, Grid, Refine, Resources, Unit
from orchestrator.sweep.rules import OF_OPTIMIZER, Axis, Rule, Setup, key_of
from orchestrator.sweep.starts import ColumnStart

MOST_COLUMNS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Column:
    """One problem with an optimiser under one protocol, with its flow and all its learning rates.

    ``etas`` has one entry a unit, in the order of ``Unit``: a problem that several grids share may
    have multiples in each. ``stop_after_divergences`` is the number of diverged trials after which
    larger multiples are left out; None tries them all. ``start`` says where GD begins, None for θ0.
    ``kind`` is that of its trials beside the flow: GD, or central flows at the rates above η_c.
    """

    problem: Problem
    protocol: Protocol
    etas: tuple[EtaGrid, ...]
    stop_after_divergences: int | None
    resources: Resources
    optimizer: Optimizer = GD
    start: ColumnStart | None = None
    kind: Kind = "gd"

    @functools.cached_property
    def column_id(self) -> str:
        """The 16 hex digits that name the problem, the optimiser, the start and the protocol; and
        the kind of its trials.
        """
        start = None if self.start is None else self.start.content
        return name_of_column(self.problem, self.protocol, self.optimizer, start, self.kind)

    @property
    def setup(self) -> Setup:
        """The problem and the optimiser."""
        return Setup(self.problem, self.optimizer)

    @property
    def refine(self) -> Refine | None:
        """To what precision its rates refine themselves; None where they do not."""
        return self.etas[0].refine

    @property
    def n_places(self) -> int:
        """The number of rates that it may have, with those by which it refines itself."""
        return self.n_rates + (self.refine.most if self.refine else 0)

    def needs(self, unit: Unit) -> bool:
        """Whether some learning rates are in this unit."""
        return any(eta.unit == unit for eta in self.etas)

    @property
    def n_rates(self) -> int:
        """The number of its rates, before multiples in two units turn out to be one η, and rates of
        central flows to be below η_c.
        """
        return sum(len(eta.multiples) for eta in self.etas)

    def learning_rates(
        self, eta_c: float | None, eta_0: float | None = None
    ) -> dict[float, AskedRate]:
        """All η of the column, ascending, given what its flow measured, each as it was asked for.

        An η that comes from several units or multiples counts once: as the first unit of
        ``eta_c``, ``init_sharpness`` and ``absolute``, and there as the smallest multiple.

        Args:
            eta_c: η_c, at whose edge the largest sharpness along the flow is.
            eta_0: the same of the sharpness at θ0.

        Raises:
            ValueError: some rates are in a unit that is None.
        """
        scales: dict[Unit, float | None] = {
            "eta_c": eta_c,
            "init_sharpness": eta_0,
            "absolute": 1.0,
        }
        rates: dict[float, AskedRate] = {}
        for eta in self.etas:
            scale = scales[eta.unit]
            if scale is None:
                raise ValueError(f"{eta.unit} is None; it must be known to lay out rates in it")
            for multiple in eta.multiples:
                if self.kind == "gd" or eta_c is None or multiple * scale > eta_c:
                    rates.setdefault(multiple * scale, AskedRate(eta.unit, multiple))
        return dict(sorted(rates.items()))

    def flow(self) -> Trial:
        """The gradient flow that every trial of the column is compared with."""
        return Trial(problem=self.problem, protocol=self.protocol, kind="flow")

    def at(
        self, learning_rate: float, parent: Trial | None = None, flow_time: float | None = None
    ) -> Trial:
        """The trial at one η, which is absolute here; of a column with a start, from its state of
        the ``parent``. ``flow_time`` is what the flow took to the smallest ε, where it came there.
        """
        start = None
        if self.start is not None:
            if parent is None:
                raise ValueError(f"column {self.column_id} has a start; its parent must be given")
            start = Start(parent=parent, state=self.start.state)
        return Trial(
            problem=self.problem,
            protocol=self.protocol.bounded_by(flow_time),
            kind=self.kind,
            learning_rate=learning_rate,
            optimizer=self.optimizer,
            start=start,
        )


@dataclass(frozen=True)
class Expansion:
    """The columns of grids, and what of each grid had no effect.

    ``idle`` has, for each grid, the fields of axes of which no column has a value, because its
    network has no such field. ``unused`` has the exclusions and conditions that no setup matches.
    """

    columns: tuple[Column, ...]
    idle: tuple[frozenset[str], ...]
    unused: tuple[frozenset[Rule], ...]


def expand(grids: Sequence[Grid], places: Sequence[str] = ()) -> Expansion:
    """The distinct columns of grids, in the order in which the grids first name them.

    ``places`` are what messages put before a key to say which grid is meant; without them, where
    it stands among the ``grids`` of a file.

    Raises:
        SweepError: there are too many, a combination of values is one that no problem can have, or
            two grids want one column handled differently.
    """
    _refuse_too_many(sum(map(len, grids)))
    places = places or [
        f"grids[{number}]." if len(grids) > 1 else "" for number in range(len(grids))
    ]
    askers: dict[Protocol, dict[_Key, list[tuple[int, Grid]]]] = {}
    firsts: list[tuple[_Key, list[tuple[int, Grid]]]] = []
    idle, unused = [frozenset[str]()] * len(grids), [frozenset[Rule]()] * len(grids)
    starts = _Starts(grids, places)
    for number in starts.order:
        grid, used = grids[number], set[Rule]()
        central = "central" not in grid.kinds
        linked = grid.label is not None or grid.start is not None
        unseen = {axis.field: axis for axis in grid.axes}
        bases = _base_widths(grid)
        try:
            for setup, treated in grid.setups(used):
                if unseen:
                    unseen = _still_unseen(unseen, setup, bases)
                of_protocol = askers.setdefault(treated.protocol, {})
                for start in starts.of(number, setup, treated) if linked else (None,):
                    for kind in _kinds_of(grid, setup):
                        central |= kind == "central"
                        known = of_protocol.get((setup, start, kind))
                        if known is None:
                            of_protocol[setup, start, kind] = known = []
                            firsts.append(((setup, start, kind), known))
                            _refuse_too_many(len(firsts))
                        if (number, treated) not in known:  # values may differ in what has no use
                            known.append((number, treated))
        except SpecError as error:
            raise wrong(places[number] + key_of(error.field), error.value, error.expected) from None
        if not central:
            expected = "without central: only plain GD that begins at θ0 has a central flow"
            raise wrong(f"{places[number]}kinds", list(grid.kinds), expected)
        starts.refuse_idle(number)
        left = len(unseen) < len(grid.axes)  # else its exclusions leave nothing of it
        idle[number] = frozenset(unseen if left else ())
        unused[number] = frozenset(grid.rules - used)
    if not firsts:
        raise NoColumnError("exclude leaves no column; it must leave at least one")
    columns = tuple(_column(*key, asked, places) for key, asked in firsts)
    return Expansion(columns, tuple(idle), tuple(unused))


_Key = tuple[Setup, ColumnStart | None, Kind]


def _kinds_of(grid: Grid, setup: Setup) -> list[Kind]:
    """The kinds of trials beside the flow, of which each has columns of its own."""
    of_gd = setup.optimizer == GD and grid.start is None
    return [kind for kind in grid.kinds if kind == "gd" or (kind == "central" and of_gd)]


class _Starts:
    """Where the trials of each grid begin, found in an order in which parents come first.

    Raises:
        SweepError: a grid starts from a label that no other grid has, or from itself.
    """

    def __init__(self, grids: Sequence[Grid], places: Sequence[str]) -> None:
        self._grids, self._places = grids, places
        self._of_label: dict[str, dict[Problem, list[_Parent]]] = {
            grid.label: {} for grid in grids if grid.label is not None
        }
        self._found = [False] * len(grids)
        self.order: list[int] = []
        for number in range(len(grids)):
            self._visit(number, [])

    def _visit(self, number: int, path: list[int]) -> None:
        if number in self.order:
            return
        grid, where = self._grids[number], f"{self._places[number]}start.from"
        if grid.start is not None:
            label = grid.start.label
            if label not in self._of_label:
                known = ", ".join(self._of_label) or "none of them has one"
                raise wrong(where, label, f"the label of another grid: {known}")
            if number in path:
                through = " → ".join(
                    str(self._grids[one].label) for one in path[path.index(number) :]
                )
                raise wrong(where, label, f"a grid that does not start from this one: {through}")
            for other, parent in enumerate(self._grids):
                if parent.label == label:
                    self._visit(other, [*path, number])
        if number not in self.order:
            self.order.append(number)

    def of(self, number: int, setup: Setup, treated: Grid) -> Iterator[ColumnStart | None]:
        """Where the trials of a setup of a grid begin; None is θ0.

        Raises:
            SweepError: a parent cannot reach the state.
        """
        grid, where = self._grids[number], f"{self._places[number]}start."
        start: ColumnStart | None
        if grid.start is None:
            found: list[ColumnStart | None] = [None]
        else:
            found = []
            for parent in self._of_label[grid.start.label].get(setup.problem, ()):
                for state in grid.start.states:
                    try:
                        check_reached(state, parent.grid.protocol)
                    except SpecError as error:
                        raise wrong(where + error.field, error.value, error.expected) from None
                    found += [
                        ColumnStart.of(
                            parent.column_id, parent.optimizer, parent.start, rate, state
                        )
                        for rate in parent.rates
                    ]
        for start in found:
            self._found[number] = True
            if grid.label is not None:
                parents = self._of_label[grid.label].setdefault(setup.problem, [])
                parents.append(_Parent(*setup, start, treated))
            yield start

    def refuse_idle(self, number: int) -> None:
        """Make sure that a grid with a start has columns.

        Raises:
            SweepError: none of its problems is one of the grids from which it starts.
        """
        start = self._grids[number].start
        if start is not None and not self._found[number]:
            expected = "the label of grids that have a problem of this grid"
            raise wrong(f"{self._places[number]}start.from", start.label, expected)


@dataclass(frozen=True)
class _Parent:
    """A column from which others start, with the learning rates of one grid."""

    problem: Problem
    optimizer: Optimizer
    start: ColumnStart | None
    grid: Grid

    @functools.cached_property
    def column_id(self) -> str:
        start = None if self.start is None else self.start.content
        return name_of_column(self.problem, self.grid.protocol, self.optimizer, start)

    @property
    def rates(self) -> Iterator[AskedRate]:
        return (AskedRate(self.grid.eta.unit, multiple) for multiple in self.grid.eta.multiples)


def _still_unseen(
    unseen: Mapping[str, Axis], setup: Setup, bases: frozenset[Any]
) -> dict[str, Axis]:
    """The axes left that the setup has no value of; another word for the same is a value."""
    values = setup.values
    relative = _RELATIVE if setup.problem.width in bases else ()
    renamed = ("normalization", f"{OF_OPTIMIZER}name", *relative)
    return {
        field: axis
        for field, axis in unseen.items()
        if not axis.has(None) and not axis.has(values[field]) and field not in renamed
    }


_RELATIVE = ("parameterization", "base_width")


def _base_widths(grid: Grid) -> frozenset[Any]:
    """The widths at which parameterizations that a grid asks for are the standard one."""
    axes = (*grid.axes, *(axis for condition in grid.when for axis in condition.axes))
    asked = {value for axis in axes if axis.field == "parameterization" for value in axis.values}
    if not asked - {"standard"}:
        return frozenset()
    return frozenset(v for axis in axes if axis.field == "base_width" for v in axis.values) - {None}


def _refuse_too_many(columns: int) -> None:
    if columns > MOST_COLUMNS:
        raise SweepError(f"the sweep has {columns} columns; it must have at most {MOST_COLUMNS}")


def _column(
    setup: Setup,
    start: ColumnStart | None,
    kind: Kind,
    asked: list[tuple[int, Grid]],
    places: Sequence[str],
) -> Column:
    (problem, optimizer), (number, first) = setup, asked[0]
    for other_number, other in asked[1:]:
        _refuse_conflict(places[number], first, places[other_number], other)
    block = places[number]
    try:
        check_reachable(problem, first.protocol)
        check_comparable(first.protocol, optimizer, starts_elsewhere=start is not None)
    except SpecError as error:
        raise wrong(f"{block}measure.{error.field}", error.value, error.expected) from None
    etas = (first.eta,) if len(asked) == 1 else _united([grid.eta for _, grid in asked])
    if kind == "central":
        etas = tuple(dataclasses.replace(eta, refine=None) for eta in etas)
        etas = tuple(filter(None, map(_above_critical, etas)))
        if not etas:
            expected = "such that one is above 1: central flows are at rates above η_c"
            raise wrong(f"{block}eta.values", list(first.eta.multiples), expected)
    for eta in etas if optimizer.is_adaptive else ():
        if eta.unit != "absolute":
            raise wrong(
                f"{block}eta.unit",
                eta.unit,
                f"absolute for {optimizer.name}, whose limit for small η is not the gradient flow",
            )
    if first.resources.workers > problem.n_train:
        raise wrong(
            f"{block}resources.workers",
            first.resources.workers,
            f"at most {problem.n_train}, the number of training samples, so that each worker "
            "has one",
        )
    if first.resources.workers > 1 and 0 < (first.resources.gpus_per_worker or 0) < 1:
        raise wrong(
            f"{block}resources.gpus_per_worker",
            first.resources.gpus_per_worker,
            "0 or 1 where a trial has several workers: NCCL connects no two on one GPU",
        )
    return Column(
        problem=problem,
        protocol=first.protocol,
        etas=etas,
        stop_after_divergences=first.stop_after_divergences,
        resources=first.resources,
        optimizer=optimizer,
        start=start,
        kind=kind,
    )


def _above_critical(eta: EtaGrid) -> EtaGrid | None:
    """The rates that may be above η_c; None where there are none."""
    if eta.unit != "eta_c":
        return eta
    above = tuple(multiple for multiple in eta.multiples if multiple > 1)
    return dataclasses.replace(eta, multiples=above) if above else None


def _united(etas: list[EtaGrid]) -> tuple[EtaGrid, ...]:
    units: tuple[Unit, ...] = get_args(Unit)
    of_unit = {u: [m for eta in etas if eta.unit == u for m in eta.multiples] for u in units}
    refine = etas[0].refine  # that of all
    found = {u: tuple(multiples) for u, multiples in of_unit.items() if multiples}
    return tuple(EtaGrid(unit=u, multiples=its, refine=refine) for u, its in found.items())


def _said(refine: Refine | None) -> dict[str, object] | None:
    return None if refine is None else vars(refine)


def _refuse_conflict(place: str, first: Grid, other_place: str, other: Grid) -> None:
    for key, mine, theirs in (
        ("eta.stop_after_divergences", first.stop_after_divergences, other.stop_after_divergences),
        ("eta.refine", _said(first.eta.refine), _said(other.eta.refine)),
        *(
            (f"resources.{name}", getattr(first.resources, name), getattr(other.resources, name))
            for name in vars(first.resources)
        ),
    ):
        if mine != theirs and place == other_place:
            raise SweepError(
                f"when makes {key} {shown(mine)} and {shown(theirs)} for the same column; it must "
                "be the same wherever conditions make one column of several"
            )
        if mine != theirs:
            raise SweepError(
                f"{other_place}{key} is {shown(theirs)} but {place}{key} is "
                f"{shown(mine)} for the same column; it must be the same in both"
            )
