"""Axes of problems, and the rules that leave some of them out or change them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from jobs.spec import GD, Optimizer, Problem, SpecError

OF_OPTIMIZER = "optimizer."
"""How the fields of axes begin that are of the optimiser; those of the problem have bare names."""


class Setup(NamedTuple):
    """What is trained, and how: a problem and an optimiser."""

    problem: Problem
    optimizer: Optimizer

    @classmethod
    def of(cls, named: Mapping[str, Any]) -> Setup:
        """The setup of values by the fields of axes.

        Raises:
            SpecError: no problem, or no optimiser, can have them; the field is that of an axis.
        """
        return cls(Problem(**_of_problem(named)), _optimizer(named))

    @classmethod
    def of_gd(cls, named: Mapping[str, Any]) -> Setup:
        """The setup of values of fields of a problem alone."""
        return cls(Problem(**named), GD)

    @property
    def values(self) -> dict[str, Any]:
        """The values of all fields that axes have."""
        return {**vars(self.problem), **_values(self.optimizer)}


def is_of_optimizer(field: str) -> bool:
    """Whether an axis' field is one of the optimiser."""
    return field.startswith(OF_OPTIMIZER)


def key_of(field: str) -> str:
    """The key in a sweep file of an axis' field."""
    return field if is_of_optimizer(field) else f"problem.{field}"


def _of_problem(named: Mapping[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in named.items() if not is_of_optimizer(field)}


def _optimizer(named: Mapping[str, Any]) -> Optimizer:
    chosen = {
        field.removeprefix(OF_OPTIMIZER): value
        for field, value in named.items()
        if is_of_optimizer(field)
    }
    try:
        return Optimizer(**chosen)
    except SpecError as error:
        raise SpecError(OF_OPTIMIZER + error.field, error.value, error.expected) from None


def _values(optimizer: Optimizer) -> dict[str, Any]:
    return {OF_OPTIMIZER + field: value for field, value in vars(optimizer).items()}


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One field of :class:`jobs.spec.Problem`, or of :class:`jobs.spec.Optimizer` after
    ``OF_OPTIMIZER``, and the values that it takes, in the file's order.
    """

    field: str
    values: tuple[str | int | float | None, ...]

    def has(self, value: object) -> bool:
        """Whether a value is one of them."""
        return value in self._distinct

    @functools.cached_property
    def _distinct(self) -> frozenset[object]:
        """The values, for lists of many thousands."""
        return frozenset(self.values)


@dataclass(frozen=True, kw_only=True)
class Match:
    """Some fields of a setup, each with the values that fit; a setup fits in all of them."""

    fields: tuple[Axis, ...]

    def fits(self, values: Mapping[str, Any]) -> bool:
        """Whether a setup, as values by field, has one of the values of each field."""
        return all(axis.has(values.get(axis.field)) for axis in self.fields)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What is different for the setups that fit.

    ``axes`` replace those of the grid; ``changes`` are keys of a sweep file outside of ``problem``
    and ``optimizer``, dotted, and their values.
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


@dataclass(frozen=True)
class Case:
    """A combination of values, and its setup; None where none can have them."""

    named: dict[str, Any]
    setup: Setup | None

    @classmethod
    def of(cls, named: dict[str, Any]) -> Case:
        """The case of values by field."""
        try:
            return cls(named, Setup.of(named))
        except SpecError:
            return cls(named, None)

    @property
    def seen(self) -> Mapping[str, Any]:
        """The values with defaults filled in.

        Where they make no problem before a condition has completed them, the defaults are those
        without the fields relative to a width; if that is no problem either, the values as given.
        """
        if self.setup is not None:
            return self.setup.values
        relative = ("parameterization", "base_width")
        found = self.named
        try:
            defaults = {k: v for k, v in _of_problem(self.named).items() if k not in relative}
            found = {**vars(Problem(**defaults)), **found}
        except SpecError:
            pass
        try:
            return {**found, **_values(_optimizer(self.named))}
        except SpecError:
            return found
