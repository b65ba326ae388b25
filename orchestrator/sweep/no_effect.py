"""Keys of a sweep file that have no effect: refused where they are a mistake, else left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobs.spec import Problem
from jobs.spec.network_name import short_name
from orchestrator.sweep.columns import Expansion
from orchestrator.sweep.content import content_of
from orchestrator.sweep.errors import SweepError, dotted, shown
from orchestrator.sweep.grid import Grid
from orchestrator.sweep.rules import OF_OPTIMIZER, Rule, key_of
from orchestrator.sweep.sweep import Sweep


def checked_and_reduced(sweep: Sweep, own: Sequence[frozenset[str]], *, narrowed: bool) -> Sweep:
    """The sweep without the keys that have no effect in it.

    A block of a file inherits fields that its networks do not have; these are refused only where
    the block names them itself, or where no block uses them. An exclusion or a condition that
    matches nothing is refused too, unless other values on the command line explain it.

    Args:
        sweep: as the file says it.
        own: for each of its ``grids``, the fields that the block itself names; empty for a file
            without blocks.
        narrowed: whether the command line changed the problems.

    Raises:
        SweepError: as said, or the sweep has no such columns at all.
    """
    found, grids = sweep.expansion, sweep.grids
    for number, grid in enumerate(grids):
        for axis in grid.axes:
            if axis.field in found.idle[number] and (
                not own or axis.field in own[number] or _idle_everywhere(axis.field, sweep)
            ):
                key = ("grids", number) if own and axis.field in own[number] else ()
                raise SweepError(
                    f"{dotted((*key, *key_of(axis.field).split('.')))} is "
                    f"{shown(axis.values[0] if len(axis.values) == 1 else list(axis.values))}; "
                    f"it must be left out, for {_without(axis.field, grid)}"
                )
    used = {rule for number, grid in enumerate(grids) for rule in _used(grid, found, number)}
    if not narrowed:
        for number, grid in enumerate(grids):
            _refuse_unused(grid, used, ("grids", number) if len(grids) > 1 else ())
    return _reduced(sweep, used)


@dataclass(frozen=True)
class OfNoEffect:
    """What no column of a sweep uses: fields of its axes, exclusions and conditions."""

    fields: frozenset[str] = frozenset()
    rules: frozenset[Rule] = frozenset()

    def __and__(self, other: OfNoEffect) -> OfNoEffect:
        return OfNoEffect(self.fields & other.fields, self.rules & other.rules)


def reduced(sweep: Sweep) -> tuple[Sweep, OfNoEffect]:
    """The sweep without the keys that have no effect in it, and these; nothing is refused."""
    found, grids = sweep.expansion, sweep.grids
    fields = {axis.field for grid in grids for axis in grid.axes}
    used = {rule for number, grid in enumerate(grids) for rule in _used(grid, found, number)}
    return _reduced(sweep, used), OfNoEffect(
        frozenset(field for field in fields if _idle_everywhere(field, sweep)),
        frozenset().union(*found.unused) - used,
    )


def _reduced(sweep: Sweep, used: set[Rule]) -> Sweep:
    found, grids = sweep.expansion, sweep.grids
    if not any(found.idle) and all(unused <= used for unused in found.unused):
        return sweep
    return Sweep(
        name=sweep.name,
        grids=tuple(
            grid.reduced(idle, unused - used)
            for grid, idle, unused in zip(grids, found.idle, found.unused, strict=True)
        ),
    )


def _idle_everywhere(field: str, sweep: Sweep) -> bool:
    return all(
        field in sweep.expansion.idle[number]
        for number, grid in enumerate(sweep.grids)
        if any(axis.field == field for axis in grid.axes)
    )


def _without(field: str, grid: Grid) -> str:
    """Why no column of a grid has any value of a field."""
    setups = [setup for setup, _ in grid.setups(set())]
    problems = [setup.problem for setup in setups]
    if field in _CONSTANTS:
        named = " and ".join(dict.fromkeys(setup.optimizer.name for setup in setups))
        return f"{named} {'has' if ' and ' not in named else 'have'} no {_CONSTANTS[field]}"
    if field == "base_width" and any(problem.width is not None for problem in problems):
        return "only the parameterizations ntk and mup are relative to a width"
    if field in _NAMES:
        names = dict.fromkeys(map(_named, problems))
        return f"{' and '.join(names)} networks {_NAMES[field]}"
    return "when gives every column another value"


_CONSTANTS = {
    f"{OF_OPTIMIZER}momentum": "momentum",
    f"{OF_OPTIMIZER}beta2": "second moment",
    f"{OF_OPTIMIZER}damping": "second moment",
}
_NAMES = {
    "width": "have no width",
    "depth": "have no depth",
    "activation": "have no activation",
    "base_width": "have no width",
    "parameterization": "have no other parameterization than the standard one",
    "seed": "draw nothing from the seed",
}


def _named(problem: Problem) -> str:
    """What kind of network a problem has."""
    linear = " of depth 0" if problem.architecture == "fcn" and problem.depth == 0 else ""
    return short_name(problem.architecture) + linear


def _used(grid: Grid, found: Expansion, number: int) -> set[Rule]:
    return grid.rules - found.unused[number]


def _refuse_unused(grid: Grid, used: set[Rule], path: tuple[str | int, ...]) -> None:
    content = content_of(grid)
    rules: dict[str, tuple[Rule, ...]] = {"exclude": grid.exclude, "when": grid.when}
    for key, listed in rules.items():
        for place, rule in enumerate(listed):
            if rule not in used:
                said = content[key][place]
                said = said if key == "exclude" else said["match"]
                where = dotted((*path, key, place, *(["match"] if key == "when" else [])))
                raise SweepError(
                    f"{where} is {shown(said)}; it must fit a column of the sweep, but none has "
                    "these values"
                )
