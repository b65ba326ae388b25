"""Waiting for something to happen, with an end to the waiting."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")


def wait_for(look: Callable[[], Seen], seconds: float = 60) -> Seen:
    """The first look that is not empty; fails the test when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not seen within {seconds:g} s"
        time.sleep(0.05)
    return seen


def until_gone(look: Callable[[], object], seconds: float = 60) -> None:
    """Return when nothing is seen any more; fails the test when that takes longer."""
    wait_for(lambda: not look(), seconds)
