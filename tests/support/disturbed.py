"""The sweep whose jobs are disturbed, and its tables when they are not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from support.launching import Place, science
from support.runs import Run

SWEEP = """
name: disturbed
problem:
  {dataset: digits, n_train: 1000, width: 128, depth: 2, activation: tanh, loss: mse, seed: [0, 1]}
eta: {unit: absolute, values: [0.0005, 0.0006]}
stop: {epsilon: [0.05], max_steps: 600}
measure: {trajectory_every: 100}
resources: {checkpoint_seconds: 2}
"""


class Tables(NamedTuple):
    """Rows of trials and of trajectories, without provenance."""

    trials: list[dict[str, Any]]
    trajectories: list[dict[str, Any]]


def undisturbed(folder: Path) -> Tables:
    """The tables of the sweep, run in peace in this process."""
    run = Run(folder, SWEEP)
    run.run()
    return Tables(science(run.rows("trials")), science(run.rows("trajectories")))


def assert_undisturbed(here: Place, tables: Tables) -> None:
    """The run has these tables, settled each trial once, and nothing is left of its jobs."""
    assert science(here.rows("trials")) == tables.trials
    assert science(here.rows("trajectories")) == tables.trajectories
    settled = [row["trial_id"] for row in here.rows("attempts") if row["outcome"] == "settled"]
    assert max(Counter(settled).values()) == 1
    assert not list((here.run / "claims").glob("*.claim"))
    assert not list((here.run / "claims").glob("*.running"))
    assert not list((here.run / "slurm" / "rendezvous").glob("*"))
