"""One run: from a sweep to its tables, on the machine or allocation that it finds itself in."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator import sweep as sweeps
from orchestrator.cluster import StartAbandonedError
from orchestrator.cluster.processes import shielded
from orchestrator.engine.compacting import Compacting
from orchestrator.engine.data_read import DataRead, data_read, refuse_mixed_data
from orchestrator.engine.executor import Executor, ray_executor
from orchestrator.engine.feed import Feed
from orchestrator.engine.interruption import Interruption, Overdue, Stop
from orchestrator.engine.provenance import provenance
from orchestrator.engine.sinks import LiveLog, Sink
from orchestrator.engine.site import Site
from orchestrator.engine.snapshot import Snapshot
from orchestrator.engine.timing import timed_for
from orchestrator.ledger import HEARTBEAT_SECONDS, Leases, Ledger, torn_marks
from orchestrator.ledger.gradient_seconds import keep_gradient_seconds, read_gradient_seconds
from orchestrator.live import remove_left_behind
from orchestrator.plan import Batching
from orchestrator.run_directory import SWEEP, has_sweep, refuse_unusable, sweep_of
from orchestrator.store import (
    Store,
    create,
    remove_orphaned_temporaries,
    set_aside,
    write_bytes_whole,
)
from orchestrator.store.write import file_errors
from orchestrator.sweep import Column, Sweep
from orchestrator.sweep.custom_networks import keep_networks
from orchestrator.sweep.labels import column_labels

WAIT_SECONDS, LONGEST_WAIT_SECONDS = 2.0, 30.0
"""Between looks at the tables while other runs work on the columns that are left; it grows."""

LOCK_SECONDS = 20.0
"""For whoever else writes the sweep file just now."""

WATCH_SECONDS = 1.0
"""Between looks at the clock and at what else may end the run."""

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


def prepare(run: Path, sweep: Sweep, read: Callable[[], DataRead] | None = None) -> Sweep:
    """Make the run directory ready for a sweep; returns all that the directory now stands for.

    ``sweep.yaml`` keeps what earlier sweeps of the same name asked for and adds this one; networks
    of the user's own are copied to ``models``. ``read`` says what its trials read; the
    tables do unless it is given.

    Raises:
        SweepError: the directory cannot be one, belongs to a sweep of another name, the two do not
            fit, or trials of the directory read different data under one name.
        StoreError: the directory cannot be written to.
    """
    _, whole = _extended(run, sweep)  # refused before anything is made
    refuse_mixed_data(run, whole.columns, data_read(run) if read is None else read())
    create(run)
    with _alone(run):
        old, whole = _extended(run, sweep)
        keep_networks(run, (column.problem for column in whole.columns))
        if whole != old:
            write_bytes_whole(run / SWEEP, sweeps.dump(whole).encode())
    return whole


@contextmanager
def _alone(run: Path) -> Iterator[None]:
    """Keep others from adding to the sweep between its being read and written, which would undo it.

    A file system without locks is gone on with, and so is one whose lock cannot be had in time.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    with file_errors(run, "written to"):
        descriptor = os.open(run / ".sweep.lock", flags, 0o600)
    try:
        end = time.monotonic() + LOCK_SECONDS
        while time.monotonic() < end:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.05)
                continue
            except OSError:
                pass
            break
        yield
    finally:
        os.close(descriptor)


def refuse_unfit_directory(run: Path, sweep: Sweep) -> None:
    """Make sure that :func:`prepare` would take a run directory for a sweep; changes nothing.

    Raises:
        SweepError: as there.
    """
    _, whole = _extended(run, sweep)
    refuse_mixed_data(run, whole.columns, data_read(run))


def _extended(run: Path, sweep: Sweep) -> tuple[Sweep | None, Sweep]:
    """What a run directory stands for, and what it will with this sweep.

    Raises:
        SweepError: as in :func:`prepare`.
    """
    refuse_unusable(run)
    old = sweep_of(run) if has_sweep(run) else None
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
    grown: Callable[[], Sequence[Column] | None] = lambda: None,
    observe: Observer,
    warn: Callable[[str], None],
    quiet: bool = True,
    site: Site | None = None,
    log: Sequence[Sink] = (),
    read: Callable[[], DataRead] | None = None,
    batching: Batching | None = None,
    executor: Executor = ray_executor,
) -> RunOutcome:
    """Compute all that is missing of these columns, sharing them with other runs by leases.

    Returns when everything is settled or given up, here or elsewhere, or when it is told to stop.

    Args:
        run: the run directory, made ready by :func:`prepare`.
        name: the sweep's name.
        columns: what is to be computed.
        grown: says what is to be computed now, None where that has not changed; it is asked again
            and again, and before the run ends.
        observe: shown where the run stands, now and then.
        warn: told what the user should know.
        quiet: whether the messages of Ray and Tune are kept from the user.
        site: where the run happens; this machine unless given.
        log: where trials are logged while they run, besides the tables.
        read: says what earlier trials read; the tables do unless it is given.
        batching: how many trials go together; what pays unless given. No number depends on it, up
            to rounding.
        executor: what carries out the works.

    Raises:
        ClusterError: not all of the site's machines could be had.
    """
    site = site or Site()
    run = run.resolve()  # workers have working directories of their own
    remove_orphaned_temporaries(run)
    remove_left_behind(run)
    set_damaged_aside(run, warn)
    origin = provenance(name)
    leases = Leases(run, site.job)
    with (
        Interruption(run, leases.token, patient=site.in_job, grace=site.grace) as interruption,
        closing(Compacting(run, columns)) as compacting,
        _watch(leases, site, interruption, compacting),
    ):
        ledger = Ledger(run)
        state = ledger.read(columns).begun()
        feed = Feed(run, state, leases, ledger, origin, interruption.stop_file, warn=warn)
        feed.may_begin, feed.logged, feed.grown = site.may_begin, bool(log), grown
        earlier = data_read(run) if read is None else read()
        feed.data = {data: reads[0] for data, reads in earlier.items()}
        feed.batching = batching or feed.batching
        feed.gradient_seconds = timed_for(
            feed.state, read_gradient_seconds(run), lambda: interruption.requested
        )
        keep_gradient_seconds(run, feed.gradient_seconds)
        observe(feed.snapshot())
        try:
            _carry_out(feed, interruption, site, observe, quiet, log, executor)
        except Overdue:
            if interruption.lost is None:
                warn("some trials did not stop in time; they go on from their last checkpoints")
        finally:
            if interruption.lost is not None:
                feed.take_loss(interruption.lost)
            leases.release_all()
            remove_left_behind(run)
        feed.look_around()
        snapshot = feed.snapshot()
        observe(snapshot)
        return RunOutcome(
            settled=snapshot.trials.unfinished == 0,
            stop=None if feed.halted else interruption.stop,
            halted=feed.halted,
            failed=tuple(sorted(trial.trial_id for _, trial in feed.state.failures())),
            blocked=tuple(
                (column.column_id, column.blocked)
                for column in feed.state.blocked_columns()
                if column.blocked
            ),
            snapshot=snapshot,
        )


def set_damaged_aside(run: Path, warn: Callable[[str], None]) -> None:
    """Set aside what no reader can read of the tables and the marks, and say what."""
    for path, reason in Store(run).check_parts(set_damaged_aside=True):
        warn(f"{path} is damaged ({reason}); it was set aside as .{path.name}.damaged")
    for path in torn_marks(run):
        aside = set_aside(path, "it is cut")
        warn(f"{path} is damaged (it is cut); it was set aside as {aside.name}")


def _carry_out(
    feed: Feed,
    interruption: Interruption,
    site: Site,
    observe: Observer,
    quiet: bool,
    log: Sequence[Sink],
    executor: Executor,
) -> None:
    """Open the executor when there is something to run, and keep it until nothing is left."""

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

    def nothing_more() -> bool:
        """Say that the run ends, and only then look at the sweep once more.

        Whoever adds to it later finds that said, and whoever did so before is found out.
        """
        site.leave()
        if not feed.grow(now=True):
            return True
        site.stay()
        return False

    def work_is_ready() -> bool:
        idle, wait = 0.0, WAIT_SECONDS
        while not ended():
            feed.grow()
            if feed.complete():
                if nothing_more():
                    break
                continue
            if not site.may_begin():
                interruption.request(Stop("time_limit", "too little time is left to begin a trial"))
                break
            if feed.lease_more():
                return True
            if site.idle_seconds is not None and idle >= site.idle_seconds:
                if nothing_more():
                    interruption.request(Stop("idle", f"other runs held all work for {idle:.0f} s"))
                    break
                idle, wait = 0.0, WAIT_SECONDS
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

    opened = executor(feed, site, quiet=quiet, abandoned=ended, on_loss=lost)
    with suppress(StartAbandonedError), opened as carry_out:
        live = _live_log(feed, log)
        try:
            while work_is_ready():
                carry_out(ended, changed, live)
        finally:
            feed.gate.close()
            interruption.settle()
            if live is not None:
                live.close()


def _live_log(feed: Feed, sinks: Sequence[Sink]) -> LiveLog | None:
    """The log of a run whose Ray has started; None where none was asked for."""
    if not sinks:
        return None
    return LiveLog(feed.run, feed.provenance.sweep, _Labels(feed), sinks, feed.warn)


class _Labels(dict[str, str]):
    """The columns of a feed in a few words, those too that it takes in later."""

    def __init__(self, feed: Feed) -> None:
        super().__init__(column_labels(feed.columns))
        self._feed = feed

    def __missing__(self, column_id: str) -> str:
        self.update({**column_labels(self._feed.columns), **self})
        return self[column_id]


def _sleep(seconds: float, interruption: Interruption) -> None:
    """Sleep, but not on when the run is to end."""
    end = time.monotonic() + seconds
    while not interruption.requested and time.monotonic() < end:
        time.sleep(0.2)


@contextmanager
def _watch(
    leases: Leases, site: Site, interruption: Interruption, compacting: Compacting
) -> Iterator[None]:
    """From a thread of its own, keep the leases alive and the files few, and end the run when its
    site says so.
    """
    over = threading.Event()

    def watch() -> None:
        last_beat = time.monotonic()
        while not over.wait(WATCH_SECONDS):
            if site.time_is_up():
                interruption.request(Stop("time_limit", "the job is near its time limit"))
            if time.monotonic() - last_beat >= HEARTBEAT_SECONDS:
                last_beat = time.monotonic()
                leases.renew()
                compacting.look()
                if (stop := site.beat()) is not None:
                    interruption.request(stop)

    thread = threading.Thread(target=watch, name="leases", daemon=True)
    with shielded():
        thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
