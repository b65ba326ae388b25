"""Merging the part files of a run while it runs, in a process of its own, once there are many."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from orchestrator.cluster.processes import shielded
from orchestrator.store import TABLES, count_parts
from orchestrator.sweep import Column

CHECK_SECONDS = 60.0
"""Between two checks: each lists the folders of all tables, and a thousand runs may do so."""

NICENESS = 10
"""Trials go first."""

_COMPACT = f"""
import os, pathlib, sys
os.nice({NICENESS})
from orchestrator.store import compact
compact(pathlib.Path(sys.argv[1]))
"""


class BackgroundCompaction:
    """Starts ``eos compact`` when a table has many part files, and ends it with the run.

    Where several runs share a directory, one of them compacts at a time; readers are not affected.

    Args:
        run: the run directory.
        columns: their smallest ``compact_after`` is the number of files that starts it.
    """

    def __init__(self, run: Path, columns: Iterable[Column]) -> None:
        numbers = {column.resources.compact_after for column in columns} - {None}
        self._after = min((number for number in numbers if number is not None), default=None)
        self._run = run
        self.process: subprocess.Popen[bytes] | None = None
        self._left: dict[str, int] = {}
        self._checked_at = -math.inf

    def start_when_due(self) -> None:
        """Start compacting if there are enough files, unless it runs already."""
        if self._after is None or time.monotonic() - self._checked_at < CHECK_SECONDS:
            return
        if self.process is not None and self.process.poll() is None:
            return
        self._checked_at = time.monotonic()
        parts = {table: count_parts(self._run, table) for table in TABLES}
        # What the last one left belongs to others, or cannot be merged.
        before = parts if self.process is not None else self._left
        self._left = {table: min(number, before.get(table, 0)) for table, number in parts.items()}
        self.process = None
        if any(parts[table] - self._left[table] >= self._after for table in TABLES):
            quiet = subprocess.DEVNULL
            with shielded():
                self.process = subprocess.Popen(
                    [sys.executable, "-c", _COMPACT, str(self._run)],
                    stdin=quiet,
                    stdout=quiet,
                    stderr=quiet,
                )

    def close(self) -> None:
        """End it; the next one does what is left."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
