"""What there is to see of a run at one moment, as a plain value."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.spec import GD
from orchestrator.plan import ColumnCounts, Counts
from orchestrator.slurm.job_states import JobState
from orchestrator.watch.failures import Failure


@dataclass(frozen=True)
class ColumnLine:
    """A column that runs, or that has failures; ``blocked`` says why it cannot go on."""

    column_id: str
    label: str
    trials: Counts
    blocked: str | None


@dataclass(frozen=True)
class RunningTrial:
    """A trial that runs. Step, loss, sharpness and their age come from its process: None before.

    ``column`` is its column in the words that tell it from the others; empty where there is one
    only. ``learning_rate`` is None for a flow, and where it is not known here yet. ``sharpness`` is
    S at the last recorded points, preconditioned where the optimiser is, the oldest first, and
    ``edge`` is η·S at the edge of stability.
    """

    trial_id: str
    column: str
    kind: str
    learning_rate: float | None
    eta_over_final_eta_c: float | None
    step: int | None
    loss: float | None
    sharpness: tuple[float | None, ...]
    age_s: float | None
    edge: float = GD.edge

    @property
    def at_edge(self) -> tuple[float | None, ...]:
        """χ at the last recorded points, S·η/2 for GD, 1 at the edge; nothing for a flow."""
        if self.learning_rate is None:
            return ()
        part = self.learning_rate / self.edge
        return tuple(None if one is None else one * part for one in self.sharpness)


@dataclass(frozen=True)
class Jobs:
    """The SLURM jobs of a run, those that may run first, as they were ``age_s`` seconds ago.

    ``silence`` says why the queue is not known, None if it is or need not be.
    """

    jobs: tuple[JobState, ...] = ()
    silence: str | None = None
    age_s: float = 0.0


@dataclass(frozen=True)
class View:
    """Where a run stands.

    Attributes:
        name: the sweep's name.
        folder: the last part of the run directory's path.
        now: when this was read; seconds since the epoch, as all times here.
        since: when its first trial began; None before.
        until: when the last attempt ended that is on record; None before.
        columns: how many are in which state.
        trials: how many are in which state.
        remaining_s: predicted seconds for one process; None before anything was timed that
            they could rest on.
        processes: how many compute now.
        active: whether any run works on it.
        lines: the columns that run or have failures, the former first.
        running: the trials that run, in the order of the sweep.
        failures: the last failed attempts of trials that are not settled, the newest first.
        jobs: its SLURM jobs.
    """

    name: str
    folder: str
    now: float
    since: float | None
    until: float | None
    columns: ColumnCounts
    trials: Counts
    remaining_s: float | None
    processes: int
    active: bool
    lines: tuple[ColumnLine, ...]
    running: tuple[RunningTrial, ...]
    failures: tuple[Failure, ...]
    jobs: Jobs

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.trials.left == 0

    @property
    def to_go_s(self) -> float | None:
        """Predicted seconds until the end with the processes that compute now; None if unknown."""
        if self.remaining_s is None or self.finished or not self.processes:
            return None
        return self.remaining_s / self.processes
