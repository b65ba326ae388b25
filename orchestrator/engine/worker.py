"""The worker: a Tune Trainable that computes trials and commits their rows itself."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from ray import tune

from orchestrator.engine.attempt import AttemptInProgress
from orchestrator.engine.commit import PendingReport
from orchestrator.engine.execution import Execution
from orchestrator.engine.failures import full_storage
from orchestrator.engine.ranks import OtherRanks
from orchestrator.engine.under_way import others_start
from orchestrator.engine.work import Assignment, Work
from orchestrator.live import SECONDS, LiveFile, LiveTrial, points_each
from orchestrator.logs import open_log
from orchestrator.sweep.user_files import find_files

POLL_SECONDS = 0.2

HOLD_SECONDS = 20.0
"""How long a worker that has nothing left to do waits for others to start."""


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
        stopping, waits, halt = False, False, None

        def pause() -> bool:
            return time.monotonic() >= slice_end or self._stopping()

        try:
            while self._executions and not pause():
                self._advance(pause)
            if stopping := bool(self._executions) and self._stopping():
                self._executions[0].stop()
            if stopping or not self._executions:
                self._report.commit()
            while (waits := self._waits_for_others()) and not pause():
                time.sleep(POLL_SECONDS)
        except OSError as error:
            if not full_storage(error):
                raise
            halt = str(error)
        done = stopping or bool(halt) or not (self._executions or waits)
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
        find_files(work.run, (assignment.trial.problem for assignment in work.assignments))
        self._work = work
        self._report = PendingReport(work)
        self._executions = deque(self._executions_of(work))
        self._last_poll = time.monotonic()
        self._stop_seen = False
        self._idle_since: float | None = None
        open_log(work.run)

    def _executions_of(self, work: Work) -> Iterator[Execution]:
        batches: dict[str, list[Assignment]] = {}
        for assignment in work.assignments:
            if assignment.batch_size:
                batches.setdefault(assignment.trial.batch_key, []).append(assignment)
        alone = [[assignment] for assignment in work.assignments if not assignment.batch_size]
        for together in (*batches.values(), *alone):
            yield Execution(work, together, self._report, self._find_ranks)

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

    def _waits_for_others(self) -> bool:
        """Whether the work is over, and others wait for their workers, for a while."""
        if self._executions or self._stopping():
            return False
        now = time.monotonic()
        self._idle_since = self._idle_since or now
        return now < self._idle_since + HOLD_SECONDS and others_start(self._work)

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
