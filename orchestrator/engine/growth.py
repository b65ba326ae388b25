"""What a run directory's sweep becomes while a run works on it: launches add to it meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from orchestrator.cluster import Allocation
from orchestrator.engine.fitting import fitting
from orchestrator.run_directory import SWEEP, sweep_of
from orchestrator.store import Identity, identity
from orchestrator.sweep import Column, SweepError


class Growth:
    """The sweep of a run directory, read again when its file is another.

    Args:
        run: the run directory.
        allocation: the machines that its trials must fit; columns that do not are left to others.
        warn: told once of each reason why columns are left to others.

    Attributes:
        left: why columns are left to others, in sentences.
    """

    def __init__(self, run: Path, allocation: Allocation, warn: Callable[[str], None]) -> None:
        self._run, self._allocation, self._warn = run, allocation, warn
        self._identity: Identity | None = None
        self.left: tuple[str, ...] = ()

    def look(self) -> tuple[Column, ...] | None:
        """All columns that fit the machines; None where the file has not changed since.

        One that cannot be used is warned of, and what was read before counts on.
        """
        path = self._run / SWEEP
        os.listdir(self._run)  # noqa: PTH208 (has a network file system look afresh)
        found = identity(path)
        if found is None or found == self._identity:
            return None
        self._identity = found
        try:
            columns = sweep_of(self._run).columns
        except (SweepError, ValueError) as error:
            self._tell(f"{path} has changed and cannot be used ({error}); what it was counts on")
            return None
        fit, reasons = fitting(columns, self._allocation)
        if reasons:
            self._tell(f"{len(columns) - len(fit)} columns are left to other jobs: {reasons[0]}")
        return fit

    def _tell(self, message: str) -> None:
        if message not in self.left:
            self.left = (*self.left, message)
            self._warn(message)
