"""A sweep as a value: a named union of grids."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from orchestrator.sweep.columns import Column, Expansion, expand
from orchestrator.sweep.grid import Grid


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
        united = Sweep(name=self.name, grids=tuple(dict.fromkeys((*kept, *other.grids))))
        _ = united.columns
        return united
