"""A grid as a value: axes and how they go together, and what holds for the columns of it."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jobs.spec import Problem, Protocol, SpecError

Unit = Literal["eta_c", "init_sharpness", "absolute"]

PROTOCOL_FIELDS = {
    "stop.epsilon": "epsilons",
    "stop.max_steps": "max_steps",
    "stop.divergence_factor": "divergence_factor",
    "flow.method": "flow_method",
    "measure.trajectory_every": "trajectory_every",
    "measure.sharpness_rtol": "sharpness_rtol",
    "measure.also": "also",
    "measure.eigenvalues": "eigenvalues",
    "measure.midpoint": "midpoint",
    "measure.probes": "probes",
    "measure.perturbation": "perturbation",
}
"""The fields of :class:`jobs.spec.Protocol` by their keys in a sweep file."""


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
    """Learning rates in one unit, kept distinct and ascending.

    They are multiples of η_c (``eta_c``), of 2 over the sharpness at θ0 (``init_sharpness``), or η
    itself (``absolute``).
    """

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
class Match:
    """Some fields of a problem, each with the values that fit; a problem fits in all of them."""

    fields: tuple[Axis, ...]

    def fits(self, problem: Mapping[str, Any]) -> bool:
        """Whether a problem, as values by field, has one of the values of each field."""
        return all(problem.get(axis.field) in axis.values for axis in self.fields)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What is different for the problems that fit.

    ``axes`` replace those of the grid; ``changes`` are keys of a sweep file outside of ``problem``,
    dotted, and their values.
    """

    match: Match
    axes: tuple[Axis, ...] = ()
    changes: tuple[tuple[str, Any], ...] = ()

    def only(self, *keys: str) -> Condition | None:
        """This condition with no changes but those; None where nothing is left."""
        return self._with(tuple(item for item in self.changes if item[0] in keys), axes=())

    def without(self, *keys: str) -> Condition | None:
        """This condition without those changes; None where nothing is left."""
        return self._with(
            tuple(item for item in self.changes if item[0] not in keys), axes=self.axes
        )

    def _with(
        self, changes: tuple[tuple[str, Any], ...], axes: tuple[Axis, ...]
    ) -> Condition | None:
        if not changes and not axes:
            return None
        return Condition(match=self.match, axes=axes, changes=changes)


Rule = Match | Condition
"""A line of ``exclude``, or an item of ``when``."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The product of its axes, every problem of it under one protocol and one set of rates.

    An axis with the single value None is none: the problem has the usual value of its
    architecture. Axes whose fields stand together in ``zipped`` advance together. ``when`` changes
    problems, and how they are treated, in turn; what fits ``exclude`` after that is left out.
    ``spare`` are values of the protocol's fields of which only measures have a use that conditions
    ask for.
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

    def __post_init__(self) -> None:
        if not any(condition.only(*_MEASURES) for condition in self.when):
            object.__setattr__(self, "spare", ())
        said = tuple(axis for axis in self.axes if axis.values != (None,))
        object.__setattr__(self, "axes", said)

    def __len__(self) -> int:
        """The combinations of its axes, before conditions and exclusions."""
        return math.prod(len(values) for _, values in self._directions())

    def problems(self, used: set[Rule]) -> Iterator[tuple[Problem, Grid]]:
        """The problems, each with the grid as it is for it, without conditions.

        Of axes, the last varies fastest. The exclusions and conditions that some problem fits are
        added to ``used``.

        Raises:
            SpecError: a combination of values that no problem can have.
        """
        treated: dict[tuple[int, ...], Grid] = {(): self._treated(())}
        for values in itertools.product(*(values for _, values in self._directions())):
            named = dict(zip(self._fields, itertools.chain.from_iterable(values), strict=True))
            if not self.when and not self.exclude:
                yield Problem(**named), treated[()]
                continue
            for case, met in self._cases(_Case.of(named), (), used):
                fitting = [match for match in self.exclude if match.fits(case.seen)]
                used.update(fitting)
                if not fitting:
                    used.update(self.when[number] for number in met)
                    if met not in treated:
                        treated[met] = self._treated(met)
                    yield case.problem or Problem(**case.named), treated[met]

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
        """What says which columns there are: all but rates and how trials are handled."""
        return (
            *(self.axes, self.zipped, self.exclude, self.protocol, self.spare),
            tuple(filter(None, (c.without(*_RATES, *_HANDLING) for c in self.when))),
        )

    def handled_as(self, other: Grid) -> Grid:
        """This grid, its trials handled as those of another one with the same columns."""
        own_rates = [condition.only(*_RATES) for condition in self.when]
        when = other.when
        if own_rates != [condition.only(*_RATES) for condition in other.when]:
            handling = (condition.without(*_RATES) for condition in other.when)
            when = tuple(filter(None, (*handling, *own_rates)))
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
        for _ in changed.problems(used):
            pass
        return changed.reduced((), set(changed.when) - used)

    def _treated(self, met: tuple[int, ...]) -> Grid:
        """The grid as it is for problems that meet these of its conditions, without conditions."""
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
                rates=changes.get("eta.values", eta["rates"]),
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
        self, case: _Case, met: tuple[int, ...], used: set[Rule], first: int = 0
    ) -> Iterator[tuple[_Case, tuple[int, ...]]]:
        """What the conditions make of a combination, from the ``first`` of them on."""
        for number, condition in enumerate(self.when[first:], first):
            if not condition.match.fits(case.seen):
                continue
            met = (*met, number)
            if condition.axes:
                used.add(condition)  # even if what it makes of the problem is excluded
                fields = [axis.field for axis in condition.axes]
                for values in itertools.product(*(axis.values for axis in condition.axes)):
                    changed = case.named | dict(zip(fields, values, strict=True))
                    yield from self._cases(_Case.of(changed), met, used, number + 1)
                return
        yield case, met


@dataclass(frozen=True)
class _Case:
    """A combination of values, and its problem; None where no problem can have them."""

    named: dict[str, Any]
    problem: Problem | None

    @classmethod
    def of(cls, named: dict[str, Any]) -> _Case:
        try:
            return cls(named, Problem(**named))
        except SpecError:
            return cls(named, None)

    @property
    def seen(self) -> Mapping[str, Any]:
        """The values with what is usual filled in.

        Where they make no problem yet, for a condition is to complete it, what is usual is that
        without what is relative to a width; where there is none then either, as given.
        """
        if self.problem is not None:
            return vars(self.problem)
        relative = ("parameterization", "base_width")
        try:
            usual = Problem(**{k: v for k, v in self.named.items() if k not in relative})
        except SpecError:
            return self.named
        return {**vars(usual), **self.named}


_MEASURES = ("measure.also", "measure.eigenvalues")
_RATES = ("eta.unit", "eta.values")
_HANDLING = ("eta.stop_after_divergences", *(f"resources.{name}" for name in vars(Resources())))
