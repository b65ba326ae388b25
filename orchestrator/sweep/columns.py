"""Columns: a problem with an optimiser, a protocol and learning rates; how grids come to them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from jobs.spec import (
    GD,
    Optimizer,
    Problem,
    Protocol,
    SpecError,
    Trial,
    check_comparable,
    check_reachable,
)
from jobs.spec import column_id as name_of_column
from orchestrator.sweep.errors import NoColumnError, SweepError, shown, wrong
from orchestrator.sweep.grid import AskedRate, EtaGrid, Grid, Resources, Unit
from orchestrator.sweep.rules import OF_OPTIMIZER, Axis, Rule, Setup, key_of

MOST_COLUMNS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Column:
    """One problem with an optimiser under one protocol, with its flow and all its learning rates.

    ``etas`` has one entry a unit, in the order of ``Unit``: a problem that several grids share may
    have multiples in each. ``stop_after_divergences`` is the number of diverged trials after which
    larger multiples are left out; None tries them all.
    """

    problem: Problem
    protocol: Protocol
    etas: tuple[EtaGrid, ...]
    stop_after_divergences: int | None
    resources: Resources
    optimizer: Optimizer = GD

    @functools.cached_property
    def column_id(self) -> str:
        """The 16 hex digits that name the problem, the optimiser and the protocol."""
        return name_of_column(self.problem, self.protocol, self.optimizer)

    @property
    def setup(self) -> Setup:
        """The problem and the optimiser."""
        return Setup(self.problem, self.optimizer)

    def needs(self, unit: Unit) -> bool:
        """Whether some learning rates are in this unit."""
        return any(eta.unit == unit for eta in self.etas)

    @property
    def n_rates(self) -> int:
        """The number of GD trials, before multiples in two units turn out to be one η."""
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
                rates.setdefault(multiple * scale, AskedRate(eta.unit, multiple))
        return dict(sorted(rates.items()))

    def flow(self) -> Trial:
        """The gradient flow that every GD trial of the column is compared with."""
        return Trial(problem=self.problem, protocol=self.protocol, kind="flow")

    def gd(self, learning_rate: float) -> Trial:
        """Gradient descent at one η, which is absolute here."""
        return Trial(
            problem=self.problem,
            protocol=self.protocol,
            kind="gd",
            learning_rate=learning_rate,
            optimizer=self.optimizer,
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
    askers: dict[Protocol, dict[Setup, list[tuple[int, Grid]]]] = {}
    firsts: list[tuple[Setup, list[tuple[int, Grid]]]] = []
    idle, unused = [], []
    for number, grid in enumerate(grids):
        used: set[Rule] = set()
        unseen = {axis.field: axis for axis in grid.axes}
        bases = _base_widths(grid)
        try:
            for setup, treated in grid.setups(used):
                if unseen:
                    unseen = _still_unseen(unseen, setup, bases)
                of_protocol = askers.setdefault(treated.protocol, {})
                known = of_protocol.get(setup)
                if known is None:
                    of_protocol[setup] = known = []
                    firsts.append((setup, known))
                    _refuse_too_many(len(firsts))
                if (number, treated) not in known:  # values may differ in what it has no use for
                    known.append((number, treated))
        except SpecError as error:
            raise wrong(places[number] + key_of(error.field), error.value, error.expected) from None
        left = len(unseen) < len(grid.axes)  # else its exclusions leave nothing of it
        idle.append(frozenset(unseen if left else ()))
        unused.append(frozenset(grid.rules - used))
    if not firsts:
        raise NoColumnError("exclude leaves no column; it must leave at least one")
    columns = tuple(_column(setup, asked, places) for setup, asked in firsts)
    return Expansion(columns, tuple(idle), tuple(unused))


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


def _column(setup: Setup, asked: list[tuple[int, Grid]], places: Sequence[str]) -> Column:
    (problem, optimizer), (number, first) = setup, asked[0]
    for other_number, other in asked[1:]:
        _refuse_conflict(places[number], first, places[other_number], other)
    block = places[number]
    try:
        check_reachable(problem, first.protocol)
        check_comparable(first.protocol, optimizer)
    except SpecError as error:
        raise wrong(f"{block}measure.{error.field}", error.value, error.expected) from None
    etas = (first.eta,) if len(asked) == 1 else _united([grid.eta for _, grid in asked])
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
    )


def _united(etas: list[EtaGrid]) -> tuple[EtaGrid, ...]:
    units: tuple[Unit, ...] = get_args(Unit)
    of_unit = {u: [m for eta in etas if eta.unit == u for m in eta.multiples] for u in units}
    return tuple(EtaGrid(unit=u, multiples=tuple(of_unit[u])) for u in units if of_unit[u])


def _refuse_conflict(place: str, first: Grid, other_place: str, other: Grid) -> None:
    for key, mine, theirs in (
        ("eta.stop_after_divergences", first.stop_after_divergences, other.stop_after_divergences),
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
