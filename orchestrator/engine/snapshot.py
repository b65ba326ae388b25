"""Where a run stands, as a plain value."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.engine.work import Running
from orchestrator.plan import Counts


@dataclass(frozen=True)
class Snapshot:
    """Where a run stands, for those who watch it. Times in seconds."""

    columns: int
    columns_complete: int
    trials: Counts
    running: tuple[Running, ...]
    remaining_s: float | None
