"""Where works are carried out: the machines and the time of a run, and Ray Tune on them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.cluster import Allocation, here, start
from orchestrator.engine.interruption import GRACE_SECONDS, Stop
from orchestrator.engine.live_log import LiveLog
from orchestrator.engine.work_queue import WorkQueue
from orchestrator.ledger import JobStart

BEGIN_SECONDS = 30.0
"""No trial starts within this time (or the grace, if that is less) before the run must stop: it
would compute next to nothing."""

WAIT_FOR_TRIALS_SECONDS = 0.2
"""Between checks whether trials have saved themselves, once Ray is lost."""


@dataclass(frozen=True)
class RunEnvironment:
    """The machines, the time and the job of a run.

    Attributes:
        allocation: the machines that the run has.
        root: where temporary folders belong; the system's place for None.
        interface: the network interface that the machines use among themselves.
        versions: what must be the same on all machines, as it is here.
        job: the start of the SLURM job that this is; None outside of one.
        clock: the time in seconds since the epoch, by the clock that the time limit refers to.
        stop_at: when by that clock the run must begin to stop; None for never.
        grace: seconds that trials may take to save themselves after a warning.
        idle_seconds: how long the run waits for work that other runs have leased before it ends
            and gives its machines back; None for as long as it takes.
        beat: called every few seconds; returns why the run is to end, if it is.
        leave: called before the sweep is read for the last time; the run then ends unless there is
            more to do, so that a launch that adds to the sweep later must not rely on this run.
        stay: called when there was more to do.
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
        """Whether a trial that starts now has time to compute."""
        stop_at = self.stop_at()
        return stop_at is None or self.clock() < stop_at - min(BEGIN_SECONDS, self.grace)


CarryOut = Callable[[Callable[[], bool], Callable[[], None], LiveLog], None]
"""Carries out works of a queue while there are any. Its arguments are ``ended``, which says that no
new work is to begin, ``changed``, called after every event, and the log of recorded points."""


Executor = Callable[..., AbstractContextManager[CarryOut]]
"""Offers :data:`CarryOut` while its context is open; the arguments are those of
:func:`ray_executor`."""


@contextmanager
def ray_executor(
    queue: WorkQueue,
    environment: RunEnvironment,
    *,
    quiet: bool,
    abandoned: Callable[[], bool],
    on_loss: Callable[[str], None],
) -> Iterator[CarryOut]:
    """Start Ray on all machines of the run; each call is a Tune experiment.

    Once a node or a server of Ray is lost, a call ends when no trial is left to save itself; it
    does not wait for Ray.

    Args:
        queue: whose works are carried out.
        environment: the machines.
        quiet: whether the messages of Ray and Tune are kept from the user.
        abandoned: whether to give up waiting for the machines.
        on_loss: told of a node, or a server of Ray, that is lost later.

    Raises:
        ClusterError: not all machines could be used.
        StartAbandonedError: ``abandoned`` said so.
    """
    losses: list[str] = []

    def lost(trouble: str) -> None:
        losses.append(trouble)
        on_loss(trouble)

    def nothing_to_save() -> bool:
        return bool(losses) and not queue.is_computing()

    cluster = start(
        environment.allocation,
        queue.run,
        root=environment.root,
        interface=environment.interface,
        versions=environment.versions,
        quiet=quiet,
        abandoned=abandoned,
        on_loss=lost,
        warn=queue.warn,
    )
    with _silence(quiet), cluster as offered:
        # Ray must not be imported before its settings are made.
        from orchestrator.engine.tune_experiment import run_experiment

        def carry_out(ended: Callable[[], bool], changed: Callable[[], None], log: LiveLog) -> None:
            arguments = (queue, offered, ended, changed, log)
            try:
                offered.ray.call(run_experiment, *arguments, given_up=nothing_to_save)
            except Exception:
                offered.check_servers()
                if not losses:
                    raise
                while not nothing_to_save():
                    time.sleep(WAIT_FOR_TRIALS_SECONDS)

        yield carry_out


@contextmanager
def _silence(quiet: bool) -> Iterator[None]:
    """Keep Ray's and Tune's own messages from the user, who has the tables and the logs."""
    loggers: list[Any] = [logging.getLogger(name) for name in ("ray", "ray.tune", "ray.data")]
    before = [logger.level for logger in loggers]
    try:
        if quiet:
            for logger in loggers:
                logger.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
