"""``stop.max_time``: GD stops after a share of the flow's time; the flow is the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.in_process import rows_of, run_of

TEXT = """
name: bounded
problem: {dataset: digits, n_train: 40, width: 8, depth: 1, activation: tanh, loss: mse}
eta: {values: [0.5, 1.5]}
stop: {epsilon: [0.4, 0.2]}
measure: {trajectory_every: 10}
grids:
  - {}
  - stop: {max_time: flow 0.75}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of(tmp_path_factory.mktemp("max-time"), TEXT)


def test_gd_stops_after_that_share_of_the_time_of_the_flow(run: Path) -> None:
    (flow,) = rows_of(run, condition="kind = 'flow' AND epsilon = 0.2")
    rows = rows_of(run, condition="kind = 'gd' AND epsilon = 0.2")
    free = {row["eta"]: row for row in rows if row["status"] == "reached"}
    bounded = {row["eta"]: row for row in rows if row["status"] == "max_steps"}
    assert free.keys() == bounded.keys()
    assert len(free) == 2
    for eta, row in bounded.items():
        bound = 0.75 * flow["time"]
        assert bound <= row["time"] < bound + eta
        assert row["flow_id"] == flow["trial_id"]
    before = rows_of(run, condition="kind = 'gd' AND epsilon = 0.4 AND status = 'reached'")
    ends = {(row["eta"], row["steps"], row["sharpness"]) for row in before}
    assert (len(before), len(ends)) == (4, 2)  # what both reach is the same
