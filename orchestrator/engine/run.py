"""One run: from a sweep to its tables, on the machine or allocation that it finds itself in."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator import sweep as sweeps
from orchestrator.cluster import StartAbandonedError, start
from orchestrator.cluster.processes import shielded
from orchestrator.engine.feed import Feed
from orchestrator.engine.interruption import Interruption, Overdue, Stop
from orchestrator.engine.networks import keep_networks
from orchestrator.engine.provenance import provenance
from orchestrator.engine.sinks import LiveLog, Sink
from orchestrator.engine.site import Site
from orchestrator.engine.snapshot import Snapshot
from orchestrator.ledger import HEARTBEAT_SECONDS, Claims, Ledger
from orchestrator.ledger.labels import column_labels
from orchestrator.live import remove_left_behind
from orchestrator.store import (
    Store,
    create,
    remove_orphaned_temporaries,
    write_bytes_whole,
)
from orchestrator.sweep import Column, Sweep

WAVE = 1_000
"""Tune trials in one experiment: its state and its bookkeeping grow with their number."""

WAIT_SECONDS, LONGEST_WAIT_SECONDS = 2.0, 30.0
"""Between looks at the tables while other runs work on the columns that are left; it grows."""

WATCH_SECONDS = 1.0
"""Between looks at the clock and at what else may end the run."""

WAIT_FOR_TRIALS_SECONDS = 0.2
"""Between looks at whether trials still save themselves, once Ray is lost."""

SHOW_SECONDS = 0.25
"""Between two snapshots for those who watch: making one takes longer than booking a tiny trial."""

Observer = Callable[[Snapshot], None]


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended. ``stop`` says why it ended before its work was done, if it did;
    ``blocked`` says of columns why their GD trials cannot be laid out.
    """

    settled: bool
    stop: Stop | None
    halted: str | None
    failed: tuple[str, ...]
    blocked: tuple[tuple[str, str], ...]
    snapshot: Snapshot

    @property
    def interrupted(self) -> bool:
        """Whether the run was told to stop before its work was done."""
        return self.stop is not None


def prepare(run: Path, sweep: Sweep) -> Sweep:
    """Make the run directory ready for a sweep; returns all that the directory now stands for.

    ``sweep.yaml`` keeps what earlier sweeps of the same name asked for and adds this one; networks
    of the user's own are copied to ``models``.

    Raises:
        SweepError: the directory belongs to a sweep of another name, or the two do not fit.
        StoreError: the directory cannot be written to.
    """
    old, whole = _extended(run, sweep)
    create(run)
    keep_networks(run, whole)
    if whole != old:
        write_bytes_whole(run / "sweep.yaml", sweeps.dump(whole).encode())
    return whole


def refuse_unfit_directory(run: Path, sweep: Sweep) -> None:
    """Make sure that :func:`prepare` would take a run directory for a sweep; changes nothing.

    Raises:
        SweepError: as there.
    """
    _extended(run, sweep)


def _extended(run: Path, sweep: Sweep) -> tuple[Sweep | None, Sweep]:
    """What a run directory stands for, and what it will with this sweep."""
    path = run / "sweep.yaml"
    old = sweeps.load(path) if path.exists() else None
    if old is not None and old.name != sweep.name:
        raise sweeps.SweepError(
            f"run directory {run} belongs to sweep {old.name!r}; sweep {sweep.name!r} must have "
            "another (--run-dir)"
        )
    return old, sweep if old is None else old.extended_by(sweep)


def execute(
    run: Path,
    name: str,
    columns: Sequence[Column],
    *,
    observe: Observer,
    warn: Callable[[str], None],
    quiet: bool = True,
    site: Site | None = None,
    log: Sequence[Sink] = (),
) -> RunOutcome:
    """Compute all that is missing of these columns, sharing them with other runs by claims.

    Returns when everything is settled or given up, here or elsewhere, or when it is told to stop.

    Args:
        run: the run directory, made ready by :func:`prepare`.
        name: the sweep's name.
        columns: what is to be computed.
        observe: shown where the run stands, now and then.
        warn: told what the user should know.
        quiet: whether the messages of Ray and Tune are kept from the user.
        site: where the run happens; this machine unless given.
        log: where trials are logged while they run, besides the tables.

    Raises:
        ClusterError: not all of the site's machines could be had.
    """
    site = site or Site()
    run = run.resolve()  # workers have working directories of their own
    remove_orphaned_temporaries(run)
    remove_left_behind(run)
    for path, reason in Store(run).check_parts(set_damaged_aside=True):
        warn(f"{path} is damaged ({reason}); it was set aside as .{path.name}.damaged")
    origin = provenance(name)
    claims = Claims(run, origin.slurm_job_id, origin.restart_count)
    with (
        Interruption(run, claims.token, patient=site.in_job, grace=site.grace) as interruption,
        _watch(claims, site, interruption),
    ):
        ledger = Ledger(run, new_run=True)
        feed = Feed(run, columns, claims, ledger, origin, interruption.stop_file, warn=warn)
        feed.may_begin, feed.logged = site.may_begin, bool(log)
        observe(feed.snapshot())
        try:
            _run_waves(feed, interruption, site, observe, quiet, log)
        except Overdue:
            if interruption.lost is None:
                warn("some trials did not stop in time; they go on from their last checkpoints")
        finally:
            if interruption.lost is not None:
                feed.take_loss(interruption.lost)
            claims.release_all()
            remove_left_behind(run)
        feed.look_around()
        snapshot = feed.snapshot()
        observe(snapshot)
        return RunOutcome(
            settled=all(progress.flawless for progress in feed.progress.values()),
            stop=None if feed.halted else interruption.stop,
            halted=feed.halted,
            failed=tuple(sorted(feed.ledger.failed & _names(feed))),
            blocked=tuple(
                (column_id, progress.blocked)
                for column_id, progress in feed.progress.items()
                if progress.blocked
            ),
            snapshot=snapshot,
        )


def _names(feed: Feed) -> set[str]:
    return {trial.trial_id for p in feed.progress.values() for trial in p.trials}


def _run_waves(
    feed: Feed,
    interruption: Interruption,
    site: Site,
    observe: Observer,
    quiet: bool,
    log: Sequence[Sink],
) -> None:
    """Start Ray when there is something to run, and keep it until nothing is left."""

    def ended() -> bool:
        if feed.halted is not None:
            interruption.request(Stop("halted", feed.halted))
        if feed.stranded is not None:
            interruption.request(Stop("unfit_nodes", feed.stranded))
        return interruption.requested

    shown = -SHOW_SECONDS

    def changed() -> None:
        nonlocal shown
        if time.monotonic() - shown >= SHOW_SECONDS:
            shown = time.monotonic()
            observe(feed.snapshot())

    def work_is_ready() -> bool:
        idle, wait = 0.0, WAIT_SECONDS
        while not ended() and not feed.complete():
            if not site.may_begin():
                interruption.request(Stop("time_limit", "too little time is left to begin a trial"))
                break
            if feed.claim_more():
                return True
            if site.idle_seconds is not None and idle >= site.idle_seconds:
                interruption.request(Stop("idle", f"other runs held all work for {idle:.0f} s"))
                break
            _sleep(wait, interruption)  # other runs hold what is left
            idle, wait = idle + wait, min(1.5 * wait, LONGEST_WAIT_SECONDS)
            feed.look_around()
            observe(feed.snapshot())
        return False

    if not work_is_ready():
        return

    def lost(trouble: str) -> None:
        feed.warn(trouble)
        interruption.request(Stop("node_lost", trouble.partition("; the last lines")[0]))

    def nothing_to_save() -> bool:
        return interruption.lost is not None and not feed.at_work()

    cluster = start(
        site.allocation,
        feed.run,
        root=site.root,
        interface=site.interface,
        versions=site.versions,
        quiet=quiet,
        abandoned=ended,
        on_loss=lost,
        warn=feed.warn,
    )
    with suppress(StartAbandonedError), _silence(quiet), cluster as offered:
        # Ray must not be imported before its settings are made.
        from orchestrator.engine.wave import run_wave

        live = _live_log(feed, log)
        wave = (feed, offered, ended, changed, WAVE, live)
        try:
            while work_is_ready():
                try:
                    offered.ray.call(run_wave, *wave, given_up=nothing_to_save)
                except Exception:
                    offered.look()
                    if interruption.lost is None:
                        raise
                    while not nothing_to_save():  # what Ray says of its loss need not be heard
                        time.sleep(WAIT_FOR_TRIALS_SECONDS)
        finally:
            feed.gate.close()
            interruption.settle()
            if live is not None:
                live.close()


def _live_log(feed: Feed, sinks: Sequence[Sink]) -> LiveLog | None:
    """The log of a run whose Ray has started; None where none was asked for."""
    if not sinks:
        return None
    name = feed.provenance.sweep
    return LiveLog(feed.run, name, column_labels(feed.columns), sinks, feed.warn)


def _sleep(seconds: float, interruption: Interruption) -> None:
    """Sleep, but not on when the run is to end."""
    end = time.monotonic() + seconds
    while not interruption.requested and time.monotonic() < end:
        time.sleep(0.2)


@contextmanager
def _watch(claims: Claims, site: Site, interruption: Interruption) -> Iterator[None]:
    """From a thread of its own, keep the claims alive, and end the run when its site says so."""
    over = threading.Event()

    def watch() -> None:
        last_beat = time.monotonic()
        while not over.wait(WATCH_SECONDS):
            if site.time_is_up():
                interruption.request(Stop("time_limit", "the job is near its time limit"))
            if time.monotonic() - last_beat >= HEARTBEAT_SECONDS:
                last_beat = time.monotonic()
                claims.beat()
                if (stop := site.beat()) is not None:
                    interruption.request(stop)

    thread = threading.Thread(target=watch, name="claims", daemon=True)
    with shielded():
        thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


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
