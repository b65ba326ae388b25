"""From what a trial found to the rows of the tables."""

from __future__ import annotations

import dataclasses
import socket

import torch

from jobs.records import Crossing
from jobs.trial import TrialResult
from orchestrator.engine.work import Assignment, Provenance
from orchestrator.ledger import Row, utc


@dataclasses.dataclass(frozen=True)
class Finished:
    """A trial that ended with a result, and when (in seconds since the epoch).

    ``wall_s`` are the seconds that were spent on it. A trial that was computed together with K − 1
    others counts a K-th of that time, so that the sum over trials is what workers were busy.
    """

    assignment: Assignment
    result: TrialResult
    device: str
    world_size: int
    started_at: float
    finished_at: float
    wall_s: float


def trial_rows(finished: Finished, provenance: Provenance) -> list[Row]:
    """One row of ``trials`` per threshold."""
    trial, assignment = finished.assignment.trial, finished.assignment
    origin = dataclasses.asdict(provenance)
    del origin["restart_count"]
    shared: Row = {
        "trial_id": trial.trial_id,
        "column_id": assignment.column_id,
        "kind": trial.kind,
        **dataclasses.asdict(trial.problem),
        "init_hash": finished.result.init_hash,
        "data_digest": finished.result.data_digest,
        "init_sharpness": finished.result.init_sharpness,
        "eta": trial.learning_rate,
        "eta_unit": assignment.asked.unit if assignment.asked else None,
        "eta_multiple": assignment.asked.multiple if assignment.asked else None,
        "attempt": assignment.attempt,
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
        for crossing in finished.result.crossings
    ]


def _own(crossing: Crossing) -> Row:
    """The columns of a row that the crossing has itself."""
    columns = dataclasses.asdict(crossing)
    del columns["measures"]
    return columns


def _critical(finished: Finished, crossing: Crossing) -> Row:
    """s_gf and η_c of the row's own threshold; NULL where the flow did not reach it."""
    trial, flow = finished.assignment.trial, finished.assignment.flow
    if flow is not None:
        sharpness = flow.sharpness.get(crossing.epsilon)
    else:
        sharpness = crossing.max_sharpness if crossing.status == "reached" else None
    eta_c = 2 / sharpness if sharpness else None
    eta = trial.learning_rate
    return {
        "s_gf": sharpness,
        "eta_c": eta_c,
        "eta_over_eta_c": eta / eta_c if eta is not None and eta_c is not None else None,
    }


def trajectory_rows(finished: Finished) -> list[Row]:
    """One row of ``trajectories`` per recorded step."""
    names = _names(finished)
    return [{**names, **dataclasses.asdict(point)} for point in finished.result.trajectory]


def measure_rows(finished: Finished) -> list[Row]:
    """One row of ``measures`` per further number; none where none was asked for."""
    names = _names(finished)
    return [
        {**names, "epsilon": crossing.epsilon, **dataclasses.asdict(measured)}
        for crossing in finished.result.crossings
        for measured in crossing.measures
    ]


def _names(finished: Finished) -> Row:
    return {
        "trial_id": finished.assignment.trial.trial_id,
        "column_id": finished.assignment.column_id,
        "attempt": finished.assignment.attempt,
    }
