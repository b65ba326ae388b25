"""What is handed to a worker, and what it reports."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jobs.records import Point
from jobs.spec import StateName, Trial
from orchestrator.ledger.data_digests import DataDigest, DataKey
from orchestrator.plan import NOTHING_SETTLED, FlowSummary, SettledTrials
from orchestrator.sweep import AskedRate, Resources

SOURCE = Path(__file__).resolve().parents[2]
GIT_SECONDS = 10


@dataclass(frozen=True)
class Assignment:
    """One trial to run, and the number of the attempt.

    ``flow`` is what the column's flow found, and ``asked`` the learning rate as the sweep file has
    it; both None for a flow. A trial with a ``batch_size`` is computed in a batch of at most that
    many, even if it is the only one; a trial without is computed by itself. ``begins`` says where
    it begins, None for θ0, and ``starts`` are the states at which other trials begin.
    """

    trial: Trial
    column_id: str
    attempt: int
    flow: FlowSummary | None
    batch_size: int = 0
    asked: AskedRate | None = None
    begins: str | None = None
    starts: tuple[StateName, ...] = ()

    @property
    def eta_over_final_eta_c(self) -> float | None:
        """η in units of the final η_c; None for a flow, and where η_c is not known."""
        eta, eta_c = self.trial.learning_rate, self.final_eta_c
        return eta / eta_c if eta and eta_c else None

    @property
    def final_eta_c(self) -> float | None:
        """η_c of the smallest threshold; None for a flow, and where the flow did not reach it."""
        smallest = self.trial.protocol.epsilons[-1]
        return (
            None if self.flow is None else self.flow.critical_rate(smallest, self.trial.optimizer)
        )


@dataclass(frozen=True)
class Provenance:
    """Where numbers come from; the same for all trials of a run."""

    sweep: str
    version: str
    git_commit: str | None
    git_dirty: bool | None
    slurm_job_id: str | None
    restart_count: int | None

    @classmethod
    def here(cls, sweep: str) -> Provenance:
        """The version and commit of this package, and the SLURM job of this process, if any."""
        commit = _git("rev-parse", "HEAD") if (SOURCE / ".git").exists() else None
        changes = None if commit is None else _git("status", "--porcelain", "--untracked-files=no")
        restarts = os.environ.get("SLURM_RESTART_COUNT")
        return cls(
            sweep=sweep,
            version=importlib.metadata.version("eos-sweep"),
            git_commit=commit,
            git_dirty=None if changes is None else bool(changes),
            slurm_job_id=os.environ.get("SLURM_JOB_ID"),
            restart_count=int(restarts) if restarts and restarts.isdigit() else None,
        )


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(SOURCE), *arguments]
    try:
        return subprocess.check_output(
            command, stderr=subprocess.DEVNULL, text=True, timeout=GIT_SECONDS
        ).strip()
    except (OSError, subprocess.SubprocessError):
        return None


@dataclass(frozen=True)
class Work:
    """Assignments that one Tune trial carries out: those of a batch together, others in turn.

    The worker stops at the end of a step when ``stop_file`` appears; it does not end its work while
    ``hold_file`` is there, though it has nothing left to do, for a while at most. It reports every
    ``report_seconds``, with recorded points if it is ``logged``. Each of its processes may use
    ``memory`` bytes; None leaves that to the trial. ``data`` is what earlier trials read. None of
    its processes runs on a node that is ``avoided``, by Ray's names.
    """

    run: Path
    assignments: tuple[Assignment, ...]
    resources: Resources
    provenance: Provenance
    stop_file: Path
    hold_file: Path
    report_seconds: float
    memory: int | None
    logged: bool = False
    data: Mapping[DataKey, DataDigest] = field(default_factory=dict)
    avoided: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.assignments[0].trial.trial_id

    __repr__ = __str__

    @property
    def columns(self) -> dict[str, str]:
        """The column_id of each of its trials, by trial_id."""
        return {a.trial.trial_id: a.column_id for a in self.assignments}


def checkpoint_path(run: Path, trial: Trial) -> Path:
    """Where a trial's checkpoint is, whichever process writes or resumes it."""
    return run / "checkpoints" / f"{trial.trial_id}.safetensors"


@dataclass(frozen=True)
class TrialProgress:
    """How far a running trial has come."""

    trial_id: str
    column_id: str
    step: int
    loss: float
    learning_rate: float | None
    eta_over_final_eta_c: float | None


@dataclass(frozen=True)
class NewPoints:
    """What a trial has recorded since the last report, for live logging.

    A worker that resumes a checkpoint reports the steps before it once more. With ``ended``, the
    trial has settled.
    """

    trial_id: str
    points: tuple[Point, ...]
    ended: bool


@dataclass(frozen=True)
class Report:
    """What a worker reports after a slice of work."""

    settled: SettledTrials = NOTHING_SETTLED
    failed: tuple[str, ...] = ()
    running: tuple[TrialProgress, ...] = ()
    halt: str | None = None
    warnings: tuple[str, ...] = ()
    new_points: tuple[NewPoints, ...] = ()
