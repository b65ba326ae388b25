"""How a worker computes trials: several as one computation, one by itself, or one over ranks."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from jobs.ongoing import advance
from orchestrator.engine.attempt import AttemptInProgress
from orchestrator.engine.capacity import UnfitNodeError
from orchestrator.engine.commit import PendingReport
from orchestrator.engine.failures import full_storage, node_blamed, spoils_process
from orchestrator.engine.ranks import OtherRanks
from orchestrator.engine.work import Assignment, Work
from orchestrator.logs import NAME

log = logging.getLogger(NAME)


class Execution:
    """Trials of a work that go together: when one ends, the next takes its slot.

    When a computation of several raises, the faulty trial is not known. Each then continues by
    itself, from its last checkpoint or its start: the one that raises again has failed, and the
    others have lost seconds. Each trial counts its share of the time.

    Args:
        work: what the worker carries out.
        assignments: trials of one kind and batch key, the longest first, or one by itself.
        report: told of their ends.
        find_ranks: gives the ranks that compute a trial together with this process; None for none.
    """

    def __init__(
        self,
        work: Work,
        assignments: Sequence[Assignment],
        report: PendingReport,
        find_ranks: Callable[[], OtherRanks | None],
    ) -> None:
        self._size = max(assignments[0].batch_size, 1)
        self._device = work.resources.device
        self._waiting = deque(AttemptInProgress(work, assignment) for assignment in assignments)
        self._suspects: deque[AttemptInProgress] = deque()
        self._testing_suspect = False
        self._running: list[AttemptInProgress] = []
        self._report, self._find_ranks = report, find_ranks
        self._ranks: OtherRanks | None = None

    @property
    def done(self) -> bool:
        """Whether every trial has ended."""
        return not (self._waiting or self._suspects or self._running)

    @property
    def running(self) -> tuple[AttemptInProgress, ...]:
        """The trials that are computed."""
        return tuple(self._running)

    def advance(self, until: Callable[[], bool]) -> None:
        """Continue until a trial ends, or until ``until()`` is true.

        Raises:
            OSError: the run directory is full.
            UnfitNodeError: the node's GPU is at fault; the trials are on record.
            Exception: the computation failed on a GPU in a way that may have spoilt the process, or
                over ranks, which cannot continue when they lost one: the process is to end. A trial
                by itself is on record; several are lost, and each is tried again by itself.
        """
        try:
            with node_blamed(self._device):
                self._fill()
                if self._running:
                    self._advance(until)
        except Exception as error:
            if full_storage(error):
                raise
            self._take_failure(error)

    def stop(self) -> None:
        """Save the trials and end their attempts as preempted."""
        if self._ranks is not None and self._running:
            (attempt,) = self._running
            attempt.run.ranks.wants_stop = True
            if attempt.run.advance():
                self._settle(attempt)
                return
            self._ranks.end()
        for attempt in list(self._running):
            self._write(attempt, attempt.save)
        stopped, self._running = [*self._running, *self._suspects], []
        for attempt in stopped:
            attempt.end("preempted")

    def _fill(self) -> None:
        """Give free slots to trials that wait; a suspect starts when no other runs."""
        if not self._running:
            self._testing_suspect = bool(self._suspects)
        source, size = (self._suspects, 1) if self._testing_suspect else (self._waiting, self._size)
        while source and len(self._running) < size:
            self._start(source.popleft())

    def _start(self, attempt: AttemptInProgress) -> None:
        """Start a trial, which runs from now on; of several, one that cannot is left for later."""
        self._running.append(attempt)
        try:
            with node_blamed(self._device):
                attempt.mark()  # if the process dies while the ranks start, this trial was lost
                if not attempt.find_start(self._report.warn):
                    self._running.remove(attempt)
                    self._report.settle(attempt.finish())
                    return
                self._ranks = self._find_ranks()
                attempt.start(self._report.warn, self._ranks.group if self._ranks else None)
                if self._ranks is not None:
                    content = attempt.checkpoint.read_bytes() if attempt.restored else None
                    self._ranks.begin(attempt.assignment, content)
        except Exception as error:
            if len(self._running) == 1 or full_storage(error) or isinstance(error, UnfitNodeError):
                raise
            self._running.remove(attempt)
            attempt.suspend()
            self._suspects.append(attempt)  # it may lack only the memory that the others occupy

    def _advance(self, until: Callable[[], bool]) -> None:
        runs, start = [attempt.run for attempt in self._running], time.monotonic()
        try:
            advance(runs, lambda: until() or any(run.finished for run in runs))
        finally:
            for attempt in self._running:
                attempt.seconds += (time.monotonic() - start) / len(runs)
        for attempt in list(self._running):
            if attempt.run.finished:
                self._settle(attempt)
        for attempt in list(self._running):
            self._write(attempt, attempt.save_when_due)

    def _settle(self, attempt: AttemptInProgress) -> None:
        if self._ranks is not None:
            self._ranks.end()
        finished = attempt.finish()
        self._running.remove(attempt)
        self._report.settle(finished)

    def _write(self, attempt: AttemptInProgress, save: Callable[[], None]) -> None:
        """Save a trial; where that does not work, it has failed and leaves."""
        try:
            save()
        except Exception as error:
            if full_storage(error):
                raise
            self._fail(attempt, error)

    def _take_failure(self, error: Exception) -> None:
        """Fail the trial that raised, or find out which it was; may raise, to end the process."""
        fatal = isinstance(error, UnfitNodeError) or spoils_process(error, self._device)
        if len(self._running) == 1 or isinstance(error, UnfitNodeError):
            cause = error
            if self._ranks is not None and not isinstance(error, UnfitNodeError):
                cause = self._ranks.cause(error)
            for attempt in list(self._running):
                self._fail(attempt, cause)
            if fatal or self._ranks is not None:
                self._report.commit()
                if cause is error:
                    raise error
                raise cause from error
        elif fatal:
            self._report.commit()
            raise error
        else:
            self._split(error)

    def _split(self, error: Exception) -> None:
        """Continue the trials of a computation that raised one by one."""
        for attempt in self._running:
            attempt.suspend()
            log.warning(
                "its batch of %d trials failed (%s: %s); it continues by itself, from its last "
                "checkpoint or its start",
                len(self._running),
                type(error).__name__,
                error,
                extra=attempt.tag,
            )
        self._suspects.extend(self._running)
        self._running = []

    def _fail(self, attempt: AttemptInProgress, error: Exception) -> None:
        self._running.remove(attempt)
        attempt.fail(error)
        self._report.fail(attempt.trial_id)
