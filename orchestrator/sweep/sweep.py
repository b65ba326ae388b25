"""A sweep as a value: a named union of grids."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.spec import Protocol
from orchestrator.sweep.columns import Column, Expansion, expand
from orchestrator.sweep.errors import SweepError
from orchestrator.sweep.grid import Grid, GridStart
from orchestrator.sweep.rules import Setup


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A named union of grids."""

    name: str
    grids: tuple[Grid, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The distinct columns, in the order in which the grids first name them.

        Raises:
            SweepError: as in :func:`orchestrator.sweep.columns.expand`.
        """
        return self.expansion.columns

    @functools.cached_property
    def expansion(self) -> Expansion:
        """The columns, and what of the grids was of no use; see :attr:`columns`."""
        return expand(self.grids)

    def extended_by(self, other: Sweep) -> Sweep:
        """This sweep and another one of the same name, as one.

        Where both have the same problems under the same protocol, the other one says how their
        trials are handled and what they occupy: that may change from run to run.

        Raises:
            SweepError: the two want one column handled differently otherwise.
        """
        handled = {grid.computed: grid for grid in other.grids}
        kept = [
            grid if new is None else grid.handled_as(new)
            for grid in self.grids
            for new in [handled.get(grid.computed)]
        ]
        try:
            return self._united(kept, other)
        except SweepError:  # grids that are not the same share columns
            left = [grid for grid in kept if not _covered(grid, other)]
            return self._united([_handled(grid, other.grids) for grid in left], other)

    def _united(self, grids: list[Grid], other: Sweep) -> Sweep:
        united = Sweep(name=self.name, grids=tuple(dict.fromkeys((*grids, *other.grids))))
        _ = united.columns
        return united


def _covered(grid: Grid, other: Sweep) -> bool:
    """Whether a sweep has all columns of a grid, at all its multiples."""
    if grid.start is not None:
        return any(grid.computed == one.computed for one in other.grids)
    columns = {
        (column.setup, column.protocol): column for column in other.columns if not column.start
    }
    for setup, treated in grid.setups(set()):
        column = columns.get((setup, treated.protocol))
        multiples = set(treated.eta.multiples)
        if column is None or not any(
            eta.unit == treated.eta.unit and multiples.issubset(eta.multiples)
            for eta in column.etas
        ):
            return False
    return True


def _handled(grid: Grid, others: Sequence[Grid]) -> Grid:
    """A grid with the handling of the last of others that has some of its columns."""
    columns = _columns(grid)
    for other in reversed(others):
        if not columns.isdisjoint(_columns(other)):
            return grid.handled_like(other)
    return grid


def _columns(grid: Grid) -> set[tuple[Setup, Protocol, GridStart | None]]:
    return {(setup, treated.protocol, grid.start) for setup, treated in grid.setups(set())}
