"""A trial that an actor has in hand: its mark, its run, its checkpoint, its end."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Sequence

from jobs.checkpoint import CheckpointError
from jobs.process_group import Ranks
from jobs.records import Point
from jobs.trial import OngoingTrial
from orchestrator.engine.data_read import refuse_other_data
from orchestrator.engine.failures import classify, describe
from orchestrator.engine.rows import Finished
from orchestrator.engine.work import Assignment, Running, Work, checkpoint_path
from orchestrator.ledger import Mark, attempt_row, commit_attempt, mark_running, utc
from orchestrator.live import LiveTrial, rounded
from orchestrator.logs import NAME
from orchestrator.plan import AttemptOutcome
from orchestrator.store import set_aside

log = logging.getLogger(NAME)


class InHand:
    """One attempt of a trial; it begins with :meth:`take_up`.

    ``seconds`` are what was spent on the trial so far; whoever advances it adds to them.
    """

    def __init__(self, work: Work, assignment: Assignment) -> None:
        self.assignment = assignment
        self.device = "cuda" if work.resources.gpus_per_worker else "cpu"
        self.path = checkpoint_path(work.run, assignment.trial)
        self.restored = False
        self.seconds = 0.0
        self._work = work
        self._mark: Mark | None = None
        self._run: OngoingTrial | None = None
        self._saved_at = 0.0

    @property
    def trial_id(self) -> str:
        """The trial's name."""
        return self.assignment.trial.trial_id

    @property
    def run(self) -> OngoingTrial:
        """The trial's run, between :meth:`take_up` and :meth:`put_down`."""
        assert self._run is not None
        return self._run

    def mark(self) -> None:
        """Note in the run directory that this process works on the trial, if it is not noted."""
        if self._mark is None:
            origin = self._work.provenance
            self._mark = mark_running(
                self._work.run,
                self.trial_id,
                self.assignment.column_id,
                self.assignment.attempt,
                origin.slurm_job_id,
                origin.restart_count,
            )

    def take_up(self, warn: Callable[[str], None], ranks: Ranks | None = None) -> None:
        """Mark the trial, and make its run, from its checkpoint if there is one.

        A damaged checkpoint is set aside with a warning. Raises what making the run raises.
        """
        self.mark()
        self._run = OngoingTrial(
            self.assignment.trial,
            device=self.device,
            threads=self._work.resources.cpus_per_worker,
            ranks=ranks,
            memory=self._work.memory,
        )
        refuse_other_data(self.assignment.trial.problem, self._run.data_digest, self._work.data)
        attempt = self.assignment.attempt
        try:
            self._run.restore(self.path)
            self.restored = True
            log.info("attempt %d resumes at step %d", attempt, self._run.step, extra=self.tag)
        except FileNotFoundError:
            log.info("attempt %d starts", attempt, extra=self.tag)
        except CheckpointError as error:
            aside = set_aside(self.path, str(error))
            warn(f"checkpoint {self.path.name} is damaged; it was set aside as {aside}")
        self._saved_at = time.monotonic()

    def put_down(self) -> None:
        """Forget the run; the attempt goes on when the trial is resumed."""
        self._run = None

    def save(self) -> None:
        """Write the trial's checkpoint."""
        self.run.save(self.path)
        self._saved_at = time.monotonic()

    def save_when_due(self) -> None:
        """Write the trial's checkpoint unless the last one is fresh."""
        if time.monotonic() - self._saved_at > self._work.resources.checkpoint_seconds:
            self.save()

    def finish(self) -> Finished:
        """What the rows of the finished trial are made of; its mark stays until they are there."""
        assert self._mark is not None
        result = self.run.result()
        last = result.crossings[-1]
        log.info("%s after %d steps", last.status, last.steps, extra=self.tag)
        workers, started_at = self._work.resources.workers, self._mark.started_at
        return Finished(
            self.assignment, result, self.device, workers, started_at, time.time(), self.seconds
        )

    def end(self, outcome: AttemptOutcome, error: BaseException | None = None) -> None:
        """Put an attempt without a result on record, if it has begun, and forget the run."""
        if self._mark is None:
            return
        row = attempt_row(
            self.trial_id,
            self.assignment.column_id,
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
        self._mark = self._run = None

    @property
    def trajectory(self) -> Sequence[Point]:
        """What the trial has recorded so far."""
        return self.run.trajectory

    def progress(self) -> Running:
        """How far the trial has come."""
        trial, flow = self.assignment.trial, self.assignment.flow
        eta = trial.learning_rate
        eta_c = None if flow is None else flow.critical_rate(trial.protocol.epsilons[-1])
        return Running(
            trial_id=self.trial_id,
            column_id=self.assignment.column_id,
            step=self.run.step,
            loss=self.run.loss,
            learning_rate=eta,
            eta_over_final_eta_c=eta / eta_c if eta and eta_c else None,
        )

    def live(self, points: int) -> LiveTrial:
        """How far the trial has come, with S at its last recorded points, for those who watch."""
        return LiveTrial(
            trial_id=self.trial_id,
            attempt=self.assignment.attempt,
            step=self.run.step,
            loss=rounded(self.run.loss),
            sharpness=tuple(rounded(point.sharpness) for point in self.run.trajectory[-points:]),
        )

    @property
    def tag(self) -> dict[str, str]:
        """What puts the trial's name before a line of the log."""
        return {"trial_id": self.trial_id}
