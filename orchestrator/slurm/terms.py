"""What a job must know of its site, of a cluster profile or by itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

STOP_SECONDS = 120


@dataclass(frozen=True)
class Terms:
    """How a run behaves inside a job.

    Attributes:
        root: where temporary folders belong on the nodes; the system's place for None.
        interface: the network interface that the nodes use among themselves.
        stop_seconds: how long before its time limit a job begins to stop.
        max_timeouts: how often a job puts itself back into the queue at its time limit.
        max_preemptions: how often it does so after a preemption or the loss of a node.
        log: where trials are logged while they run, by name.
        key: tells the job that gets these terms from others of its number; None where it was not
            submitted by ``eos``.
    """

    root: Path | None = None
    interface: str | None = None
    stop_seconds: int = STOP_SECONDS
    max_timeouts: int = 100
    max_preemptions: int = 1000
    log: tuple[str, ...] = ()
    key: str | None = None


def lead_seconds(stop_seconds: float, limit: float) -> float:
    """How long before its end a job of so many seconds begins to stop: a quarter of it at most."""
    return min(stop_seconds, limit / 4)
