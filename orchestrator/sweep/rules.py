"""Axes of problems, and the rules that leave some of them out or change them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.spec import Problem, SpecError


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One field of :class:`jobs.spec.Problem` and the values that it takes, in the file's order."""

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
    """Some fields of a problem, each with the values that fit; a problem fits in all of them."""

    fields: tuple[Axis, ...]

    def fits(self, problem: Mapping[str, Any]) -> bool:
        """Whether a problem, as values by field, has one of the values of each field."""
        return all(axis.has(problem.get(axis.field)) for axis in self.fields)


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


@dataclass(frozen=True)
class Case:
    """A combination of values, and its problem; None where no problem can have them."""

    named: dict[str, Any]
    problem: Problem | None

    @classmethod
    def of(cls, named: dict[str, Any]) -> Case:
        """The case of values by field."""
        try:
            return cls(named, Problem(**named))
        except SpecError:
            return cls(named, None)

    @property
    def seen(self) -> Mapping[str, Any]:
        """The values with defaults filled in.

        Where they make no problem before a condition has completed them, the defaults are those
        without the fields relative to a width; if that is no problem either, the values as given.
        """
        if self.problem is not None:
            return vars(self.problem)
        relative = ("parameterization", "base_width")
        try:
            defaults = Problem(**{k: v for k, v in self.named.items() if k not in relative})
        except SpecError:
            return self.named
        return {**vars(defaults), **self.named}
