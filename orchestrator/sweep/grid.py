"""A grid as a value: axes and how they go together, and what holds for the columns of it."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from jobs.spec import GD, Kind, Protocol, StateName
from orchestrator.sweep.rules import (
    OF_OPTIMIZER,
    Axis,
    Case,
    Condition,
    Match,
    Rule,
    Setup,
    is_of_optimizer,
)

Unit = Literal["eta_c", "init_sharpness", "absolute"]

PROTOCOL_FIELDS = {
    "stop.epsilon": "epsilons",
    "stop.max_steps": "max_steps",
    "stop.max_time": "max_time",
    "stop.divergence_factor": "divergence_factor",
    "flow.method": "flow_method",
    "measure.trajectory_every": "trajectory_every",
    "measure.sharpness_rtol": "sharpness_rtol",
    "measure.lambda_min_rtol": "lambda_min_rtol",
    "measure.also": "also",
    "measure.eigenvalues": "eigenvalues",
    "measure.midpoint": "midpoint",
    "measure.probes": "probes",
    "measure.perturbation": "perturbation",
    "measure.trajectory_eigenvalues": "trajectory_eigenvalues",
}
"""The fields of :class:`jobs.spec.Protocol` by their keys in a sweep file."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one trial occupies while it runs: processes that share its samples, and what each needs.

    Where ``gpus_per_worker`` is None, a run gives it a GPU where it has one and that pays; until
    then, and elsewhere, that is none.

    Without ``memory_gib_per_worker``, a worker takes its share of the machine's memory. A running
    trial saves its checkpoint every ``checkpoint_seconds``: SIGKILL loses no more than that. A run
    merges the files of a table once ``compact_after`` new ones have come; never for None. ``keep``
    says which states of a trial are kept: ``thresholds``, and numbers of steps.
    """

    workers: int = 1
    gpus_per_worker: float | None = None
    cpus_per_worker: int = 1
    memory_gib_per_worker: float | None = None
    checkpoint_seconds: float = 10.0
    compact_after: int | None = 1000
    keep: tuple[str | int, ...] = ()

    @property
    def device(self) -> str:
        """The kind of device on which trials are computed, as torch calls it."""
        return "cuda" if self.gpus_per_worker else "cpu"

    @property
    def devices(self) -> float:
        """How many CPU cores, or GPUs, a trial occupies."""
        return self.workers * (self.gpus_per_worker or self.cpus_per_worker)


@dataclass(frozen=True)
class GridStart:
    """Where the trials of a grid begin: at these states of each GD trial of the grids of a label
    whose problem they have.
    """

    label: str
    states: tuple[StateName, ...]


HOURS = {"cpu": "CPU-core hours", "cuda": "GPU hours"}
"""What is used up, by kind of device: time, times the cores or cards that are occupied."""


@dataclass(frozen=True)
class AskedRate:
    """A learning rate as the sweep file asks for it: ``multiple`` of ``unit``.

    Columns whose η differ, as those of two seeds, have bit-equal multiples of equal grids.
    """

    unit: Unit
    multiple: float


@dataclass(frozen=True, kw_only=True)
class Refine:
    """To what precision the rates of a column refine themselves, all at its smallest ε.

    ``kink`` is half the 95 % interval of the fitted η_c, ``divergence`` the distance of the largest
    rate that reaches ε from the smallest that diverges, ``valley`` that of the rate with the least
    test loss from its neighbours, each in log η; None asks for nothing. ``most`` bounds the further
    rates.
    """

    kink: float | None = 0.01
    divergence: float | None = 0.02
    valley: float | None = 0.02
    most: int = 40


@dataclass(frozen=True, kw_only=True)
class EtaGrid:
    """Learning rates as multiples of one unit, distinct and ascending.

    The unit is η_c (``eta_c``), 2 over the sharpness at θ0 (``init_sharpness``), or 1
    (``absolute``). With ``refine`` further ones follow from what the trials find.
    """

    unit: Unit
    multiples: tuple[float, ...]
    refine: Refine | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "multiples", tuple(sorted(set(self.multiples))))


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The product of its axes, every setup of it under one protocol and one set of multiples.

    An axis with the single value None is none: the problem has the default of its architecture, as
    the optimiser has its own; nor is one of GD alone. Axes whose fields stand together in
    ``zipped`` advance together. ``when`` changes setups, and how they are treated, in turn; what
    fits ``exclude`` after that is left out.
    ``spare`` are values of the protocol's fields of which only measures have a use that conditions
    ask for. ``label`` is what other grids call this one, and ``start`` says where its trials begin,
    None for θ0. ``kinds`` are those of its trials: the flow, and GD or central flows or both.
    """

    axes: tuple[Axis, ...]
    protocol: Protocol
    eta: EtaGrid
    stop_after_divergences: int | None
    resources: Resources
    zipped: tuple[tuple[str, ...], ...] = ()
    exclude: tuple[Match, ...] = ()
    when: tuple[Condition, ...] = ()
    spare: tuple[tuple[str, Any], ...] = ()
    label: str | None = None
    start: GridStart | None = None
    kinds: tuple[Kind, ...] = ("flow", "gd")

    def __post_init__(self) -> None:
        if not any(condition.only(*_MEASURES) for condition in self.when):
            object.__setattr__(self, "spare", ())
        said = tuple(
            axis
            for axis in self.axes
            if axis.values != (None,)
            and axis != Axis(field=f"{OF_OPTIMIZER}name", values=(GD.name,))
        )
        object.__setattr__(self, "axes", said)

    def __len__(self) -> int:
        """The combinations of its axes, before conditions and exclusions."""
        return math.prod(len(values) for _, values in self._directions())

    def setups(self, used: set[Rule]) -> Iterator[tuple[Setup, Grid]]:
        """The setups, each with the grid as it is for it, without conditions.

        Of axes, the last varies fastest. The exclusions and conditions that some setup fits are
        added to ``used``.

        Raises:
            SpecError: a combination of values that no problem or optimiser can have.
        """
        treated: dict[tuple[int, ...], Grid] = {(): self._treated(())}
        make = Setup.of if any(map(is_of_optimizer, self._fields)) else Setup.of_gd
        noted = _Noted(used)
        for values in itertools.product(*(values for _, values in self._directions())):
            named = dict(zip(self._fields, itertools.chain.from_iterable(values), strict=True))
            if not self.when and not self.exclude:
                yield make(named), treated[()]
                continue
            for case, met in self._cases(Case.of(named), (), noted):
                seen = case.seen
                fitting = [match for match in self.exclude if match.fits(seen)]
                noted.add(*fitting)
                if not fitting:
                    noted.add(*(self.when[number] for number in met))
                    if met not in treated:
                        treated[met] = self._treated(met)
                    yield case.setup or Setup.of(case.named), treated[met]

    def reduced(self, fields: Collection[str], unused: Collection[Rule]) -> Grid:
        """This grid without some of its axes, and without exclusions and conditions of no use."""
        groups = (tuple(f for f in group if f not in fields) for group in self.zipped)
        return dataclasses.replace(
            self,
            axes=tuple(axis for axis in self.axes if axis.field not in fields),
            zipped=tuple(group for group in groups if len(group) > 1),
            exclude=tuple(match for match in self.exclude if match not in unused),
            when=tuple(condition for condition in self.when if condition not in unused),
        )

    @property
    def rules(self) -> set[Rule]:
        """Its exclusions and its conditions."""
        return set[Rule](self.exclude).union(self.when)

    @property
    def computed(self) -> tuple[object, ...]:
        """What says which columns there are: all but multiples and how trials are handled."""
        return (
            *(self.axes, self.zipped, self.exclude, self.protocol, self.spare),
            *(self.label, self.start, self.kinds),
            tuple(filter(None, (c.without(*_MULTIPLES, *_HANDLING) for c in self.when))),
        )

    def handled_as(self, other: Grid) -> Grid:
        """This grid, its trials handled as those of another one with the same columns."""
        own_multiples = [condition.only(*_MULTIPLES) for condition in self.when]
        when = other.when
        if own_multiples != [condition.only(*_MULTIPLES) for condition in other.when]:
            handling = (condition.without(*_MULTIPLES) for condition in other.when)
            when = tuple(filter(None, (*handling, *own_multiples)))
        return dataclasses.replace(
            self,
            stop_after_divergences=other.stop_after_divergences,
            resources=other.resources,
            when=when,
        )

    def handled_like(self, other: Grid) -> Grid:
        """This grid, its trials handled as those of another one with some of its columns."""
        own = (condition.without(*_HANDLING) for condition in self.when)
        theirs = (condition.only(*_HANDLING) for condition in other.when)
        changed = dataclasses.replace(
            self,
            stop_after_divergences=other.stop_after_divergences,
            resources=other.resources,
            when=tuple(filter(None, (*own, *theirs))),
        )
        used: set[Rule] = set()
        for _ in changed.setups(used):
            pass
        return changed.reduced((), set(changed.when) - used)

    def _treated(self, met: tuple[int, ...]) -> Grid:
        """The grid as it is for setups that meet these of its conditions, without conditions."""
        if not self.when and not self.exclude and not self.zipped:
            return self
        changes = dict(item for number in met for item in self.when[number].changes)
        eta, resources = vars(self.eta), vars(self.resources)
        return Grid(
            axes=self.axes,
            protocol=dataclasses.replace(
                self.protocol,
                **dict(self.spare) if any(key in changes for key in _MEASURES) else {},
                **{field: changes[k] for k, field in PROTOCOL_FIELDS.items() if k in changes},
            ),
            eta=EtaGrid(
                unit=changes.get("eta.unit", eta["unit"]),
                multiples=changes.get("eta.values", eta["multiples"]),
                refine=changes.get("eta.refine", eta["refine"]),
            ),
            stop_after_divergences=changes.get(
                "eta.stop_after_divergences", self.stop_after_divergences
            ),
            resources=Resources(
                **{name: changes.get(f"resources.{name}", old) for name, old in resources.items()}
            ),
        )

    def _directions(self) -> list[tuple[tuple[str, ...], list[tuple[Any, ...]]]]:
        """Fields that advance together, and the values that they have one after another."""
        axes = {axis.field: axis.values for axis in self.axes}
        together = {field: group for group in self.zipped for field in group}
        directions = {}
        for field in axes:
            group = tuple(f for f in together.get(field, (field,)) if f in axes)
            if group not in directions:
                directions[group] = list(zip(*(axes[f] for f in group), strict=True))
        return list(directions.items())

    @functools.cached_property
    def _fields(self) -> tuple[str, ...]:
        """The fields in the order in which the directions have them."""
        return tuple(field for group, _ in self._directions() for field in group)

    def _cases(
        self, case: Case, met: tuple[int, ...], noted: _Noted, first: int = 0
    ) -> Iterator[tuple[Case, tuple[int, ...]]]:
        """What the conditions make of a combination, from the ``first`` of them on."""
        for number, condition in enumerate(self.when[first:], first):
            if not condition.match.fits(case.seen):
                continue
            met = (*met, number)
            if condition.axes:
                noted.add(condition)  # even if what it makes of the problem is excluded
                fields = [axis.field for axis in condition.axes]
                for values in itertools.product(*(axis.values for axis in condition.axes)):
                    changed = case.named | dict(zip(fields, values, strict=True))
                    yield from self._cases(Case.of(changed), met, noted, number + 1)
                return
        yield case, met


class _Noted:
    """Adds rules of one grid to a set, hashing each once: a rule may have many thousand values."""

    def __init__(self, rules: set[Rule]) -> None:
        self._rules, self._known = rules, set[int]()

    def add(self, *rules: Rule) -> None:
        """Add rules that live as long as this does."""
        for rule in rules:
            if id(rule) not in self._known:
                self._known.add(id(rule))
                self._rules.add(rule)


_MEASURES = ("measure.also", "measure.eigenvalues")
_MULTIPLES = ("eta.unit", "eta.values", "eta.refine")
_HANDLING = ("eta.stop_after_divergences", *(f"resources.{name}" for name in vars(Resources())))
