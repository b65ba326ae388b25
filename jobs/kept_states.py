"""Which states of a trial are kept: θ where it crosses thresholds, and after given steps of GD;
and those at which other trials begin.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from torch import Tensor

    from jobs.spec import StateName

THRESHOLDS = "thresholds"


@dataclass(frozen=True)
class Keep:
    """Whether states at thresholds are kept, and after which steps, ascending."""

    thresholds: bool = False
    steps: tuple[int, ...] = ()

    @classmethod
    def of(cls, words: Iterable[str | int]) -> Self:
        """Of ``thresholds`` and numbers of steps."""
        words = list(words)
        steps = {word for word in words if isinstance(word, int)}
        return cls(THRESHOLDS in words, tuple(sorted(steps)))

    def __bool__(self) -> bool:
        return self.thresholds or bool(self.steps)

    def next_after(self, step: int) -> int | None:
        """The first step after this one whose state is kept."""
        place = bisect.bisect_right(self.steps, step)
        return self.steps[place] if place < len(self.steps) else None


NOTHING = Keep()


@dataclass(frozen=True, eq=False)
class KeptState:
    """θ, shape (P,), after ``step`` updates, at ``time``; of a mean, those of its last iterate.

    ``name`` says for which trials it is kept that begin there; None where it was asked for itself.
    """

    theta: Tensor
    step: int
    time: float
    name: StateName | None = None


Receiver = Callable[[KeptState], None]
"""What takes a state at the moment at which it is reached."""
