"""What is handed to a trial actor: one trial or several, and all it must know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jobs.records import Point
from jobs.spec import Trial
from orchestrator.engine.data_read import Data, Read
from orchestrator.plan import NOTHING_SETTLED, FlowSummary, SettledTrials
from orchestrator.sweep import AskedRate, Resources


@dataclass(frozen=True)
class Assignment:
    """One trial to run, as its ``attempt``-th try.

    ``flow`` is what the column's flow said, and ``asked`` the learning rate as the sweep file has
    it; both None for a flow. A trial with a ``pack_size`` is computed in a pack of at most so many,
    be it a pack of one; one without, by itself.
    """

    trial: Trial
    column_id: str
    attempt: int
    flow: FlowSummary | None
    pack_size: int = 0
    asked: AskedRate | None = None


@dataclass(frozen=True)
class Provenance:
    """Where numbers come from; the same for all trials of a run."""

    sweep: str
    version: str
    git_commit: str | None
    git_dirty: bool | None
    slurm_job_id: str | None
    restart_count: int | None


@dataclass(frozen=True)
class Work:
    """Assignments that one Tune trial carries out: those of a pack together, others in turn.

    The actor stops at a step's edge when ``stop_file`` appears, and reports every
    ``report_seconds``, recorded points too if it is ``logged``. Each of its processes may use
    ``memory`` bytes; None leaves that to the trial. ``data`` is what trials before it read. None of
    them runs on a node that is ``avoided``, by Ray's names.
    """

    run: Path
    assignments: tuple[Assignment, ...]
    resources: Resources
    provenance: Provenance
    stop_file: Path
    report_seconds: float
    memory: int | None
    logged: bool = False
    data: Mapping[Data, Read] = field(default_factory=dict)
    avoided: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.assignments[0].trial.trial_id

    __repr__ = __str__


def checkpoint_path(run: Path, trial: Trial) -> Path:
    """Where a trial's checkpoint lies, whoever writes it or takes it up."""
    return run / "checkpoints" / f"{trial.trial_id}.safetensors"


@dataclass(frozen=True)
class Running:
    """How far a trial has come that an actor is working on."""

    trial_id: str
    column_id: str
    step: int
    loss: float
    learning_rate: float | None
    eta_over_final_eta_c: float | None


@dataclass(frozen=True)
class Recorded:
    """What a trial has recorded since the last report, for those who watch.

    An actor that resumes a checkpoint reports the steps before it once more. With ``ended``, the
    trial has settled.
    """

    trial_id: str
    points: tuple[Point, ...]
    ended: bool


@dataclass(frozen=True)
class Report:
    """What an actor has to say after a slice of work."""

    settled: SettledTrials = NOTHING_SETTLED
    failed: tuple[str, ...] = ()
    running: tuple[Running, ...] = ()
    halt: str | None = None
    warnings: tuple[str, ...] = ()
    recorded: tuple[Recorded, ...] = ()
