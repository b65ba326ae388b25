"""What carries out the works of a feed: Ray Tune, on a Ray of the run's own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from orchestrator.cluster import start
from orchestrator.engine.feed import Feed
from orchestrator.engine.sinks import LiveLog
from orchestrator.engine.site import Site

WAVE = 1_000
"""Tune trials in one experiment: its state and its bookkeeping grow with their number."""

WAIT_FOR_TRIALS_SECONDS = 0.2
"""Between looks at whether trials have saved themselves, once Ray is lost."""

CarryOut = Callable[[Callable[[], bool], Callable[[], None], LiveLog | None], None]
"""Carries out works of a feed while there are any. Its arguments are ``ended``, which says that no
new work is to begin, ``changed``, called after every event, and the log of recorded points."""


class Executor(Protocol):
    """Offers :data:`CarryOut` for as long as its context is open."""

    def __call__(
        self,
        feed: Feed,
        site: Site,
        *,
        quiet: bool,
        abandoned: Callable[[], bool],
        on_loss: Callable[[str], None],
    ) -> AbstractContextManager[CarryOut]:
        """Open it; see :func:`orchestrator.cluster.start` for ``abandoned`` and ``on_loss``."""


@contextmanager
def ray_executor(
    feed: Feed,
    site: Site,
    *,
    quiet: bool,
    abandoned: Callable[[], bool],
    on_loss: Callable[[str], None],
) -> Iterator[CarryOut]:
    """Start Ray on all machines of the site; each call is a Tune experiment.

    Once a node or a server of Ray is lost, a call ends when no trial is left to save itself: what
    Ray itself would do or say is not waited for.

    Raises:
        ClusterError: not all of the site's machines could be had.
        StartAbandonedError: ``abandoned`` said so.
    """
    losses: list[str] = []

    def lost(trouble: str) -> None:
        losses.append(trouble)
        on_loss(trouble)

    def nothing_to_save() -> bool:
        return bool(losses) and not feed.at_work()

    cluster = start(
        site.allocation,
        feed.run,
        root=site.root,
        interface=site.interface,
        versions=site.versions,
        quiet=quiet,
        abandoned=abandoned,
        on_loss=lost,
        warn=feed.warn,
    )
    with _silence(quiet), cluster as offered:
        # Ray must not be imported before its settings are made.
        from orchestrator.engine.wave import run_wave

        def carry_out(
            ended: Callable[[], bool], changed: Callable[[], None], log: LiveLog | None
        ) -> None:
            wave = (feed, offered, ended, changed, WAVE, log)
            try:
                offered.ray.call(run_wave, *wave, given_up=nothing_to_save)
            except Exception:
                offered.look()
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
