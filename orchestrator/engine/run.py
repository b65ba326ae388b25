"""One run: from a sweep to its tables, on the machine or allocation that it finds itself in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.cluster import StartAbandonedError
from orchestrator.cluster.processes import shielded
from orchestrator.engine.calibration import RunBounds
from orchestrator.engine.compaction import BackgroundCompaction
from orchestrator.engine.devices import pays_by, with_devices
from orchestrator.engine.executor import Executor, RunEnvironment, ray_executor
from orchestrator.engine.interruption import Interruption, Overdue, Stop
from orchestrator.engine.live_log import LiveLog
from orchestrator.engine.sinks import Sink
from orchestrator.engine.timing import timed_for
from orchestrator.engine.work import Provenance
from orchestrator.engine.work_queue import Snapshot, WorkQueue
from orchestrator.ledger import HEARTBEAT_SECONDS, Leases, Ledger, torn_marks
from orchestrator.ledger.gradient_seconds import keep_gradient_seconds, read_gradient_seconds
from orchestrator.live import remove_left_behind
from orchestrator.plan import Batching
from orchestrator.store import remove_orphaned_temporaries, set_aside
from orchestrator.sweep import Column
from orchestrator.sweep.labels import column_labels

WAIT_SECONDS, LONGEST_WAIT_SECONDS = 2.0, 30.0
"""Between reads of the tables while other runs work on the columns that are left; it grows."""

WATCH_SECONDS = 1.0
"""Between checks of the clock and of other reasons to end the run."""

CHECK_SECONDS = 10.0
"""How long a run that has nothing left to do waits for the check of the tables that it need not
read."""

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

    @property
    def content(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "settled": self.settled,
            "interrupted": self.interrupted,
            "failed": list(self.failed),
            "blocked": dict(self.blocked),
        }


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
        batching: how many trials are computed together; by default as many as pay. No number
            depends on it, up to rounding.
        executor: what carries out the works.

    Raises:
        ClusterError: not all machines could be used.
    """
    environment = environment or RunEnvironment()
    run = run.resolve()  # workers have working directories of their own
    _remove_remains(run)
    set_torn_marks_aside(run, warn)
    origin = Provenance.here(name)
    leases = Leases(run, environment.job)
    interruption = Interruption(
        run, leases.token, patient=environment.in_job, grace=environment.grace
    )
    with (
        interruption,
        closing(BackgroundCompaction(run, columns)) as compaction,
        _watch(leases, environment, interruption, compaction),
    ):
        bounds = RunBounds(run, warn)
        ledger = Ledger(run, warn=warn)
        pays = pays_by(bounds)
        state = ledger.read(with_devices(columns, environment.allocation, pays)).begun()

        def grown_with_devices() -> Sequence[Column] | None:
            if (more := grown()) is None:
                return None
            return with_devices(more, environment.allocation, pays)

        timed = timed_for(state, read_gradient_seconds(run), lambda: interruption.requested)
        keep_gradient_seconds(run, timed)
        queue = WorkQueue(
            run,
            state,
            leases,
            ledger,
            origin,
            interruption.stop_file,
            logged=bool(log),
            data={data: reads[0] for data, reads in ledger.data_digests.items()},
            gradient_seconds=timed,
            batching=batching or Batching(bounds=bounds, expect=bounds.expect),
            warn=warn,
            may_begin=environment.may_begin,
            grown=grown_with_devices,
        )
        observe(queue.snapshot())
        try:
            with _meanwhile(ledger.check_other_tables, warn):
                _Loop(queue, interruption, environment, observe).run(executor, log, quiet=quiet)
        except Overdue:
            if interruption.lost is None:
                warn("some trials did not stop in time; they resume from their last checkpoints")
        finally:
            if interruption.lost is not None:
                queue.take_loss(interruption.lost)
            leases.release_all()
            _remove_remains(run)
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


def _remove_remains(run: Path) -> None:
    """Remove what processes that have ended left half written, or shown as under way.

    At the end of a run, too: a worker may outlive its killed driver into the next run's start.
    """
    remove_orphaned_temporaries(run)
    remove_left_behind(run)


def set_torn_marks_aside(run: Path, warn: Callable[[str], None]) -> None:
    """Set aside the marks that cannot be read, each with a warning."""
    for path in torn_marks(run):
        aside = set_aside(path, "it is cut")
        warn(f"{path} is damaged (it is cut); it was set aside as {aside.name}")


@dataclass
class _Loop:
    """Carries out the works of a queue until nothing is left or the run is to end."""

    queue: WorkQueue
    interruption: Interruption
    environment: RunEnvironment
    observe: Observer
    shown: float = -SHOW_SECONDS

    def run(self, executor: Executor, sinks: Sequence[Sink], *, quiet: bool) -> None:
        """Open the executor when there is something to run, and keep it until nothing is left."""
        if not self.work_is_ready():
            return
        queue, labels = self.queue, dict[str, str]()

        def label(column_id: str) -> str:
            if column_id not in labels:  # the sweep may have got it later
                labels.update({**column_labels(queue.columns), **labels})
            return labels[column_id]

        opened = executor(
            queue, self.environment, quiet=quiet, abandoned=self.ended, on_loss=self.lost
        )
        with suppress(StartAbandonedError), opened as carry_out:
            log = LiveLog(queue.run, queue.provenance.sweep, label, sinks, queue.warn)
            try:
                while self.work_is_ready():
                    carry_out(self.ended, self.changed, log)
            finally:
                queue.close()
                self.interruption.settle()
                log.close()

    def ended(self) -> bool:
        """Whether no new work is to begin."""
        if self.queue.halted is not None:
            self.interruption.request(Stop("halted", self.queue.halted))
        if self.queue.stranded is not None:
            self.interruption.request(Stop("unfit_nodes", self.queue.stranded))
        return self.interruption.requested

    def changed(self) -> None:
        """Show the observer what has changed, unless it saw that a moment ago."""
        if time.monotonic() - self.shown >= SHOW_SECONDS:
            self.shown = time.monotonic()
            self.observe(self.queue.snapshot())

    def lost(self, trouble: str) -> None:
        """End the run because a node or a server of Ray was lost."""
        self.queue.warn(trouble)
        reason = trouble.partition("; the last lines")[0]
        self.interruption.request(Stop("node_lost", reason))

    def work_is_ready(self) -> bool:
        """Wait until a trial can start; False when the run is to end."""
        queue, idle, wait = self.queue, 0.0, WAIT_SECONDS
        most_idle = self.environment.idle_seconds
        while not self.ended():
            queue.extend()
            if queue.complete():
                if self._nothing_more():
                    break
                continue
            if not self.environment.may_begin():
                reason = "too little time is left to begin a trial"
                self.interruption.request(Stop("time_limit", reason))
                break
            if queue.has_work():
                return True
            if most_idle is not None and idle >= most_idle:
                if self._nothing_more():
                    reason = f"other runs had leased all work for {idle:.0f} s"
                    self.interruption.request(Stop("idle", reason))
                    break
                idle, wait = 0.0, WAIT_SECONDS
            end = time.monotonic() + wait  # other runs work on what is left
            while not self.interruption.requested and time.monotonic() < end:
                time.sleep(0.2)
            idle, wait = idle + wait, min(1.5 * wait, LONGEST_WAIT_SECONDS)
            queue.catch_up()
            self.observe(queue.snapshot())
        return False

    def _nothing_more(self) -> bool:
        """Announce the end of the run, and only then read the sweep once more.

        A launch that adds to it later sees the announcement; an earlier addition is found here.
        """
        self.environment.leave()
        if not self.queue.extend(now=True):
            return True
        self.environment.stay()
        return False


@contextmanager
def _meanwhile(check: Callable[[], None], warn: Callable[[str], None]) -> Iterator[None]:
    """Check something in a thread, which no trial waits for; give it a moment at the end."""

    def checked() -> None:
        try:
            check()
        except OSError as error:
            warn(str(error))

    thread = threading.Thread(target=checked, name="check", daemon=True)
    with shielded():
        thread.start()
    yield
    thread.join(CHECK_SECONDS)


@contextmanager
def _watch(
    leases: Leases,
    environment: RunEnvironment,
    interruption: Interruption,
    compaction: BackgroundCompaction,
) -> Iterator[None]:
    """In a thread, renew the leases, merge files, and end the run when its time or job ends."""
    over = threading.Event()

    def watch() -> None:
        last_beat = time.monotonic()
        while not over.wait(WATCH_SECONDS):
            if environment.time_is_up():
                interruption.request(Stop("time_limit", "the job is near its time limit"))
            if time.monotonic() - last_beat >= HEARTBEAT_SECONDS:
                last_beat = time.monotonic()
                leases.renew()
                compaction.start_when_due()
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
