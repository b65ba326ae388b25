"""The growth of the norm, taken apart, from rows with known answers."""

import pyarrow as pa
import pytest

from orchestrator.analysis import by_column
from orchestrator.analysis.growth import READ, growth_table
from orchestrator.store import TRIALS


def row(kind, eta, l1_norm, test_loss, *, epsilon=0.1, **changes):
    shared = {"column_id": "a" if kind != "central" else "b", "flow_id": "f", "status": "reached"}
    shared |= {"optimizer": None if kind == "flow" else "gd", "trial_id": f"{kind} {eta}"}
    if kind == "flow":
        shared["trial_id"] = "f"
    measured = {"l1_norm": l1_norm, "test_loss": test_loss, "sharpness": 2 / (eta or 0.1)}
    rest = {"eta_over_eta_c": eta and eta / 0.1, "steps": 100, "time": 15.0}
    return {**shared, **measured, **rest, "kind": kind, "eta": eta, "epsilon": epsilon} | changes


def table(*rows):
    schema = pa.schema([TRIALS.field(name) for name in READ])
    return pa.Table.from_pylist(list(rows), schema=schema)


FLOW = row("flow", None, 100.0, 0.5)
GD, CENTRAL = row("gd", 0.2, 110.0, 0.4), row("central", 0.2, 107.0, 0.42)


def test_the_parts_are_those_up_to_the_central_flow_and_up_to_gd() -> None:
    (found,) = growth_table(table(FLOW, GD, CENTRAL)).to_pylist()
    assert (found["growth"], found["growth_central"], found["growth_oscillation"]) == (10, 7, 3)
    assert found["central_share"] == pytest.approx(0.7)
    assert (found["l1_flow"], found["l1_central"], found["l1_gd"]) == (100, 107, 110)
    losses = ("test_loss_flow", "test_loss_central", "test_loss_gd")
    assert [found[name] for name in losses] == [0.5, 0.42, 0.4]
    assert (found["column_id"], found["trial_id"], found["central_id"]) == (
        "a", "gd 0.2", "central 0.2"
    )  # fmt: skip
    assert found["steps_central"] == pytest.approx(75.0)


def test_a_norm_that_did_not_grow_has_no_share() -> None:
    (found,) = growth_table(table(FLOW, GD | {"l1_norm": 99.0}, CENTRAL)).to_pylist()
    assert found["central_share"] is None
    assert found["growth"] == -1


@pytest.mark.parametrize(
    "rows",
    [
        (FLOW, GD),
        (GD, CENTRAL),
        (FLOW, CENTRAL),
        (FLOW, GD, CENTRAL | {"status": "unsolved"}),
        (FLOW, GD | {"status": "diverged"}, CENTRAL),
        (FLOW, GD, CENTRAL | {"eta": 0.3}),
        (FLOW, GD, CENTRAL | {"epsilon": 0.2}),
        (FLOW, GD, CENTRAL | {"flow_id": "g"}),
        (FLOW, GD | {"start": "2 η_c, ε = 0.1"}, CENTRAL),
        (FLOW, GD | {"optimizer": "nesterov"}, CENTRAL),
    ],
)
def test_where_one_of_the_three_is_missing_there_is_no_row(rows) -> None:
    assert len(growth_table(table(*rows))) == 0


def test_central_flows_are_no_runs_of_gd_for_the_rest_of_the_analysis() -> None:
    kinds = by_column(pa.Table.from_pylist([FLOW, GD, CENTRAL], schema=TRIALS))["kind"]
    assert kinds.to_pylist() == ["flow", "gd"]
