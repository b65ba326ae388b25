"""Seconds and memory that the analysis of single columns takes on synthetic trials, without I/O.

    python benchmarks/phases.py [--columns 50000]

Each column has a flow and 19 GD runs with 1 % noise; five seeds are a problem. It prints the share
of 95 % intervals that hold the true η_c, too.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import pyarrow as pa
from script import parse, table

from orchestrator.analysis.crossings import read
from orchestrator.analysis.phase import phase_table
from orchestrator.analysis.valleys import over_seeds
from orchestrator.store import COLUMN_FIELDS, TRIALS

RUNS, SEEDS = 20, 5


def trials(columns: int) -> tuple[pa.Table, np.ndarray]:
    """The trials, and the true η_c of each column."""
    random, n = np.random.default_rng(0), columns * RUNS
    column, number = np.repeat(np.arange(columns), RUNS), np.tile(np.arange(RUNS), columns)
    true = 0.1 * np.exp(random.standard_normal(columns))
    ratio = np.geomspace(0.25, 4, RUNS - 1)[np.maximum(number - 1, 0)]
    is_gd = number > 0
    eta = ratio * true[column]
    bend = np.where(is_gd, np.maximum(eta, true[column]), true[column])
    names = pa.array([f"{k:016x}" for k in range(columns)]).take(pa.array(column))
    known = {
        "trial_id": pa.array([f"{k:016x}" for k in range(n)]),
        "column_id": names,
        "epsilon": pa.array(np.full(n, 0.1)),
        "kind": pa.array(np.where(is_gd, "gd", "flow")),
        "status": pa.array(np.where(is_gd & (random.random(n) < 0.05), "diverged", "reached")),
        "eta": pa.array(eta, mask=~is_gd),
        "s_gf": pa.array(2 / true[column]),
        "sharpness": pa.array(2 / bend * np.exp(0.01 * random.standard_normal(n))),
        "sharpness_converged": pa.array(np.ones(n, dtype=bool)),
        "l1_norm": pa.array(50 + np.maximum(0, ratio - 1) + random.standard_normal(n)),
        "test_loss": pa.array(1 + np.log(ratio / 2) ** 2 + 0.05 * random.standard_normal(n)),
    }
    problem = {name: pa.nulls(n, TRIALS.field(name).type) for name in COLUMN_FIELDS}
    problem |= {"seed": pa.array(column % SEEDS), "n_train": pa.array(column // SEEDS)}
    return pa.table(known | problem), true


def main() -> None:
    """Print a table of one row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--columns", type=int, default=50_000)
    rows, true = trials(parse(parser, columns=20).columns)
    started = time.perf_counter()
    places, gd = read(rows)
    found, _ = over_seeds(rows, places, gd)
    phase = phase_table(places, gd, found)
    seconds = time.perf_counter() - started
    low, high = (phase[f"eta_c_fitted_{end}"].to_numpy() for end in ("low", "high"))
    held = np.mean((low <= true) & (true <= high))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    heads = ["rows of trials", "columns", "s", "peak GiB, with the trials", "intervals with η_c"]
    cells = [f"{seconds:.2f}", f"{peak:.2f}", f"{held:.1%}"]
    table(heads, [[str(len(rows)), str(len(phase)), *cells]])


if __name__ == "__main__":
    main()
