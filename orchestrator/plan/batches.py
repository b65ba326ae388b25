"""Which trials one worker gets at once: enough for a batch, and a fair share of what is ready."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from jobs.batch_bounds import MEASURED_ONCE, BatchBounds

T = TypeVar("T")

WORKS_PER_SLOT = 2
"""While tiny trials are scarce, works are made smaller, so that every slot gets this many."""


@dataclass(frozen=True)
class Batching:
    """How many runs are computed together, and how many trials one worker gets at once.

    Attributes:
        most_trials: the most trials in a batch; None for the number at which a batch is fastest.
        work_seconds: a work is filled until it is predicted to take this long. The default is long
            beside what a Tune trial costs. Rows are committed every second in any case.
        bounds: by kind of device (``cpu``, ``cuda``), up to which size problems go in batches; on a
            kind that is not there, every trial goes by itself.
        expect: called with a kind of device whose bounds will be asked for.
    """

    most_trials: int | None = None
    work_seconds: float = 5.0
    bounds: Mapping[str, BatchBounds] = field(default_factory=lambda: {"cpu": MEASURED_ONCE})
    expect: Callable[[str], None] = lambda kind: None


@dataclass(frozen=True)
class Ready(Generic[T]):
    """A trial that may start: its predicted seconds, what trials of one batch have in common, and
    the most of these that its worker computes together with it (0 for a trial that runs by itself).
    """

    item: T
    seconds: float
    batch_key: str
    batch_size: int = 0


def first_work(
    ready: Sequence[Ready[T]],
    slots: int,
    free: int | None = None,
    work_seconds: float = Batching.work_seconds,
) -> list[T]:
    """The trials that a worker gets together, of those that are ready, the longest first.

    The first of them always is one. Where it is computed in a batch, others of its key follow, up
    to the batch size, but no more than a fair share (in seconds) of all that is ready for each of
    the ``free`` slots; all slots where ``free`` is None. Tiny trials are joined by whatever else
    is ready, until the work takes ``work_seconds``.
    """
    first, total = ready[0], sum(one.seconds for one in ready)
    work, filled = [first], first.seconds
    alike = [one for one in ready[1:] if _go_together(first, one)]
    share = total / max(slots if free is None else free, 1)
    for one in alike:
        full = len(work) >= first.batch_size and filled + one.seconds > work_seconds
        # The one on the border belongs to the share that has more of it.
        if full or filled + one.seconds / 2 > share:
            break
        work.append(one)
        filled += one.seconds
    target = min(work_seconds, total / (WORKS_PER_SLOT * max(slots, 1)))
    others = [one for one in ready[1:] if not _go_together(first, one)]
    for one in [*alike[len(work) - 1 :], *others]:
        if filled + one.seconds > target:
            break
        work.append(one)
        filled += one.seconds
    return [one.item for one in work]


def _go_together(one: Ready[T], other: Ready[T]) -> bool:
    return one.batch_key == other.batch_key and 0 not in (one.batch_size, other.batch_size)
