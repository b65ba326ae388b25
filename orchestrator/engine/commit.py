"""Putting finished trials into the tables: each part file whole, in an order that kills survive."""

from __future__ import annotations

import dataclasses
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from jobs.kept_states import NOTHING, Keep
from jobs.records import Crossing, Point, TrialResult
from orchestrator.engine.work import (
    Assignment,
    NewPoints,
    Provenance,
    Report,
    TrialProgress,
    Work,
    checkpoint_path,
)
from orchestrator.ledger import Row, attempt_row, part_name, settled_trials_of_rows, unmark, utc
from orchestrator.plan import SettledTrials, newest
from orchestrator.store import TRAINING_FIELDS, write_part
from orchestrator.store.states import state_path

COMMIT_SECONDS = 1.0
"""Trials of a work that ended within this time are committed together, in one part file."""


@dataclasses.dataclass(frozen=True)
class FinishedTrial:
    """A trial that ended with a result, and when (in seconds since the epoch); ``why`` it has no
    numbers, where it had no start, or why a central flow could not go on.

    ``wall_s`` are the seconds that were spent on it. A trial that was computed together with K − 1
    others counts a K-th of that time, so that the sum over trials is the time of busy workers.
    """

    assignment: Assignment
    result: TrialResult
    device: str
    world_size: int
    started_at: float
    finished_at: float
    wall_s: float
    keep: Keep = NOTHING
    why: str | None = None

    @property
    def key(self) -> Row:
        """The columns that all tables share."""
        return {
            "trial_id": self.assignment.trial.trial_id,
            "column_id": self.assignment.column_id,
            "attempt": self.assignment.attempt,
        }


def commit(run: Path, finished: Sequence[FinishedTrial], provenance: Provenance) -> SettledTrials:
    """Write the rows of finished trials, one part file a table, then remove marks and checkpoints.

    A table gets no file where nothing was asked for. ``trials`` is written after the others: a
    trial counts as settled when its rows are there, and then nothing of it is missing. The
    attempts come last; those that a kill leaves out are known by their marks.
    """
    rows = [row for one in finished for row in trial_rows(one, provenance)]
    measures = [row for one in finished for row in measure_rows(one)]
    spectra = [row for one in finished for row in spectrum_rows(one)]
    states = [row for one in finished for row in state_rows(run, one)]
    name = part_name([(one.key["trial_id"], one.assignment.attempt) for one in finished])
    write_part(run, "trajectories", name, [row for f in finished for row in trajectory_rows(f)])
    if measures:
        write_part(run, "measures", name, measures)
    if spectra:
        write_part(run, "spectra", name, spectra)
    if states:
        write_part(run, "states", name, states)
    write_part(run, "trials", name, rows)
    write_part(run, "attempts", name, [_settled_row(one, provenance) for one in finished])
    for one in finished:
        unmark(run, one.key["trial_id"])
        checkpoint_path(run, one.assignment.trial).unlink(missing_ok=True)
    return settled_trials_of_rows(rows)


def trial_rows(finished: FinishedTrial, provenance: Provenance) -> list[Row]:
    """One row of ``trials`` per threshold."""
    trial, asked, result = finished.assignment.trial, finished.assignment.asked, finished.result
    origin = dataclasses.asdict(provenance)
    del origin["restart_count"]
    shared: Row = {
        **finished.key,
        "kind": trial.kind,
        **dataclasses.asdict(trial.problem),
        **_of_training(finished),
        "flow_id": trial.flow_id,
        "init_hash": result.init_hash,
        "data_digest": result.data_digest,
        "init_sharpness": result.init_sharpness,
        "eta": trial.learning_rate,
        "eta_unit": asked.unit if asked else None,
        "eta_multiple": asked.multiple if asked else None,
        "started_at": utc(finished.started_at),
        "finished_at": utc(finished.finished_at),
        "wall_s": finished.wall_s,
        "hostname": socket.gethostname(),
        "device": finished.device,
        "world_size": finished.world_size,
        "torch_version": torch.__version__,
        **origin,
    }
    return [
        {**shared, **_own(crossing), **_critical(finished, crossing)}
        for crossing in result.crossings
    ]


def _of_training(finished: FinishedTrial) -> Row:
    """The columns that say how the trial was trained, and from where; NULL of a flow."""
    trial, start_step = finished.assignment.trial, finished.result.start_step
    parent = None if trial.start is None else trial.start.parent.trial_id
    of_start = {"parent_id": parent, "start_step": start_step}
    if trial.kind == "flow":
        return {**dict.fromkeys(TRAINING_FIELDS), **of_start}
    return {**trial.optimizer.columns, "start": finished.assignment.begins, **of_start}


def _own(crossing: Crossing) -> Row:
    """The columns of a row that the crossing has itself."""
    columns = dataclasses.asdict(crossing)
    del columns["measures"]
    return columns


def _critical(finished: FinishedTrial, crossing: Crossing) -> Row:
    """s_gf and η_c of the row's own threshold; NULL where the flow did not reach it."""
    trial, flow = finished.assignment.trial, finished.assignment.flow
    if flow is not None:
        sharpness = flow.sharpness.get(crossing.epsilon)
    else:
        sharpness = crossing.max_sharpness if crossing.status == "reached" else None
    eta_c = trial.optimizer.critical_rate(sharpness) if sharpness else None
    eta = trial.learning_rate
    return {
        "s_gf": sharpness,
        "eta_c": eta_c,
        "eta_over_eta_c": eta / eta_c if eta is not None and eta_c is not None else None,
    }


def trajectory_rows(finished: FinishedTrial) -> list[Row]:
    """One row of ``trajectories`` per recorded step."""
    return [{**finished.key, **dataclasses.asdict(point)} for point in finished.result.trajectory]


def measure_rows(finished: FinishedTrial) -> list[Row]:
    """One row of ``measures`` per further number; none where none was asked for."""
    return [
        {**finished.key, "epsilon": crossing.epsilon, **dataclasses.asdict(measured)}
        for crossing in finished.result.crossings
        for measured in crossing.measures
    ]


def spectrum_rows(finished: FinishedTrial) -> list[Row]:
    """One row of ``spectra`` per leading eigenvalue at a recorded step."""
    return [
        {
            **finished.key,
            "step": one.step,
            "rank": rank,
            "eigenvalue": value,
            "residual": residual,
        }
        for one in finished.result.spectra
        for rank, (value, residual) in enumerate(zip(one.values, one.residuals, strict=True), 1)
    ]


def state_rows(run: Path, finished: FinishedTrial) -> list[Row]:
    """One row of ``states`` per threshold and number of steps whose state is kept, and there."""
    trial, result, keep = finished.assignment.trial, finished.result, finished.keep
    wanted: list[tuple[float | None, int, float]] = []
    if keep.thresholds:
        reached = (crossing for crossing in result.crossings if crossing.status == "reached")
        wanted += [(crossing.epsilon, crossing.steps, crossing.time) for crossing in reached]
    if trial.step_time is not None:
        last = result.crossings[-1].steps
        wanted += [(None, step, trial.step_time * step) for step in keep.steps if step <= last]
    rows = []
    for epsilon, step, when in wanted:
        path = state_path(run, trial.trial_id, step)
        if path.is_file():  # not if it began before states were to be kept
            place = {"epsilon": epsilon, "step": step, "time": when}
            rows.append({**finished.key, **place, "file": path.name, "bytes": path.stat().st_size})
    return rows


def _settled_row(finished: FinishedTrial, provenance: Provenance) -> Row:
    return attempt_row(
        **finished.key,
        outcome="settled",
        hostname=socket.gethostname(),
        started_at=utc(finished.started_at),
        finished_at=utc(finished.finished_at),
        slurm_job_id=provenance.slurm_job_id,
        restart_count=provenance.restart_count,
        error=finished.why
        or next((row.reason for row in finished.result.crossings if row.reason), None),
    )


class PendingReport:
    """What a worker reports next of a work. A finished trial is reported when its rows are written.

    Args:
        work: what the worker carries out.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._finished: list[FinishedTrial] = []
        self._settled: list[SettledTrials] = []
        self._failed: list[str] = []
        self._warnings: list[str] = []
        self._new_points: list[NewPoints] = []
        self._points_reported: dict[str, int] = {}
        self._last_commit = time.monotonic()

    def settle(self, finished: FinishedTrial) -> None:
        """Add a finished trial; its rows are still to be written."""
        self._finished.append(finished)

    def fail(self, trial_id: str) -> None:
        """Add a failed attempt, which is on record already."""
        self._failed.append(trial_id)

    def warn(self, message: str) -> None:
        """Add a warning to the user."""
        self._warnings.append(message)

    def commit(self) -> None:
        """Write the rows of the finished trials."""
        if self._finished:
            self._settled.append(commit(self._work.run, self._finished, self._work.provenance))
            for one in self._finished:
                self._add_points(one.key["trial_id"], one.result.trajectory, ended=True)
            self._finished = []
        self._last_commit = time.monotonic()

    def commit_when_due(self) -> None:
        """Commit, unless that was done within the last second."""
        if time.monotonic() - self._last_commit > COMMIT_SECONDS:
            self.commit()

    def take(
        self,
        running: Sequence[TrialProgress],
        trajectories: Mapping[str, Sequence[Point]],
        halt: str | None,
    ) -> Report:
        """The report, with the running trials and what they have recorded so far; starts a new one.

        ``halt`` is why no other trial can be computed, if that is so.
        """
        for trial_id, trajectory in trajectories.items():
            self._add_points(trial_id, trajectory, ended=False)
        report = Report(
            newest(self._settled),
            tuple(self._failed),
            tuple(running),
            halt,
            tuple(self._warnings),
            tuple(self._new_points),
        )
        self._settled, self._failed, self._warnings, self._new_points = [], [], [], []
        return report

    def _add_points(self, trial_id: str, trajectory: Sequence[Point], *, ended: bool) -> None:
        """Add what a trial has recorded since the last report."""
        if not self._work.logged:
            return
        known = self._points_reported.get(trial_id, 0)
        # A trial that went back to its checkpoint records some steps again, which are known.
        new = tuple(trajectory[known:])
        if new or ended:
            self._new_points.append(NewPoints(trial_id, new, ended))
        self._points_reported[trial_id] = max(known, len(trajectory))
