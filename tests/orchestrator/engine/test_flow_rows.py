"""What a plan reads off the rows of a flow after a restart is what the flow found."""

from __future__ import annotations

import pytest

from jobs import run_trial
from orchestrator.ledger import Ledger


def test_the_initial_sharpness_of_a_flow_is_that_of_its_first_step(bench, column) -> None:
    bench.settle_flow(seconds=1.0)
    ledger = Ledger(bench.path)
    plan = ledger.read([column]).column_at(0).plan
    first = ledger.store.table("trajectories", ["step", "sharpness"]).to_pylist()[0]
    assert first["step"] == 0
    assert plan.flow is not None
    assert plan.flow.init_sharpness == first["sharpness"]
    assert plan.flow.initial_rate() == pytest.approx(2 / first["sharpness"], rel=1e-15)
    # The initial point is the column's: gradient descent measures the same there.
    gd = run_trial(column.at(0.02), threads=1)
    assert gd.init_sharpness == pytest.approx(first["sharpness"], rel=2e-3)
