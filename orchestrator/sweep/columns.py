"""A sweep as values: grids of problems, and the columns that they unite to."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from jobs.spec import Problem, Protocol, SpecError, Trial, check_reachable
from jobs.spec import column_id as name_of_column
from orchestrator.sweep.sentences import SweepError, shown, wrong

MOST_COLUMNS = 1_000_000

Unit = Literal["eta_c", "absolute"]


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one trial occupies while it runs: processes that share its samples, and what each needs.

    Without ``memory_gib_per_worker``, a worker takes its share of the machine's memory.
    """

    workers: int = 1
    gpus_per_worker: int = 0
    cpus_per_worker: int = 1
    memory_gib_per_worker: float | None = None


@dataclass(frozen=True, kw_only=True)
class EtaGrid:
    """Learning rates in one unit, kept distinct and ascending: multiples of η_c, or η itself."""

    unit: Unit
    rates: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates", tuple(sorted(set(self.rates))))


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One field of :class:`jobs.spec.Problem` and the values that it takes, in the file's order."""

    field: str
    values: tuple[str | int | float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The product of its axes, every problem of it under one protocol and one set of rates."""

    axes: tuple[Axis, ...]
    protocol: Protocol
    eta: EtaGrid
    stop_after_divergences: int | None
    resources: Resources

    def handled_as(self, other: Grid) -> Grid:
        """This grid, its trials handled as those of another one."""
        return dataclasses.replace(
            self,
            stop_after_divergences=other.stop_after_divergences,
            resources=other.resources,
        )

    def __len__(self) -> int:
        return math.prod(len(axis.values) for axis in self.axes)

    def problems(self) -> Iterator[Problem]:
        """The problems of the product; the last axis varies fastest.

        Raises:
            SpecError: a combination of values that no problem can have.
        """
        fields = [axis.field for axis in self.axes]
        for values in itertools.product(*(axis.values for axis in self.axes)):
            named: dict[str, Any] = dict(zip(fields, values, strict=True))
            yield Problem(**named)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One problem under one protocol, with its flow and all its learning rates.

    ``etas`` has one entry a unit: a problem that several grids share may have rates in both.
    ``stop_after_divergences`` is the number of diverged trials after which larger rates are left
    out; None tries them all.
    """

    problem: Problem
    protocol: Protocol
    etas: tuple[EtaGrid, ...]
    stop_after_divergences: int | None
    resources: Resources

    @functools.cached_property
    def column_id(self) -> str:
        """The 16 hex digits that name the problem and the protocol."""
        return name_of_column(self.problem, self.protocol)

    @property
    def needs_eta_c(self) -> bool:
        """Whether some learning rates are in units of η_c."""
        return any(eta.unit == "eta_c" for eta in self.etas)

    @property
    def n_rates(self) -> int:
        """The number of GD trials; rates in two units that fall together count once less later."""
        return sum(len(eta.rates) for eta in self.etas)

    def learning_rates(self, eta_c: float | None) -> tuple[float, ...]:
        """All η of the column, distinct and ascending, given the η_c that its flow measured.

        Raises:
            ValueError: some rates are in units of η_c, which is None.
        """
        if eta_c is None and self.needs_eta_c:
            raise ValueError("eta_c is None; it must be known to lay out rates in units of η_c")
        scales = {"eta_c": eta_c or 0.0, "absolute": 1.0}
        return tuple(sorted({rate * scales[eta.unit] for eta in self.etas for rate in eta.rates}))

    def flow(self) -> Trial:
        """The gradient flow that every GD trial of the column is compared with."""
        return Trial(problem=self.problem, protocol=self.protocol, kind="flow")

    def gd(self, learning_rate: float) -> Trial:
        """Gradient descent at one η, which is absolute here."""
        return Trial(
            problem=self.problem, protocol=self.protocol, kind="gd", learning_rate=learning_rate
        )


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A named union of grids."""

    name: str
    grids: tuple[Grid, ...]

    @functools.cached_property
    def columns(self) -> tuple[Column, ...]:
        """The distinct columns, in the order in which the grids first name them.

        Raises:
            SweepError: there are too many, a combination of values is one that no problem can
                have, or two grids want one column handled differently.
        """
        total = sum(map(len, self.grids))
        if total > MOST_COLUMNS:
            raise SweepError(f"the sweep has {total} columns; it must have at most {MOST_COLUMNS}")
        askers: dict[tuple[Problem, Protocol], list[int]] = {}
        for number, grid in enumerate(self.grids):
            try:
                for problem in grid.problems():
                    numbers = askers.setdefault((problem, grid.protocol), [])
                    if (
                        number not in numbers
                    ):  # values may differ in what the problem has no use for
                        numbers.append(number)
            except SpecError as error:
                block = f"grids[{number}]." if len(self.grids) > 1 else ""
                key = f"{block}problem.{error.field}"
                raise wrong(key, error.value, error.expected) from None
        return tuple(self._column(*key, numbers) for key, numbers in askers.items())

    def extended_by(self, other: Sweep) -> Sweep:
        """This sweep and another one of the same name, as one.

        Where both have the same problems under the same protocol, the other one says how their
        trials are handled and what they occupy: that may change from run to run.

        Raises:
            SweepError: the two want one column handled differently otherwise.
        """
        handled = {(grid.axes, grid.protocol): grid for grid in other.grids}
        kept = [
            grid if new is None else grid.handled_as(new)
            for grid in self.grids
            for new in [handled.get((grid.axes, grid.protocol))]
        ]
        united = Sweep(name=self.name, grids=tuple(dict.fromkeys((*kept, *other.grids))))
        _ = united.columns
        return united

    def _column(self, problem: Problem, protocol: Protocol, numbers: list[int]) -> Column:
        first = self.grids[numbers[0]]
        for number in numbers[1:]:
            _refuse_conflict(numbers[0], first, number, self.grids[number])
        block = f"grids[{numbers[0]}]." if len(self.grids) > 1 else ""
        try:
            check_reachable(problem, protocol)
        except SpecError as error:
            raise wrong(f"{block}measure.{error.field}", error.value, error.expected) from None
        if first.resources.workers > problem.n_train:
            raise wrong(
                f"{block}resources.workers",
                first.resources.workers,
                f"at most {problem.n_train}, the number of training samples, so that each worker "
                "has one",
            )
        grids = [self.grids[number] for number in numbers]
        return Column(
            problem=problem,
            protocol=protocol,
            etas=(first.eta,) if len(grids) == 1 else _united([grid.eta for grid in grids]),
            stop_after_divergences=first.stop_after_divergences,
            resources=first.resources,
        )


def _united(etas: list[EtaGrid]) -> tuple[EtaGrid, ...]:
    units: tuple[Unit, ...] = ("eta_c", "absolute")
    rates = {
        unit: [rate for eta in etas if eta.unit == unit for rate in eta.rates] for unit in units
    }
    return tuple(EtaGrid(unit=unit, rates=tuple(rates[unit])) for unit in units if rates[unit])


def _refuse_conflict(number: int, first: Grid, other_number: int, other: Grid) -> None:
    for key, mine, theirs in (
        ("eta.stop_after_divergences", first.stop_after_divergences, other.stop_after_divergences),
        *(
            (f"resources.{name}", getattr(first.resources, name), getattr(other.resources, name))
            for name in vars(first.resources)
        ),
    ):
        if mine != theirs:
            raise SweepError(
                f"grids[{other_number}].{key} is {shown(theirs)} but grids[{number}].{key} is "
                f"{shown(mine)} for the same column; it must be the same in both"
            )
