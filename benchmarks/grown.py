"""Run directories as sweeps of any size leave them: real names and files, invented results."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.spec import Trial
from orchestrator import sweep as sweeps
from orchestrator.ledger import part_name
from orchestrator.store import create, write_bytes_whole, write_part
from orchestrator.sweep import Column, Sweep

RATES = 16
TRIALS_A_COLUMN = 1 + RATES
RECORDED_STEPS = 20
"""Rows of ``trajectories`` a trial: a real one has one every ``measure.trajectory_every`` steps."""

SHARPNESS = 50.0
"""Of every flow at the smallest threshold, so that η_c = 0.04 lays the grids."""

_START = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
_TIMES = {"started_at": _START, "finished_at": _START + datetime.timedelta(seconds=20)}
_RESULT = {
    "sweep": "grown",
    "eta_c": 2 / SHARPNESS,
    "s_gf": SHARPNESS,
    "status": "reached",
    "steps": 1000,
    "time": 3.0,
    "sharpness": SHARPNESS,
    "max_sharpness": SHARPNESS,
    "hvps": 300,
    "gradients": 1000,
    "attempt": 1,
    **_TIMES,
    "wall_s": 20.0,
    "hostname": "node",
    "device": "cpu",
    "world_size": 1,
}

Part = Sequence[tuple[Column, Trial]]


def sweep_text(columns: int) -> str:
    """A sweep of so many columns: one small network from so many seeds."""
    return f"""
name: grown
problem: {{dataset: digits, n_train: 50, width: 8, depth: 1, seed: {list(range(columns))}}}
eta: {{unit: eta_c, values: {{geometric: [0.25, 1.9, {RATES}]}}, stop_after_divergences: null}}
stop: {{epsilon: [0.1, 0.05, 0.02], max_steps: 100000}}
"""


def columns_for(trials: int) -> int:
    """How many columns hold about so many trials."""
    return max(1, round(trials / TRIALS_A_COLUMN))


def prepared(run: Path, columns: int) -> Sweep:
    """A run directory with its sweep and no results."""
    sweep = sweeps.parse(sweep_text(columns))
    create(run)
    write_bytes_whole(run / "sweep.yaml", sweeps.dump(sweep).encode())
    return sweep


def settle(run: Path, columns: Sequence[Column], trials_a_part: int) -> int:
    """Write the rows of all trials of these columns, so many trials a file; returns their number.

    Each file is flushed to its disk; in memory (``TMPDIR=/dev/shm``) that costs nothing.
    """
    trials = ((column, trial) for column in columns for trial in _trials(column))
    count = 0
    while part := list(itertools.islice(trials, trials_a_part)):
        name = part_name([(trial.trial_id, 1) for _, trial in part])
        write_part(run, "trajectories", name, _steps(part))
        write_part(run, "trials", name, _rows(part))
        write_part(run, "attempts", name, _attempts(part))
        count += len(part)
    return count


def _trials(column: Column) -> Iterator[Trial]:
    yield column.flow()
    yield from map(column.at, column.learning_rates(2 / SHARPNESS))


def _rows(part: Part) -> pa.Table:
    epsilons = part[0][1].protocol.epsilons
    each = [(column, trial) for column, trial in part for _ in epsilons]
    problem = part[0][1].problem
    return _table(
        len(each),
        {
            "trial_id": [trial.trial_id for _, trial in each],
            "column_id": [column.column_id for column, _ in each],
            "kind": [trial.kind for _, trial in each],
            "seed": [trial.problem.seed for _, trial in each],
            "eta": pa.array([trial.learning_rate for _, trial in each], pa.float64()),
            "epsilon": list(epsilons) * len(part),
        },
        {name: value for name, value in vars(problem).items() if name != "seed"} | _RESULT,
    )


def _steps(part: Part) -> pa.Table:
    each = [(column, trial) for column, trial in part for _ in range(RECORDED_STEPS)]
    return _table(
        len(each),
        {
            "trial_id": [trial.trial_id for _, trial in each],
            "column_id": [column.column_id for column, _ in each],
            "step": list(range(RECORDED_STEPS)) * len(part),
        },
        {"time": 0.1, "train_loss": 0.05, "sharpness": SHARPNESS, "attempt": 1},
    )


def _attempts(part: Part) -> pa.Table:
    same = {"attempt": 1, "outcome": "settled", "hostname": "node", **_TIMES}
    names = {
        "trial_id": [trial.trial_id for _, trial in part],
        "column_id": [column.column_id for column, _ in part],
    }
    return _table(len(part), names, same)


def _table(rows: int, columns: dict[str, Any], same: dict[str, Any]) -> pa.Table:
    return pa.table({**columns, **{name: pa.repeat(value, rows) for name, value in same.items()}})
