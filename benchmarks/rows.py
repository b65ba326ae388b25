"""A run directory of any size, made without computing a trial: the rows follow the theory.

A column is one flow and 31 learning rates, each with three thresholds. Below η_c the sharpness is
that of the flow, above it 2/η, and far above it GD diverges. All follows from the numbers of column
and trial, so that two runs of one size hold the same rows. Values keep 18 bits of their mantissa:
they compress better than measured ones, and 10⁸ rows fit on a disk.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from orchestrator.store import create, write_part

Floats = npt.NDArray[np.float64]

EPSILONS = (0.1, 0.05, 0.02)
FACTORS = np.geomspace(0.25, 4.0, 31)
A_COLUMN = 1 + len(FACTORS)
A_BATCH = 16
EVERY = 50
"""Steps between two rows of a trajectory; the sharpness is in each fourth of them."""

_AXES: dict[str, tuple[Any, ...]] = {
    "n_train": (500, 1000, 2000),
    "width": (32, 64, 128, 256, 512),
    "depth": (2, 3, 4),
    "activation": ("tanh", "relu"),
    "loss": ("mse", "ce"),
    "parameterization": ("standard", "mup"),
    "init_scale": (0.5, 1.0),
}
_PROBLEMS = [dict(zip(_AXES, values, strict=True)) for values in itertools.product(*_AXES.values())]
_START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Size:
    """So many rows of trials, of trajectories, and files of each table."""

    trial_rows: int
    trajectory_rows: int
    parts: int

    @property
    def trials(self) -> int:
        """Trials, of which each has a row for every threshold."""
        return max(A_COLUMN, self.trial_rows // len(EPSILONS))

    @property
    def points(self) -> int:
        """Rows of one trajectory."""
        return max(1, self.trajectory_rows // self.trials)


def make(run: Path, size: Size, workers: int = 2) -> None:
    """Write the parts of all tables; a part holds batches of far columns."""
    create(run)
    batches = np.array_split(np.arange(size.trials), -(-size.trials // A_BATCH))
    order = np.random.default_rng(0).permutation(len(batches))
    shares = np.array_split(order, size.parts)
    with ProcessPoolExecutor(workers) as pool:
        trials = [np.concatenate([batches[one] for one in share]) for share in shares if len(share)]
        names = [f"part-{number:05}" for number in range(len(trials))]
        list(pool.map(_write, itertools.repeat(run), names, trials, itertools.repeat(size.points)))


def repeat(run: Path, size: Size, trials: int, parts: int) -> None:
    """Write a second attempt of so many trials, as after a job that was lost and came back."""
    chosen = np.random.default_rng(1).choice(size.trials, trials, replace=False)
    for number, share in enumerate(np.array_split(chosen, parts)):
        _write(run, f"repeated-{number:05}", share, size.points, attempt=2)


def column_id(column: int) -> str:
    """The id of the column with this number."""
    return hashlib.blake2b(f"column {column}".encode(), digest_size=8).hexdigest()


def _trial_id(trial: int) -> str:
    return hashlib.blake2b(f"trial {trial}".encode(), digest_size=8).hexdigest()


def _write(
    run: Path, name: str, trials: npt.NDArray[np.int64], points: int, attempt: int = 1
) -> None:
    facts = _Facts(trials)
    ids = pa.array([_trial_id(int(trial)) for trial in trials])
    columns = pa.array([column_id(int(column)) for column in facts.column])
    steps = _trajectories(facts, points)
    _write_one(run, "trajectories", name, ids, columns, attempt, points, steps)
    _write_one(run, "trials", name, ids, columns, attempt, len(EPSILONS), _trials(facts))
    started = [_START + datetime.timedelta(seconds=int(trial)) for trial in trials]
    ended = [moment + datetime.timedelta(seconds=20) for moment in started]
    tries = {
        "trial_id": ids,
        "attempt": np.full(len(trials), attempt),
        "outcome": ["settled"] * len(trials),
        "hostname": ["node-1"] * len(trials),
        "restart_count": np.zeros(len(trials), dtype=np.int64),
        "started_at": pa.array(started),
        "finished_at": pa.array(ended),
    }
    write_part(run, "attempts", name, pa.table(tries))


def _write_one(
    run: Path,
    table: str,
    name: str,
    ids: pa.Array,
    columns: pa.Array,
    attempt: int,
    each: int,
    values: dict[str, Any],
) -> None:
    places = np.repeat(np.arange(len(ids)), each)
    keys = {
        "trial_id": ids.take(pa.array(places)),
        "column_id": columns.take(pa.array(places)),
        "attempt": np.full(len(places), attempt),
    }
    write_part(run, table, name, pa.table({**keys, **values}))


class _Facts:
    """What is known of trials, one entry each."""

    def __init__(self, trials: npt.NDArray[np.int64]) -> None:
        self.trial = trials
        self.column = trials // A_COLUMN
        self.number = trials % A_COLUMN
        self.is_flow = self.number == 0
        self.problem = [_PROBLEMS[int(column) % len(_PROBLEMS)] for column in self.column]
        self.seed = self.column // len(_PROBLEMS)
        noise = _noise(self.column)
        self.s_gf = np.asarray([20.0 * one["init_scale"] for one in self.problem]) * np.exp(noise)
        self.factor = np.where(self.is_flow, np.nan, FACTORS[self.number - 1])
        self.eta = self.factor * 2 / self.s_gf
        self.step_length = np.where(self.is_flow, 0.02 / self.s_gf, self.eta)
        self.diverged = self.factor > 3.5
        edge = 2 / self.step_length * (1 + 0.02 * _noise(trials))
        self.sharpness = np.where(self.factor > 1, edge, 0.97 * self.s_gf)


def _noise(numbers: npt.NDArray[np.int64]) -> Floats:
    """Between −0.5 and 0.5, the same for the same number."""
    noise: Floats = np.modf(np.sin(numbers * 12.9898 + 1.0) * 43758.5453)[0] / 2
    return noise


def _short(values: Floats) -> Floats:
    """With 18 bits of the mantissa."""
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
    short: Floats = (bits & ~((1 << 34) - 1)).view(np.float64)
    return short


def _trajectories(facts: _Facts, points: int) -> dict[str, Any]:
    step = np.arange(points) * EVERY
    share = np.linspace(0, 1, points)
    ripple = 1 + 0.01 * np.sin(37.0 * share[None, :] + facts.trial[:, None])
    loss = np.exp(-4.5 * share)[None, :] * ripple
    rise = facts.sharpness[:, None] * (0.3 + 0.7 * np.minimum(1, 2 * share))[None, :] * ripple
    norm = 10.0 * (1 + share)[None, :] * ripple
    measured = np.tile(np.arange(points) % 4 == 0, len(facts.trial))

    def numbers(values: Floats, mask: npt.NDArray[np.bool_] | None = None) -> pa.Array:
        return pa.array(_short(values.ravel()), mask=None if mask is None else ~mask)

    return {
        "step": np.tile(step, len(facts.trial)),
        "time": numbers(facts.step_length[:, None] * step[None, :]),
        "train_loss": numbers(loss),
        "test_loss": numbers(1.2 * loss + 0.05),
        "sharpness": numbers(rise, measured),
        "lambda_min": numbers(-0.1 * rise, measured),
        "l1_norm": numbers(30 * norm),
        "l2_norm": numbers(norm),
    }


def _trials(facts: _Facts) -> dict[str, Any]:
    each = len(EPSILONS)
    epsilon = np.tile(EPSILONS, len(facts.trial))
    shrink = np.tile(1 - 0.1 * np.asarray(EPSILONS), len(facts.trial))

    def spread(values: Any) -> Any:
        return np.repeat(np.asarray(values), each)

    def numbers(values: Floats, known: Any = None) -> pa.Array:
        missing = ~np.isfinite(values) if known is None else ~(known & np.isfinite(values))
        return pa.array(_short(values), mask=missing)

    reached = ~spread(facts.diverged)
    sharpness = spread(facts.sharpness) * shrink
    steps = (3000 / epsilon / 10 * (1 + 0.1 * spread(_noise(facts.trial)))).astype(np.int64)
    started = np.datetime64(_START.replace(tzinfo=None), "us") + spread(facts.trial) * 1_000_000
    moment = pa.timestamp("us", tz="UTC")
    fields = {name: spread([one[name] for one in facts.problem]) for name in _AXES}
    return {
        **fields,
        **_constant(len(epsilon)),
        "kind": spread(np.where(facts.is_flow, "flow", "gd")),
        "seed": spread(facts.seed),
        "init_hash": spread([column_id(int(column)) for column in facts.column]),
        "init_sharpness": numbers(spread(0.3 * facts.s_gf)),
        "eta": numbers(spread(facts.eta)),
        "eta_over_eta_c": numbers(spread(facts.factor)),
        "eta_c": numbers(spread(2 / facts.s_gf)),
        "s_gf": numbers(spread(facts.s_gf)),
        "epsilon": epsilon,
        "status": np.where(reached, "reached", "diverged"),
        "steps": steps,
        "time": numbers(steps * spread(facts.step_length)),
        "train_loss": numbers(epsilon, reached),
        "train_accuracy": numbers(1 - epsilon, reached),
        "test_loss": numbers(1.2 * epsilon + 0.05 / (1 + spread(facts.step_length)), reached),
        "test_accuracy": numbers(0.95 - epsilon, reached),
        "sharpness": numbers(sharpness, reached),
        "lambda_max": numbers(sharpness, reached),
        "lambda_min": numbers(-0.1 * sharpness, reached),
        "sharpness_residual": numbers(np.full_like(sharpness, 1e-4), reached),
        "sharpness_converged": pa.array(reached, mask=~reached),
        "lambda_min_residual": numbers(np.full_like(sharpness, 1e-3), reached),
        "lambda_min_converged": pa.array(reached, mask=~reached),
        "sharpness_mid": numbers(0.98 * sharpness, reached),
        "max_sharpness": numbers(1.02 * sharpness),
        "hvps": steps // EVERY * 12,
        "gradients": steps,
        "l1_norm": numbers(300 / (1 + spread(facts.step_length)), reached),
        "l2_norm": numbers(20 / (1 + spread(facts.step_length)), reached),
        "distance_from_init": numbers(5 * shrink, reached),
        "started_at": pa.array(started).cast(moment),
        "finished_at": pa.array(started + np.timedelta64(20, "s")).cast(moment),
        "wall_s": numbers(steps * 1e-3),
    }


def _constant(rows: int) -> dict[str, Any]:
    """What is the same in all rows."""
    words = {"sweep": "rows", "dataset": "mnist-mini", "architecture": "fcn", "dtype": "float32"}
    words |= {"hostname": "node-1", "device": "cpu", "version": "0", "torch_version": "2"}
    texts = {name: np.full(rows, word) for name, word in words.items()}
    return {**texts, "world_size": np.ones(rows, dtype=np.int64)}
