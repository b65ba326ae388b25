"""A run that is a SLURM job: its records, its time limit, how it ended, whether it is requeued."""

from __future__ import annotations

import dataclasses
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from orchestrator.cluster import Allocation
from orchestrator.engine import RunEnvironment, RunOutcome, Stop
from orchestrator.engine.interruption import GRACE_SECONDS
from orchestrator.first_line import first_line
from orchestrator.ledger import JobStart
from orchestrator.slurm import records
from orchestrator.slurm.command import SlurmUnavailable, controller_time, job_state, requeue
from orchestrator.slurm.node_check import versions
from orchestrator.slurm.profile import JobSettings, lead_seconds
from orchestrator.slurm.records import End, StartRecord
from orchestrator.store.clock import AHEAD_SECONDS, difference, seconds_since_boot

IDLE_SECONDS = 900.0
"""How long a job waits for columns that other jobs lease, before it gives its nodes back."""

COUNT_SECONDS = (5.0, 600.0)
"""Between two counts of what a budget has left: at least, and at most."""

EARLY_SECONDS = 90.0
"""SLURM may send a signal up to a minute earlier than it was asked for."""

LONG_SHARE = 1 / 3
"""Of its time: a signal before that is no time limit, however short the job is."""

REQUEUED_AFTER: dict[End, str] = {
    "time_limit": "max_timeouts",
    "preempted": "max_preemptions",
    "node_failure": "max_preemptions",
}
"""The ends after which a job requeues itself, and the settings that bound how often."""


class Job:
    """The SLURM job that this process leads, from :meth:`begin` to :meth:`end`.

    Its times are by the controller's clock, which is asked once: the node's may be set wrong.

    Args:
        run: the run directory.
        allocation: what SLURM granted.
        settings: what the site's profile says.
        warn: told what the user should know.
    """

    def __init__(
        self, run: Path, allocation: Allocation, settings: JobSettings, warn: Callable[[str], None]
    ) -> None:
        assert allocation.job_id is not None
        self._run, self._allocation, self._terms, self._warn = run, allocation, settings, warn
        self._id, self._restart = allocation.job_id, allocation.restart
        self._ends_at = allocation.ends_at
        self._ahead = time.time() - seconds_since_boot()
        self._writing = threading.Lock()
        self._asked_again = False
        self._records_changed_at = 0
        self._counts_at = 0.0
        self._record = StartRecord(
            job_id=self._id,
            restart=self._restart,
            nodes=allocation.nodes,
            hostname=socket.gethostname(),
            started_at=time.time(),
            ends_at=None,
        )

    def begin(self) -> None:
        """Note that the job has started, and when its time is up."""
        key = self._terms.key or self._own_key()
        self._record = dataclasses.replace(self._record, key=key)
        self._set_clock()
        if self._ends_at is None:
            try:
                self._ends_at = job_state(self._id).ends_at
            except SlurmUnavailable as error:
                self._warn(f"the job's time limit is not known ({error}); it will not stop by it")
        self._write(ends_at=self._ends_at)

    def environment(self) -> RunEnvironment:
        """The machines, the time and the job of the run."""
        return RunEnvironment(
            allocation=self._allocation,
            root=self._terms.root,
            interface=self._terms.interface,
            versions=versions(),
            job=JobStart(self._id, self._record.key, self._restart),
            clock=self._now,
            stop_at=self._stop_at,
            grace=max(GRACE_SECONDS, self._lead() / 2),
            idle_seconds=IDLE_SECONDS,
            beat=self._beat,
            leave=self._leave,
            stay=self._stay,
        )

    def end(self, outcome: RunOutcome, left: str = "") -> End:
        """Note how the run ended, and put the job back into the queue if it has more to do.

        ``left`` says why some of it was left to other jobs.

        When it was put back, SLURM ends this process at any moment: nothing may be left to do.
        """
        end, detail, alive = self._judge(outcome)
        detail = "; ".join(part for part in (detail, left) if part)
        term = REQUEUED_AFTER.get(end)
        if outcome.settled or term is None:
            self._write(end=end, detail=detail)
            return end
        if not alive:  # SLURM has put it back itself, or cannot be asked
            self._write(end=end, detail=detail, requeued=alive is None)
            return end
        used, most = self._times_requeued(term), getattr(self._terms, term)
        if used >= most:
            self._write(end=end, detail=f"{detail}; not requeued, because {term} is {most}")
            return end
        self._write(end=end, detail=detail, requeued=True)
        try:
            requeue(self._id)
        except SlurmUnavailable as error:
            self._warn(f"the job could not be requeued: {error}")
            self._write(detail=f"{detail}; could not be requeued: {error}", requeued=False)
        return end

    def fail(self, error: BaseException) -> None:
        """Note that the run ended with an error of its own."""
        self._write(end="error", detail=first_line(f"{type(error).__name__}: {error}"))

    def _judge(self, outcome: RunOutcome) -> tuple[End, str, bool | None]:
        """How the run ended and why; and whether the job still lives, so that it can be put back.

        None: SLURM has put it back already.
        """
        stop = outcome.stop
        if outcome.halted is not None:
            return "error", outcome.halted, True
        if stop is None:
            return ("settled" if outcome.settled else "failed"), "", True
        if stop.reason == "superseded":
            return "superseded", stop.detail, False
        if stop.reason == "idle" or stop.reason == "budget":
            return stop.reason, stop.detail, True
        if stop.reason == "unfit_nodes":
            return "error", stop.detail, True  # SLURM would start it on the same nodes again
        try:
            now = job_state(self._id)
        except SlurmUnavailable as error:
            return self._unasked(stop), f"{stop.detail}; SLURM did not answer ({error})", True
        if now.restarts > self._restart or now.state in ("PENDING", "REQUEUED", "REQUEUE_HOLD"):
            return "preempted", f"{stop.detail}; requeued by SLURM", None
        if now.state == "TIMEOUT":
            return "time_limit", stop.detail, False
        if now.state not in ("RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING"):
            return "cancelled", f"{stop.detail}; SLURM says {now.state}", False
        if stop.detail == "SIGINT":
            return "interrupted", stop.detail, False
        return self._unasked(stop), stop.detail, True

    def _unasked(self, stop: Stop) -> End:
        """The end of a job that lives on, as far as this process can tell."""
        if stop.reason == "node_lost":
            return "node_failure"
        stop_at = self._stop_at()
        if stop.reason == "time_limit" or (
            stop_at is not None and self._now() >= stop_at - EARLY_SECONDS and self._long()
        ):
            return "time_limit"
        return "preempted"

    def _long(self) -> bool:
        """Whether the job has used up so much of its time that a signal can mean its limit."""
        assert self._ends_at is not None
        started = self._record.started_at
        return self._now() - started > LONG_SHARE * (self._ends_at - started)

    def _times_requeued(self, term: str) -> int:
        job = records.read_jobs(self._run)[self._id]
        past = [one for one in job.starts if one.requeued]
        return sum(one.end is not None and REQUEUED_AFTER.get(one.end) == term for one in past)

    def _lead(self) -> float:
        if self._ends_at is None:
            return 0.0
        return lead_seconds(self._terms.stop_seconds, self._ends_at - self._record.started_at)

    def _stop_at(self) -> float | None:
        return None if self._ends_at is None else self._ends_at - self._lead()

    def _beat(self) -> Stop | None:
        records.beat(self._run, self._record)
        if self._may_be_superseded() and records.superseded(self._run, self._record):
            return Stop("superseded", f"job {self._id} has been started again meanwhile")
        self._ask_again()
        return self._over_budget()

    def _over_budget(self) -> Stop | None:
        """Whether the run's jobs have used their budget. They are counted again when the half of
        what is left can have been used: a thousand jobs would list them all the time.
        """
        budget, now = self._terms.budget, self._now()
        if budget is None or now < self._counts_at:
            return None
        jobs = records.read_jobs(self._run)
        left = budget.hours - budget.used(jobs, now)
        if left <= 0:
            spent = f"{budget.hours - left:.3g} of {budget.hours:g} {budget.unit}"
            return Stop("budget", f"the run's budget is used: {spent}")
        wait = 3600 * left / max(budget.rate(jobs), 1) / 2
        self._counts_at = now + min(max(wait, COUNT_SECONDS[0]), COUNT_SECONDS[1])
        return None

    def _may_be_superseded(self) -> bool:
        """Whether records have appeared lately: else a thousand jobs would list them all the time.

        Two changes within a tick of the file server's clock look like one, hence the minute.
        """
        before, self._records_changed_at = self._records_changed_at, records.changed_at(self._run)
        now = records.beat_at(self._run, self._record)
        fresh = now is not None and now - self._records_changed_at / 1e9 < 60
        return fresh or self._records_changed_at != before

    def _ask_again(self) -> None:
        """Shortly before the time is up, see whether somebody has given the job more."""
        stop_at = self._stop_at()
        if stop_at is None or self._asked_again or self._now() < stop_at - 30:
            return
        self._asked_again = True
        try:
            ends_at = job_state(self._id).ends_at
        except SlurmUnavailable:
            return
        if ends_at is not None and self._ends_at is not None and ends_at > self._ends_at:
            self._ends_at, self._asked_again = ends_at, False
            self._write(ends_at=ends_at)

    def _leave(self) -> None:
        self._write(leaving=True)

    def _stay(self) -> None:
        self._write(leaving=False)

    def _now(self) -> float:
        return seconds_since_boot() + self._ahead

    def _set_clock(self) -> None:
        """Go by the controller's clock from now on, if it tells the time."""
        try:
            now = controller_time()
        except SlurmUnavailable:
            return
        began = self._now() - self._record.started_at
        ahead = time.time() - now
        if abs(ahead) > AHEAD_SECONDS:
            self._warn(f"the clock of this node is {difference(ahead, 'the controller')}")
        self._ahead = now - seconds_since_boot()
        self._record = dataclasses.replace(self._record, started_at=now - began)

    def _own_key(self) -> str:
        """What distinguishes a job that ``eos`` did not submit from others of its number.

        Its first start makes the key, and its later ones find it on record.
        """
        known = records.read_jobs(self._run).get(self._id)
        if known is None or not known.starts:
            return records.new_key()
        if known.submission is not None and known.submission.key:
            return records.new_key()  # that job got its key with its settings
        last = known.starts[-1]
        again = self._restart > 0 if last.restart <= self._restart else self._started_since()
        return last.key if again else records.new_key()

    def _started_since(self) -> bool:
        """Whether SLURM has started this job again since: then this start is a left-over."""
        try:
            return job_state(self._id).restarts > self._restart
        except SlurmUnavailable:
            return False

    def _write(self, **changes: object) -> None:
        if "end" in changes:
            changes["ended_at"] = self._now()
        with self._writing:  # the heart beats in a thread of its own
            self._record = dataclasses.replace(self._record, **changes)  # type: ignore[arg-type]
            records.record_start(self._run, self._record)
