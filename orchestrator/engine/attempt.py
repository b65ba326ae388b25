"""One attempt of a trial, from its mark to its end."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable

from jobs.checkpoint import CheckpointError
from jobs.curvature.memory import default_budget
from jobs.kept_states import Keep, KeptState
from jobs.ongoing import OngoingTrial
from jobs.process_group import Ranks
from jobs.records import TrialResult
from jobs.starts import NoStartError, state_of, why_not_reached
from orchestrator.engine.commit import FinishedTrial
from orchestrator.engine.failures import classify, describe
from orchestrator.engine.work import Assignment, TrialProgress, Work, checkpoint_path
from orchestrator.ledger import Mark, attempt_row, commit_attempt, mark_running, utc
from orchestrator.ledger.data_digests import refuse_other_data
from orchestrator.live import LiveTrial, rounded
from orchestrator.logs import NAME
from orchestrator.plan import AttemptOutcome
from orchestrator.store import StoreError, set_aside
from orchestrator.store.starts import read_start, start_path, write_start
from orchestrator.store.states import write_state

log = logging.getLogger(NAME)


class AttemptInProgress:
    """One attempt of a trial; it starts with :meth:`start`.

    ``seconds`` are what was spent on the trial so far; the code that advances it adds to them.
    """

    def __init__(self, work: Work, assignment: Assignment) -> None:
        self.assignment = assignment
        self.trial_id = assignment.trial.trial_id
        self.device = work.resources.device
        self.checkpoint = checkpoint_path(work.run, assignment.trial)
        self.restored = False
        self.seconds = 0.0
        self._work = work
        self._mark: Mark | None = None
        self._run: OngoingTrial | None = None
        self._start: KeptState | None = None
        self._why: str | None = None
        self._saved_at = 0.0

    @property
    def run(self) -> OngoingTrial:
        """The trial's run, between :meth:`start` and :meth:`suspend` or :meth:`end`."""
        assert self._run is not None
        return self._run

    @property
    def tag(self) -> dict[str, str]:
        """What puts the trial's name before a line of the log."""
        return {"trial_id": self.trial_id}

    def mark(self) -> None:
        """Write into the run directory that this process works on the trial, if it is not there."""
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

    def find_start(self, warn: Callable[[str], None]) -> bool:
        """Find the state at which the trial begins, where that is not θ0; whether it has one.

        Where the parent did not leave it, or its file is damaged, which is set aside with a
        warning, the parent is computed once more, as far as there.
        """
        start = self.assignment.trial.start
        if start is None:
            return True
        parent, resources = start.parent.trial_id, self._work.resources
        try:
            try:
                self._start = read_start(self._work.run, start)
            except StoreError as error:
                path = start_path(self._work.run, parent, start.state)
                aside = set_aside(path, str(error))
                warn(f"start {path.name} is damaged; it was set aside as {aside}")
            if self._start is None:
                log.info("its parent %s is computed to %s", parent, start.state, extra=self.tag)
                self._start = state_of(
                    start,
                    device=self.device,
                    threads=resources.cpus_per_worker,
                    memory=self._memory,
                )
                write_start(self._work.run, parent, start.state, self._start)
        except NoStartError as error:
            write_start(self._work.run, parent, start.state, str(error))
            log.warning("no start: %s", error, extra=self.tag)
            self._why = str(error)
            return False
        return True

    def start(self, warn: Callable[[str], None], ranks: Ranks | None = None) -> None:
        """Mark the trial, and make its run, from its checkpoint if there is one.

        A damaged checkpoint is set aside with a warning. Raises what making the run raises.
        """
        self.mark()
        self._run = OngoingTrial(
            self.assignment.trial,
            device=self.device,
            threads=self._work.resources.cpus_per_worker,
            ranks=ranks,
            memory=self._memory,
            keep=Keep.of(self._work.resources.keep),
            starts=self.assignment.starts,
            keeper=self._keep,
            start=self._start,
        )
        refuse_other_data(self.assignment.trial.problem, self._run.data_digest, self._work.data)
        attempt = self.assignment.attempt
        try:
            self._run.restore(self.checkpoint)
            self.restored = True
            log.info("attempt %d resumes at step %d", attempt, self._run.step, extra=self.tag)
        except FileNotFoundError:
            log.info("attempt %d starts", attempt, extra=self.tag)
        except CheckpointError as error:
            aside = set_aside(self.checkpoint, str(error))
            warn(f"checkpoint {self.checkpoint.name} is damaged; it was set aside as {aside}")
        self._saved_at = time.monotonic()

    def _keep(self, state: KeptState) -> None:
        if state.name is not None:
            write_start(self._work.run, self.trial_id, state.name, state)
        else:
            write_state(self._work.run, self.trial_id, state.step, state.time, state.theta)

    @property
    def _memory(self) -> int | None:
        """Bytes that the trial may use, its share of a GPU that it shares; None for the default."""
        share = self._work.resources.gpus_per_worker or 0
        if self._work.memory is None and 0 < share < 1:
            return int(share * default_budget(self.device))
        return self._work.memory

    def suspend(self) -> None:
        """Drop the run; the attempt continues when it is started again."""
        self._run = None

    def save(self) -> None:
        """Write the trial's checkpoint."""
        self.run.save(self.checkpoint)
        self._saved_at = time.monotonic()

    def save_when_due(self) -> None:
        """Write the trial's checkpoint unless the last one is recent."""
        if time.monotonic() - self._saved_at > self._work.resources.checkpoint_seconds:
            self.save()

    def finish(self) -> FinishedTrial:
        """What the rows of the finished trial are made of, or of one that has no start; its mark
        stays until they are there.
        """
        assert self._mark is not None
        trial = self.assignment.trial
        result = TrialResult.without_start(trial) if self._run is None else self.run.result()
        last = result.crossings[-1]
        log.info("%s after %d steps", last.status, last.steps, extra=self.tag)
        for state in self.assignment.starts:
            if not start_path(self._work.run, self.trial_id, state).exists():
                why = why_not_reached(state, result)
                write_start(self._work.run, self.trial_id, state, why)
        return FinishedTrial(
            self.assignment,
            result,
            self.device,
            self._work.resources.workers,
            self._mark.started_at,
            time.time(),
            self.seconds,
            Keep.of(self._work.resources.keep),
            self._why,
        )

    def fail(self, error: Exception) -> None:
        """Put the attempt on record as failed."""
        log.error("failed: %s", describe(error), extra=self.tag)
        self.end("failed", error)

    def end(self, outcome: AttemptOutcome, error: BaseException | None = None) -> None:
        """Put an attempt without a result on record, if it has started, and drop the run."""
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

    def progress(self) -> TrialProgress:
        """How far the trial has come."""
        return TrialProgress(
            trial_id=self.trial_id,
            column_id=self.assignment.column_id,
            step=self.run.step,
            loss=self.run.at.loss,
            learning_rate=self.assignment.trial.learning_rate,
            eta_over_final_eta_c=self.assignment.eta_over_final_eta_c,
        )

    def live(self, points: int) -> LiveTrial:
        """How far the trial has come, with S at its last recorded points, for ``eos watch``."""
        return LiveTrial(
            trial_id=self.trial_id,
            attempt=self.assignment.attempt,
            step=self.run.step,
            loss=rounded(self.run.at.loss),
            sharpness=tuple(
                rounded(point.preconditioned_sharpness) for point in self.run.trajectory[-points:]
            ),
        )
