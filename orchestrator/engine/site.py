"""Where a run happens, and until when: this machine, or a SLURM job with a time limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.cluster import Allocation, here
from orchestrator.engine.interruption import GRACE_SECONDS, Stop
from orchestrator.ledger import JobStart

BEGIN_SECONDS = 30.0
"""Nothing is begun so shortly before the run must stop, nor more than its grace before: it would
hardly get anywhere."""


@dataclass(frozen=True)
class Site:
    """Where a run happens.

    Attributes:
        allocation: the machines that the run has.
        root: where temporary folders belong; the system's place for None.
        interface: the network interface that the machines use among themselves.
        versions: what must be the same on all machines, as it is here.
        job: the start of the SLURM job that this is; None outside of one.
        clock: the time, in seconds since the epoch, by whom ends the run's time.
        stop_at: when by that clock the run must begin to stop; None for never.
        grace: seconds that trials may take to save themselves after a warning.
        idle_seconds: how long the run waits for work that other runs hold before it ends and gives
            its machines back; None for as long as it takes.
        beat: called every few seconds; says why the run is to end, if it is.
        leave: called before the last look at the sweep, which is followed by the end unless there
            is more to do; whoever adds to the sweep later must not count on this run.
        stay: called when that look has found more.
    """

    allocation: Allocation = field(default_factory=here)
    root: Path | None = None
    interface: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    job: JobStart | None = None
    clock: Callable[[], float] = time.time
    stop_at: Callable[[], float | None] = lambda: None
    grace: float = GRACE_SECONDS
    idle_seconds: float | None = None
    beat: Callable[[], Stop | None] = lambda: None
    leave: Callable[[], None] = lambda: None
    stay: Callable[[], None] = lambda: None

    @property
    def in_job(self) -> bool:
        """Whether the run is a SLURM job, or a step of one."""
        return self.allocation.job_id is not None

    def time_is_up(self) -> bool:
        """Whether the run must begin to stop."""
        stop_at = self.stop_at()
        return stop_at is not None and self.clock() >= stop_at

    def may_begin(self) -> bool:
        """Whether a trial that is begun now can get somewhere."""
        stop_at = self.stop_at()
        return stop_at is None or self.clock() < stop_at - min(BEGIN_SECONDS, self.grace)
