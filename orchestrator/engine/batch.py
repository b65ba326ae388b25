"""Trials of one column that are computed together: batched descent, and what its failures mean."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from jobs.dynamics.batch import BatchedDescent
from orchestrator.engine.attempt import AttemptInProgress
from orchestrator.engine.commit import PendingReport
from orchestrator.engine.failures import full_storage
from orchestrator.engine.work import Assignment, Work
from orchestrator.logs import NAME

log = logging.getLogger(NAME)


class BatchedTrials:
    """The trials of a work that are computed in batches: when one ends, the next takes its slot.

    When the computation of a batch raises, the faulty trial is not known. Each trial then continues
    in a batch of one, from its last checkpoint or its start: the one that raises again has failed,
    and the others have lost seconds. Each trial counts its share of the time of a batch.

    Args:
        work: what the worker carries out.
        assignments: GD trials of one column, the longest first.
        report: told of their ends.
    """

    def __init__(
        self, work: Work, assignments: Sequence[Assignment], report: PendingReport
    ) -> None:
        self._size = assignments[0].batch_size
        self._waiting = deque(AttemptInProgress(work, assignment) for assignment in assignments)
        self._suspects: deque[AttemptInProgress] = deque()
        self._testing_suspect = False
        self._running: list[AttemptInProgress] = []
        self._batch: BatchedDescent | None = None
        self._report = report

    @property
    def done(self) -> bool:
        """Whether every trial has ended."""
        return not (self._waiting or self._suspects or self._running)

    @property
    def running(self) -> tuple[AttemptInProgress, ...]:
        """The trials of the batch."""
        return tuple(self._running)

    def advance(self, until: Callable[[], bool]) -> None:
        """Continue a batch until one of its trials ends, or until ``until()`` is true.

        Raises:
            OSError: the run directory is full.
        """
        try:
            self._fill()
            if self._running:
                self._advance(until)
        except Exception as error:
            if full_storage(error):
                raise
            self._split(error)

    def stop(self) -> None:
        """Save the trials and end their attempts as preempted."""
        for attempt in list(self._running):
            self._write(attempt, attempt.save)
        stopped, self._running, self._batch = [*self._running, *self._suspects], [], None
        for attempt in stopped:
            attempt.end("preempted")

    def _fill(self) -> None:
        """Give free slots to trials that wait; a suspect starts when no other runs."""
        if not self._running:
            self._testing_suspect = bool(self._suspects)
        source, size = (self._suspects, 1) if self._testing_suspect else (self._waiting, self._size)
        new = False
        while source and len(self._running) < size:
            new = self._start(source.popleft()) or new
        if new:
            self._batch = BatchedDescent([attempt.run for attempt in self._running])

    def _start(self, attempt: AttemptInProgress) -> bool:
        """Start a trial; whether it runs."""
        try:
            attempt.start(self._report.warn)
        except Exception as error:
            if full_storage(error):
                raise
            if not self._running:
                self._fail(attempt, error)
                return False
            attempt.suspend()
            self._suspects.append(attempt)  # it may lack only the memory that the others occupy
            return False
        self._running.append(attempt)
        return True

    def _advance(self, until: Callable[[], bool]) -> None:
        assert self._batch is not None
        batch, size, start = self._batch, len(self._running), time.monotonic()
        try:
            batch.advance(lambda: until() or len(batch.running) < size)
        finally:
            for attempt in self._running:
                attempt.seconds += (time.monotonic() - start) / size
        ended = [attempt for attempt in self._running if attempt.run.finished]
        self._running = [attempt for attempt in self._running if not attempt.run.finished]
        for attempt in ended:
            self._report.settle(attempt.finish())
        written = [self._write(attempt, attempt.save_when_due) for attempt in list(self._running)]
        if not all(written):
            runs = [attempt.run for attempt in self._running]
            self._batch = BatchedDescent(runs) if runs else None

    def _write(self, attempt: AttemptInProgress, save: Callable[[], None]) -> bool:
        """Save a trial of the batch; whether that worked. If not, it has failed and leaves."""
        try:
            save()
        except Exception as error:
            if full_storage(error):
                raise
            self._running.remove(attempt)
            self._fail(attempt, error)
            return False
        return True

    def _split(self, error: Exception) -> None:
        """Continue the trials of a batch that raised one by one, or fail the only one."""
        attempts, self._running, self._batch = self._running, [], None
        if len(attempts) == 1:
            self._fail(attempts[0], error)
            return
        for attempt in attempts:
            attempt.suspend()
            log.warning(
                "its batch of %d trials failed (%s: %s); it continues by itself, from its last "
                "checkpoint or its start",
                len(attempts),
                type(error).__name__,
                error,
                extra=attempt.tag,
            )
        self._suspects.extend(attempts)

    def _fail(self, attempt: AttemptInProgress, error: Exception) -> None:
        attempt.fail(error)
        self._report.fail(attempt.trial_id)
