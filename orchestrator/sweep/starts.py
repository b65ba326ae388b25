"""Where the trials of a column begin when that is not θ0, and how a sweep file says it."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.spec import GD, Optimizer, StateName
from orchestrator.sweep.grid import AskedRate

_UNITS = {"eta_c": "η_c", "init_sharpness": "2/S(θ0)", "absolute": ""}


@dataclass(frozen=True)
class ColumnStart:
    """A state of a trial of another column, which is known before its η is.

    Attributes:
        parent: the other column, by its column_id.
        rate: the learning rate of the trial as the sweep file asks for it.
        state: which state of it.
        said: all that in words.
    """

    parent: str
    rate: AskedRate
    state: StateName
    said: str

    @classmethod
    def of(
        cls,
        parent: str,
        optimizer: Optimizer,
        start: ColumnStart | None,
        rate: AskedRate,
        state: StateName,
    ) -> ColumnStart:
        """The start at a state of a column with an optimiser, which may have a start itself."""
        words = [f"{rate.multiple:g} {_UNITS[rate.unit]}".strip()]
        words += [] if optimizer == GD else [str(optimizer)]
        before = "" if start is None else f"{start.said}; "
        return cls(parent, rate, state, f"{before}{', '.join([*words, str(state)])}")

    @property
    def content(self) -> dict[str, object]:
        """What names it."""
        rate = [self.rate.unit, self.rate.multiple]
        return {"column": self.parent, "rate": rate, **self.state.content}
