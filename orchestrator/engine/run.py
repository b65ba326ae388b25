"""One run: from a sweep to its tables, on the machine or allocation that it finds itself in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.cluster import StartAbandonedError
from orchestrator.cluster.processes import shielded
from orchestrator.engine.compaction import BackgroundCompaction
from orchestrator.engine.data_digests import DataDigests, read_data_digests
from orchestrator.engine.executor import Executor, RunEnvironment, ray_executor
from orchestrator.engine.interruption import Interruption, Overdue, Stop
from orchestrator.engine.sinks import LiveLog, Sink
from orchestrator.engine.timing import timed_for
from orchestrator.engine.work import Provenance
from orchestrator.engine.work_queue import Snapshot, WorkQueue
from orchestrator.ledger import HEARTBEAT_SECONDS, Leases, Ledger, torn_marks
from orchestrator.ledger.gradient_seconds import keep_gradient_seconds, read_gradient_seconds
from orchestrator.live import remove_left_behind
from orchestrator.plan import Batching
from orchestrator.store import Store, remove_orphaned_temporaries, set_aside
from orchestrator.sweep import Column
from orchestrator.sweep.labels import column_labels

WAIT_SECONDS, LONGEST_WAIT_SECONDS = 2.0, 30.0
"""Between reads of the tables while other runs work on the columns that are left; it grows."""

WATCH_SECONDS = 1.0
"""Between checks of the clock and of other reasons to end the run."""

SHOW_SECONDS = 0.25
"""Between two snapshots for the observer: making one takes longer than a tiny trial."""

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


def execute(
    run: Path,
    name: str,
    columns: Sequence[Column],
    *,
    grown: Callable[[], Sequence[Column] | None] = lambda: None,
    observe: Observer,
    warn: Callable[[str], None],
    quiet: bool = True,
    environment: RunEnvironment | None = None,
    log: Sequence[Sink] = (),
    read: Callable[[], DataDigests] | None = None,
    batching: Batching | None = None,
    executor: Executor = ray_executor,
) -> RunOutcome:
    """Compute what is missing of these columns, sharing them with other runs by leases.

    Returns when everything is settled or given up, here or elsewhere, or when it is told to stop.

    Args:
        run: the run directory, made ready by :func:`prepare`.
        name: the sweep's name.
        columns: what is to be computed.
        grown: returns all columns of the sweep, None where they have not changed; called every few
            seconds, and before the run ends.
        observe: called with the progress of the run, several times a second.
        warn: called with warnings to the user.
        quiet: whether the messages of Ray and Tune are kept from the user.
        environment: the machines and the time of the run; this machine by default.
        log: where trials are logged while they run, besides the tables.
        read: returns the data that earlier trials read; by default the tables are read.
        batching: how many trials are computed together; by default as many as pay. No number
            depends on it, up to rounding.
        executor: what carries out the works.

    Raises:
        ClusterError: not all machines could be used.
    """
    environment = environment or RunEnvironment()
    run = run.resolve()  # workers have working directories of their own
    remove_orphaned_temporaries(run)
    remove_left_behind(run)
    set_damaged_aside(run, warn)
    origin = Provenance.here(name)
    leases = Leases(run, environment.job)
    with (
        Interruption(
            run, leases.token, patient=environment.in_job, grace=environment.grace
        ) as interruption,
        closing(BackgroundCompaction(run, columns)) as compacting,
        _watch(leases, environment, interruption, compacting),
    ):
        ledger = Ledger(run)
        state = ledger.read(columns).begun()
        queue = WorkQueue(run, state, leases, ledger, origin, interruption.stop_file, warn=warn)
        queue.may_begin, queue.logged, queue.grown = environment.may_begin, bool(log), grown
        earlier = read_data_digests(run) if read is None else read()
        queue.data = {data: reads[0] for data, reads in earlier.items()}
        queue.batching = batching or queue.batching
        queue.gradient_seconds = timed_for(
            queue.state, read_gradient_seconds(run), lambda: interruption.requested
        )
        keep_gradient_seconds(run, queue.gradient_seconds)
        observe(queue.snapshot())
        try:
            _carry_out(queue, interruption, environment, observe, quiet, log, executor)
        except Overdue:
            if interruption.lost is None:
                warn("some trials did not stop in time; they go on from their last checkpoints")
        finally:
            if interruption.lost is not None:
                queue.take_loss(interruption.lost)
            leases.release_all()
            remove_left_behind(run)
        queue.catch_up()
        snapshot = queue.snapshot()
        observe(snapshot)
        return RunOutcome(
            settled=snapshot.trials.unfinished == 0,
            stop=None if queue.halted else interruption.stop,
            halted=queue.halted,
            failed=tuple(sorted(trial.trial_id for _, trial in queue.state.failures())),
            blocked=tuple(
                (column.column_id, column.blocked)
                for column in queue.state.blocked_columns()
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
    queue: WorkQueue,
    interruption: Interruption,
    environment: RunEnvironment,
    observe: Observer,
    quiet: bool,
    log: Sequence[Sink],
    executor: Executor,
) -> None:
    """Open the executor when there is something to run, and keep it until nothing is left."""

    def ended() -> bool:
        if queue.halted is not None:
            interruption.request(Stop("halted", queue.halted))
        if queue.stranded is not None:
            interruption.request(Stop("unfit_nodes", queue.stranded))
        return interruption.requested

    shown = -SHOW_SECONDS

    def changed() -> None:
        nonlocal shown
        if time.monotonic() - shown >= SHOW_SECONDS:
            shown = time.monotonic()
            observe(queue.snapshot())

    def nothing_more() -> bool:
        """Say that the run ends, and only then look at the sweep once more.

        Whoever adds to it later finds that said, and whoever did so before is found out.
        """
        environment.leave()
        if not queue.extend(now=True):
            return True
        environment.stay()
        return False

    def work_is_ready() -> bool:
        idle, wait = 0.0, WAIT_SECONDS
        while not ended():
            queue.extend()
            if queue.complete():
                if nothing_more():
                    break
                continue
            if not environment.may_begin():
                interruption.request(Stop("time_limit", "too little time is left to begin a trial"))
                break
            if queue.has_work():
                return True
            if environment.idle_seconds is not None and idle >= environment.idle_seconds:
                if nothing_more():
                    interruption.request(Stop("idle", f"other runs held all work for {idle:.0f} s"))
                    break
                idle, wait = 0.0, WAIT_SECONDS
            _sleep(wait, interruption)  # other runs hold what is left
            idle, wait = idle + wait, min(1.5 * wait, LONGEST_WAIT_SECONDS)
            queue.catch_up()
            observe(queue.snapshot())
        return False

    if not work_is_ready():
        return

    def lost(trouble: str) -> None:
        queue.warn(trouble)
        interruption.request(Stop("node_lost", trouble.partition("; the last lines")[0]))

    opened = executor(queue, environment, quiet=quiet, abandoned=ended, on_loss=lost)
    with suppress(StartAbandonedError), opened as carry_out:
        live = _live_log(queue, log)
        try:
            while work_is_ready():
                carry_out(ended, changed, live)
        finally:
            queue.close()
            interruption.settle()
            if live is not None:
                live.close()


def _live_log(queue: WorkQueue, sinks: Sequence[Sink]) -> LiveLog | None:
    """The log of a run whose Ray has started; None where none was asked for."""
    if not sinks:
        return None
    return LiveLog(queue.run, queue.provenance.sweep, _Labels(queue), sinks, queue.warn)


class _Labels(dict[str, str]):
    """The columns of a queue in a few words, those too that it takes in later."""

    def __init__(self, queue: WorkQueue) -> None:
        super().__init__(column_labels(queue.columns))
        self._feed = queue

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
    leases: Leases,
    environment: RunEnvironment,
    interruption: Interruption,
    compacting: BackgroundCompaction,
) -> Iterator[None]:
    """From a thread of its own, keep the leases alive and the files few, and end the run when its
    environment says so.
    """
    over = threading.Event()

    def watch() -> None:
        last_beat = time.monotonic()
        while not over.wait(WATCH_SECONDS):
            if environment.time_is_up():
                interruption.request(Stop("time_limit", "the job is near its time limit"))
            if time.monotonic() - last_beat >= HEARTBEAT_SECONDS:
                last_beat = time.monotonic()
                leases.renew()
                compacting.look()
                if (stop := environment.beat()) is not None:
                    interruption.request(stop)

    thread = threading.Thread(target=watch, name="leases", daemon=True)
    with shielded():
        thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
