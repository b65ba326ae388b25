"""One run: from a sweep to its tables, on the machine or allocation that it finds itself in."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator import sweep as sweeps
from orchestrator.cluster import LocalCluster
from orchestrator.engine.feed import Feed
from orchestrator.engine.interruption import Interruption, Overdue
from orchestrator.engine.provenance import provenance
from orchestrator.engine.snapshot import Snapshot
from orchestrator.ledger import HEARTBEAT_SECONDS, Claims, Ledger
from orchestrator.store import (
    Store,
    create,
    remove_orphaned_temporaries,
    write_bytes_whole,
)
from orchestrator.sweep import Column, Sweep

WAVE = 1_000
"""Tune trials in one experiment: its state and its bookkeeping grow with their number."""

WAIT_SECONDS = 2.0
"""Between looks at the tables while other runs work on the columns that are left."""

SHOW_SECONDS = 0.25
"""Between two snapshots for those who watch: making one takes longer than booking a tiny trial."""

Observer = Callable[[Snapshot], None]


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended. ``blocked`` says of columns why their GD trials cannot be laid out."""

    settled: bool
    interrupted: bool
    halted: str | None
    failed: tuple[str, ...]
    blocked: tuple[tuple[str, str], ...]
    snapshot: Snapshot


def prepare(run: Path, sweep: Sweep) -> Sweep:
    """Make the run directory ready for a sweep; returns all that the directory now stands for.

    ``sweep.yaml`` keeps what earlier sweeps of the same name asked for and adds this one.

    Raises:
        SweepError: the directory belongs to a sweep of another name, or the two do not fit.
        StoreError: the directory cannot be written to.
    """
    path = run / "sweep.yaml"
    old = sweeps.load(path) if path.exists() else None
    if old is not None and old.name != sweep.name:
        raise sweeps.SweepError(
            f"run directory {run} belongs to sweep {old.name!r}; sweep {sweep.name!r} must have "
            "another (--run-dir)"
        )
    whole = sweep if old is None else old.extended_by(sweep)
    create(run)
    if whole != old:
        write_bytes_whole(path, sweeps.dump(whole).encode())
    return whole


def execute(
    run: Path,
    name: str,
    columns: Sequence[Column],
    *,
    observe: Observer,
    warn: Callable[[str], None],
    quiet: bool = True,
) -> RunOutcome:
    """Compute all that is missing of these columns, sharing them with other runs by claims.

    Returns when everything is settled or given up, here or elsewhere, or after an interruption.
    """
    run = run.resolve()  # workers have working directories of their own
    remove_orphaned_temporaries(run)
    for path, reason in Store(run).check_parts(set_damaged_aside=True):
        warn(f"{path} is damaged ({reason}); it was set aside as .{path.name}.damaged")
    origin = provenance(name)
    claims = Claims(run, origin.slurm_job_id)
    with Interruption(run, claims.token) as interruption, _heartbeat(claims):
        ledger = Ledger(run, new_run=True)
        feed = Feed(run, columns, claims, ledger, origin, interruption.stop_file, warn=warn)
        observe(feed.snapshot())
        try:
            _run_waves(feed, interruption, observe, quiet)
        except Overdue:
            warn("some trials did not stop in time; they go on from their last checkpoints")
        finally:
            claims.release_all()
        feed.look_around()
        snapshot = feed.snapshot()
        observe(snapshot)
        return RunOutcome(
            settled=all(progress.flawless for progress in feed.progress.values()),
            interrupted=interruption.signalled,
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


def _run_waves(feed: Feed, interruption: Interruption, observe: Observer, quiet: bool) -> None:
    """Start Ray when there is something to run, and keep it until nothing is left."""

    def ended() -> bool:
        interruption.reinstall()  # Ray and Tune each put handlers of their own in
        if feed.halted is not None:
            interruption.request()
        return interruption.requested

    shown = -SHOW_SECONDS

    def changed() -> None:
        nonlocal shown
        if time.monotonic() - shown >= SHOW_SECONDS:
            shown = time.monotonic()
            observe(feed.snapshot())

    def work_is_ready() -> bool:
        while not ended() and not feed.complete():
            if feed.claim_more():
                return True
            time.sleep(WAIT_SECONDS)  # other runs hold what is left
            feed.look_around()
            observe(feed.snapshot())
        return False

    if not work_is_ready():
        return
    with _silence(quiet), LocalCluster.start(quiet=quiet) as cluster:
        # Ray must not be imported before its settings are made.
        from orchestrator.engine.wave import run_wave

        while work_is_ready():
            run_wave(feed, cluster, ended, changed, WAVE)


@contextmanager
def _heartbeat(claims: Claims) -> Iterator[None]:
    """Keep the claims alive from a thread of their own."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(HEARTBEAT_SECONDS):
            claims.beat()

    thread = threading.Thread(target=beat, name="claims", daemon=True)
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
