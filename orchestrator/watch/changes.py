"""Whether files or folders may have changed since they were last read, by their times alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

QUIET_NS = 2_000_000_000
"""Younger times may hide a second change: file systems count in ticks, some in whole seconds."""


class Changes:
    """Remembers when these paths last changed. A folder changes when a file in it comes or goes."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._times: tuple[int, ...] = ()
        self._quiet = False

    def seen(self) -> bool:
        """Whether a reader must read again, be it in doubt; always so at first.

        It is called before the reading: what changes meanwhile is seen the next time.
        """
        times = tuple(map(_changed_at, self._paths))
        changed = times != self._times or not self._quiet
        self._times = times
        self._quiet = time.time_ns() - max(times) > QUIET_NS
        return changed

    def forget(self) -> None:
        """Take back that a change was seen: it could not be read."""
        self._times = ()


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
