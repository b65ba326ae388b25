"""The trial actor: a Tune Trainable that computes trials and commits their rows itself."""

from __future__ import annotations

import logging
import socket
import time
from collections import deque
from typing import Any

from ray import tune

from jobs.checkpoint import CheckpointError
from jobs.trial import TrialRun
from orchestrator.engine.commit import commit
from orchestrator.engine.failures import classify, describe, full_storage
from orchestrator.engine.gang import Gang
from orchestrator.engine.rows import Finished
from orchestrator.engine.work import Assignment, Report, Running, Work, checkpoint_path
from orchestrator.ledger import Mark, attempt_row, commit_attempt, mark_running, utc
from orchestrator.logs import NAME, open_log
from orchestrator.plan import Outcome, SettledTrial
from orchestrator.store import set_aside

CHECKPOINT_SECONDS = 10.0
COMMIT_SECONDS = 1.0
"""Trials of a pack that ended within this time are committed together, in one part file."""

POLL_SECONDS = 0.2

log = logging.getLogger(NAME)


class TrialActor(tune.Trainable):
    """Carries out a :class:`Work`; one process serves many of them."""

    def setup(self, config: dict[str, Any]) -> None:
        """Take up the first work."""
        self._gang: Gang | None = None
        self._take(config["work"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up the next work in the same process."""
        self._take(new_config["work"])
        return True

    def step(self) -> dict[str, Any]:
        """Compute for a while; ``done`` when the work is finished, interrupted, or cannot go on."""
        self._settled: list[SettledTrial] = []
        self._failed: list[str] = []
        self._warnings: list[str] = []
        halt = None
        try:
            self._slice_end = time.monotonic() + self._work.report_seconds
            while self._todo and not self._stopping() and time.monotonic() < self._slice_end:
                self._advance(self._todo[0])
            if self._stopping():
                self._preempt()
            if not self._todo or self._stopping():
                self._commit()
        except OSError as error:
            if not full_storage(error):
                raise
            halt = str(error)
        report = Report(
            tuple(self._settled), tuple(self._failed), self._progress(), halt, tuple(self._warnings)
        )
        return {"done": not self._todo or self._stopping() or bool(halt), "report": report}

    def _take(self, work: Work) -> None:
        self._work = work
        self._todo = deque(work.assignments)
        self._device = "cuda" if work.resources.gpus_per_worker else "cpu"
        self._run: TrialRun | None = None
        self._mark: Mark | None = None
        self._finished: list[Finished] = []
        self._last_commit = self._last_poll = self._last_save = time.monotonic()
        self._stop_seen = False
        open_log(work.run)

    def _stopping(self) -> bool:
        """Whether the run is to end; looks at the file system now and then only."""
        now = time.monotonic()
        if not self._stop_seen and now - self._last_poll > POLL_SECONDS:
            self._last_poll = now
            self._stop_seen = self._work.stop_file.exists()
        return self._stop_seen

    def _advance(self, assignment: Assignment) -> None:
        """Bring one trial forward by at most the rest of the slice."""
        name = assignment.trial.trial_id
        try:
            if self._run is None:
                self._begin(assignment)
            assert self._run is not None
            done = self._run.advance(
                lambda: time.monotonic() >= self._slice_end or self._stopping()
            )
            if done:
                self._finish(assignment)
            elif time.monotonic() - self._last_save > CHECKPOINT_SECONDS:
                self._save()
        except Exception as error:
            if full_storage(error):
                raise
            if self._gang is not None:
                error = self._gang.cause(error)
            log.error("failed: %s", describe(error), extra=_tag(name))
            self._end_attempt("failed", error)
            self._failed.append(name)
            self._todo.popleft()
            if self._device != "cpu" or self._gang is not None:
                # A CUDA error can poison the process, and ranks that lost one cannot go on: let it
                # end, and the other ranks with it.
                self._commit()
                raise

    def _begin(self, assignment: Assignment) -> None:
        origin, name = self._work.provenance, assignment.trial.trial_id
        self._mark = mark_running(
            self._work.run,
            name,
            assignment.column_id,
            assignment.attempt,
            origin.slurm_job_id,
            origin.restart_count,
        )
        resources = self._work.resources
        if resources.workers > 1 and self._gang is None:
            self._gang = Gang(resources, self._work.memory)
        run = TrialRun(
            assignment.trial,
            device=self._device,
            threads=resources.cpus_per_worker,
            ranks=self._gang.ranks if self._gang else None,
            memory=self._work.memory,
        )
        path = checkpoint_path(self._work.run, assignment.trial)
        checkpoint = None
        try:
            run.restore(path)
            if self._gang is not None:
                checkpoint = path.read_bytes()
            log.info(
                "attempt %d resumes at step %d", assignment.attempt, run.step, extra=_tag(name)
            )
        except FileNotFoundError:
            log.info("attempt %d starts", assignment.attempt, extra=_tag(name))
        except CheckpointError as error:
            aside = set_aside(path, str(error))
            self._warnings.append(f"checkpoint {path.name} is damaged; it was set aside as {aside}")
        if self._gang is not None:
            self._gang.begin(assignment.trial, checkpoint)
        self._run = run
        # What reading the dataset took says nothing about the next trial.
        self._started, self._last_save = time.monotonic(), time.monotonic()

    def _finish(self, assignment: Assignment) -> None:
        assert self._run is not None
        assert self._mark is not None
        if self._gang is not None:
            self._gang.end()
        result = self._run.result()
        last = result.crossings[-1]
        log.info(
            "%s after %d steps", last.status, last.steps, extra=_tag(assignment.trial.trial_id)
        )
        self._finished.append(
            Finished(
                assignment,
                result,
                self._device,
                self._work.resources.workers,
                self._mark.started_at,
                time.time(),
                time.monotonic() - self._started,
            )
        )
        self._run = self._mark = None
        self._todo.popleft()
        if time.monotonic() - self._last_commit > COMMIT_SECONDS:
            self._commit()

    def _commit(self) -> None:
        """Write the rows of what is finished, and forget its checkpoints and marks."""
        if self._finished:
            self._settled += commit(self._work.run, self._finished, self._work.provenance)
            self._finished = []
        self._last_commit = time.monotonic()

    def _preempt(self) -> None:
        """Save the trial in hand, so that whoever takes it up next goes on from here."""
        if self._run is not None and self._gang is not None:
            self._run.ranks.wants_stop = True
            if self._run.advance():
                self._finish(self._todo[0])
            else:
                self._gang.end()
        if self._run is not None:
            self._save()
            self._end_attempt("preempted", None)

    def _save(self) -> None:
        assert self._run is not None
        self._run.save(checkpoint_path(self._work.run, self._todo[0].trial))
        self._last_save = time.monotonic()

    def _end_attempt(self, outcome: Outcome, error: BaseException | None) -> None:
        if self._mark is not None:
            row = attempt_row(
                self._mark.trial_id,
                self._mark.attempt,
                outcome,
                hostname=socket.gethostname(),
                started_at=utc(self._mark.started_at),
                finished_at=utc(time.time()),
                slurm_job_id=self._mark.slurm_job_id,
                restart_count=self._mark.restart_count,
                failure_class=None if error is None else classify(error),
                error=None if error is None else describe(error),
            )
            commit_attempt(self._work.run, row)
        self._run = self._mark = None

    def _progress(self) -> Running | None:
        if self._run is None or not self._todo:
            return None
        assignment = self._todo[0]
        eta, flow = assignment.trial.learning_rate, assignment.flow
        smallest = assignment.trial.protocol.epsilons[-1]
        eta_c = None if flow is None else flow.critical_rate(smallest)
        return Running(
            trial_id=assignment.trial.trial_id,
            column_id=assignment.column_id,
            step=self._run.step,
            loss=self._run.loss,
            learning_rate=eta,
            eta_over_eta_c=eta / eta_c if eta and eta_c else None,
        )


def _tag(trial_id: str) -> dict[str, str]:
    return {"trial_id": trial_id}
