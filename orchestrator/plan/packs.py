"""Which tiny trials share one Tune trial, so that orchestration does not cost more than they do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

PACK_SECONDS = 5.0
"""A pack is filled until it is predicted to take this long. That is long beside what a Tune trial
costs, and longer than a worker takes to start: Tune gives a trial that waits for a new worker the
first one that becomes free, and drops the new one, so that shorter packs would keep a single worker
busy and all others from starting. Rows are committed every second in any case."""

PACKS_PER_SLOT = 2
"""While work is scarce, packs are made smaller, so that every slot gets this many."""


def first_pack(ready: Sequence[tuple[T, float]], slots: int) -> list[T]:
    """The leading trials of ``ready`` (with their predicted seconds) that run as one.

    A trial that is not tiny is a pack of its own.
    """
    total = sum(seconds for _, seconds in ready)
    target = min(PACK_SECONDS, total / (PACKS_PER_SLOT * max(slots, 1)))
    pack: list[T] = []
    filled = 0.0
    for item, seconds in ready:
        if pack and filled + seconds > target:
            break
        pack.append(item)
        filled += seconds
    return pack
