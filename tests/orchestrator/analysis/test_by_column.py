"""Rows of trials in the units of GD, each column with its flow: what the analysis begins with."""

from __future__ import annotations

import pyarrow as pa
import pytest

from orchestrator.analysis import by_column
from orchestrator.analysis.crossings import read
from orchestrator.store import TRIALS

FLOW = {"trial_id": "f", "column_id": "gd", "kind": "flow", "flow_id": "f", "status": "reached"}
FLOW |= {
    "epsilon": 0.1,
    "sharpness": 40.0,
    "s_gf": 50.0,
    "eta_c": 0.04,
    "sharpness_converged": True,
}


def gd(column_id, optimizer, momentum=None, **values):
    row = {"trial_id": f"{column_id}-1", "kind": "gd", "status": "reached", "flow_id": "f"}
    row |= {"column_id": column_id, "optimizer": optimizer, "momentum": momentum, "epsilon": 0.1}
    row |= {"eta": 0.1, "sharpness": 20.0, "preconditioned_sharpness": 20.0}
    return row | {"sharpness_converged": True} | values


def table(*rows):
    return pa.Table.from_pylist([dict(row) for row in rows], schema=TRIALS)


def rows_of(found, column_id):
    rows = [row for row in found.to_pylist() if row["column_id"] == column_id]
    return {row["kind"]: row for row in rows}


def test_rows_of_gd_alone_stay_as_they_are_but_for_the_name_of_gd():
    before = table(FLOW, gd("gd", None), gd("gd", "gd", trial_id="gd-2"))
    found = by_column(before)
    assert found["optimizer"].to_pylist() == ["gd"] * 3
    assert found.drop(["optimizer"]).equals(before.drop(["optimizer"]))


@pytest.mark.parametrize(
    ("optimizer", "momentum", "edge"),
    [("heavy_ball", 0.5, 3.0), ("nesterov", 0.5, 1.5), ("heavy_ball", 0.9, 3.8)],
)
def test_with_momentum_a_column_has_the_flow_of_another_in_its_own_units(optimizer, momentum, edge):
    found = by_column(table(FLOW, gd("gd", "gd"), gd("other", optimizer, momentum)))
    flow, descent = (rows_of(found, "other")[kind] for kind in ("flow", "gd"))
    assert (flow["trial_id"], flow["optimizer"], flow["momentum"]) == ("f", optimizer, momentum)
    assert flow["s_gf"] == pytest.approx(50 * 2 / edge)
    assert flow["sharpness"] == pytest.approx(40 * 2 / edge)
    assert flow["eta_c"] == pytest.approx(edge / 50)
    assert descent["sharpness"] == pytest.approx(20 * 2 / edge)  # 2χ/η
    assert rows_of(found, "gd")["flow"] == {**FLOW, **rows_of(found, "gd")["flow"]}
    places, rows = read(found)
    assert sorted(places.predicted) == pytest.approx(sorted([0.04, edge / 50]))
    assert len(rows.eta) == 2


def test_adaptive_optimisers_have_their_own_sharpness_and_no_prediction():
    adam = gd("adam", "adam", 0.9, beta2=0.999, damping=1e-8, preconditioned_sharpness=380.0)
    found = by_column(table(FLOW, gd("gd", "gd"), adam))
    flow, descent = (rows_of(found, "adam")[kind] for kind in ("flow", "gd"))
    assert (flow["sharpness"], flow["s_gf"], flow["eta_c"]) == (None, None, None)
    assert descent["sharpness"] == pytest.approx(380 * 2 / 38)


def test_a_flow_has_the_optimiser_of_the_column_that_computed_it():
    found = by_column(table({**FLOW, "column_id": "other"}, gd("other", "heavy_ball", 0.5)))
    assert len(found) == 2
    assert rows_of(found, "other")["flow"]["optimizer"] == "heavy_ball"


def test_columns_with_a_start_have_their_flow_and_no_rows_without_one():
    child = gd("child", "gd", start="2 η_c, ε = 0.1", trial_id="c")
    lost = gd("lost", "gd", start="9 η_c, ε = 0.1", trial_id="l", status="no_start")
    found = by_column(table(FLOW, gd("gd", "gd"), child, lost))
    assert rows_of(found, "child")["flow"]["start"] == "2 η_c, ε = 0.1"
    assert rows_of(found, "child")["flow"]["s_gf"] == 50
    assert not rows_of(found, "lost")
