"""The SLURM jobs of a run: SLURM is asked now and then, and nobody waits for its answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from orchestrator.slurm.run_jobs import Observation, observe
from orchestrator.watch.view import Jobs

ASK_SECONDS = 30.0
"""Between two questions to SLURM, whose controller serves many."""

FAREWELL_SECONDS = 0.5
"""How long closing waits for an answer; a ``squeue`` without an answer ends by itself."""


class JobWatch:
    """The last answer about the jobs of a run, and a thread that gets the next one when it is due.

    Args:
        run: the run directory.
        sweep: the sweep's name, which the names of jobs contain.
        clock: seconds of a clock that never goes back.
    """

    def __init__(self, run: Path, sweep: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._run, self._sweep, self._clock = run, sweep, clock
        self._answer: tuple[Observation, float] | None = None
        self._asked_at: float | None = None
        self._thread: threading.Thread | None = None

    def jobs(self, *, wait: bool) -> Jobs:
        """The jobs as they were last seen; with ``wait``, after SLURM's answer if one is due."""
        now = self._clock()
        due = self._asked_at is None or now - self._asked_at >= ASK_SECONDS
        if due and (self._thread is None or not self._thread.is_alive()):
            self._asked_at = now
            self._thread = threading.Thread(target=self._ask, args=(now,), daemon=True)
            self._thread.start()
        if wait and self._thread is not None:
            self._thread.join()
        if self._answer is None:
            return Jobs()
        seen, asked_at = self._answer
        return _aged(seen, max(now - asked_at, 0.0))

    def close(self) -> None:
        """Wait a moment for a question that is still open."""
        if self._thread is not None:
            self._thread.join(FAREWELL_SECONDS)

    def _ask(self, now: float) -> None:
        try:
            seen = observe(self._run, self._sweep, often=True)
        except Exception as error:  # a record that cannot be read must not end the display
            seen = Observation(silence=f"{type(error).__name__}: {error}")
        self._answer = seen, now


def _aged(seen: Observation, age: float) -> Jobs:
    """The jobs as seen ``age`` seconds ago: live ones first, then those that ended last."""
    jobs = sorted(
        (*seen.jobs, *seen.orphans), key=lambda job: (not job.live, -(job.since or 0.0), job.job_id)
    )
    aged = [
        job if job.time_left_s is None else replace(job, time_left_s=max(job.time_left_s - age, 0))
        for job in jobs
    ]
    return Jobs(tuple(aged), seen.silence, age)
