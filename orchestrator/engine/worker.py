"""The worker: a Tune Trainable that computes trials and commits their rows itself."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ray import tune

from orchestrator.engine.attempt import AttemptInProgress, SingleTrial
from orchestrator.engine.batch import BatchedTrials
from orchestrator.engine.commit import PendingReport
from orchestrator.engine.failures import full_storage
from orchestrator.engine.ranks import OtherRanks
from orchestrator.engine.work import Assignment, Work
from orchestrator.live import SECONDS, LiveFile, LiveTrial, points_each
from orchestrator.logs import open_log
from orchestrator.sweep.custom_networks import find_networks

POLL_SECONDS = 0.2


class Execution(Protocol):
    """How some trials of a work are computed: :class:`SingleTrial` or :class:`BatchedTrials`."""

    @property
    def done(self) -> bool:
        """Whether they have all ended."""

    @property
    def running(self) -> tuple[AttemptInProgress, ...]:
        """Those that run."""

    def advance(self, until: Callable[[], bool]) -> None:
        """Continue, at most until ``until()`` is true; raises OSError on a full disk."""

    def stop(self) -> None:
        """Save what runs, and end its attempts as preempted."""


class Worker(tune.Trainable):
    """Carries out a :class:`Work`; one process serves many of them."""

    def setup(self, config: dict[str, Any]) -> None:
        """Start with the first work."""
        self._other_ranks: OtherRanks | None = None
        self._live = LiveFile(config["work"].run)
        self._begin(config["work"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start with the next work in the same process."""
        self._begin(new_config["work"])
        return True

    def step(self) -> dict[str, Any]:
        """Compute for a while; ``done`` when the work is finished, interrupted, or cannot go on."""
        slice_end = time.monotonic() + self._work.report_seconds
        stopping, halt = False, None

        def pause() -> bool:
            return time.monotonic() >= slice_end or self._stopping()

        try:
            while self._executions and not pause():
                self._advance(pause)
            if stopping := bool(self._executions) and self._stopping():
                self._executions[0].stop()
            if stopping or not self._executions:
                self._report.commit()
        except OSError as error:
            if not full_storage(error):
                raise
            halt = str(error)
        done = stopping or not self._executions or bool(halt)
        if done:
            self._live.clear()
        running = self._running()
        report = self._report.take(
            [attempt.progress() for attempt in running],
            {attempt.trial_id: attempt.run.trajectory for attempt in running},
            halt,
        )
        return {"done": done, "report": report}

    def _begin(self, work: Work) -> None:
        # Networks may have been added to the run since this process began.
        find_networks(work.run, (assignment.trial.problem for assignment in work.assignments))
        self._work = work
        self._report = PendingReport(work)
        self._executions = deque(self._executions_of(work))
        self._last_poll = time.monotonic()
        self._stop_seen = False
        open_log(work.run)

    def _executions_of(self, work: Work) -> Iterator[Execution]:
        batches: dict[str, list[Assignment]] = {}
        for assignment in work.assignments:
            if assignment.batch_size:
                batches.setdefault(assignment.column_id, []).append(assignment)
        for together in batches.values():
            yield BatchedTrials(work, together, self._report)
        for assignment in work.assignments:
            if not assignment.batch_size:
                yield SingleTrial(work, assignment, self._report, self._find_ranks)

    def _find_ranks(self) -> OtherRanks | None:
        """The other ranks, which start with the first trial that needs them."""
        resources = self._work.resources
        if resources.workers > 1 and self._other_ranks is None:
            self._other_ranks = OtherRanks(self._work.run, resources, self._work.memory)
        return self._other_ranks

    def _stopping(self) -> bool:
        """Whether the run is to end; reads the file system at most every POLL_SECONDS."""
        now = time.monotonic()
        if not self._stop_seen and now - self._last_poll > POLL_SECONDS:
            self._last_poll = now
            self._stop_seen = self._work.stop_file.exists()
        return self._stop_seen

    def _advance(self, pause: Callable[[], bool]) -> None:
        execution = self._executions[0]
        execution.advance(pause)
        if execution.done:
            self._executions.popleft()
        self._report.commit_when_due()
        self._live.show(self._live_trials, max(SECONDS, self._work.report_seconds))

    def _running(self) -> tuple[AttemptInProgress, ...]:
        return self._executions[0].running if self._executions else ()

    def _live_trials(self) -> list[LiveTrial]:
        running = self._running()
        return [attempt.live(points_each(len(running))) for attempt in running]
