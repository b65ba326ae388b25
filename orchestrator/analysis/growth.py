"""The growth of the norm above η_c, taken apart: what the central flow has of it, and the rest.

GD at a rate above η_c ends at a larger ‖θ‖₁ than the gradient flow. The central flow at the same
rate has no oscillation, and stays at the edge as GD does: what its norm is larger by than that of
the flow is due to the bias towards flat minima, and what remains up to GD to the oscillation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.analysis.by_column import is_plain
from orchestrator.store import GROWTH

READ = (
    *("trial_id", "column_id", "kind", "status", "flow_id", "optimizer", "start", "epsilon"),
    *("eta", "eta_over_eta_c", "steps", "time", "l1_norm", "test_loss", "sharpness"),
)
"""What of ``trials`` this needs."""

Row = Mapping[str, Any]


def growth_table(trials: pa.Table) -> pa.Table:
    """A row per GD trial and ε with a central flow at the same η, as in
    :data:`orchestrator.store.GROWTH`; ``trials`` needs the columns :data:`READ`.
    """
    if not pc.any(pc.equal(trials["kind"], "central")).as_py():
        return GROWTH.empty_table()
    reached = trials.filter(pc.equal(trials["status"], "reached")).select(READ).to_pylist()
    flows = {(row["trial_id"], row["epsilon"]): row for row in reached if row["kind"] == "flow"}
    central = {_place(row): row for row in reached if row["kind"] == "central"}
    rows = sorted(
        _rows(reached, central, flows),
        key=lambda row: (row["column_id"], row["epsilon"], row["eta"]),
    )
    return pa.Table.from_pylist(rows, schema=GROWTH)


def _rows(
    reached: list[dict[str, Any]], central: Mapping[Any, Row], flows: Mapping[Any, Row]
) -> Iterator[dict[str, Any]]:
    for gd in reached:
        if gd["kind"] != "gd" or not is_plain(gd):
            continue
        average, flow = central.get(_place(gd)), flows.get((gd["flow_id"], gd["epsilon"]))
        if average is not None and flow is not None:
            yield _row(gd, average, flow)


def _place(row: Row) -> tuple[Any, ...]:
    return row["flow_id"], row["eta"], row["epsilon"]


def _row(gd: Row, central: Row, flow: Row) -> dict[str, Any]:
    growth, part = gd["l1_norm"] - flow["l1_norm"], central["l1_norm"] - flow["l1_norm"]
    return {
        **{name: gd[name] for name in ("column_id", "trial_id", "flow_id", "eta", "epsilon")},
        "central_id": central["trial_id"],
        "eta_over_eta_c": gd["eta_over_eta_c"],
        "l1_flow": flow["l1_norm"],
        "l1_central": central["l1_norm"],
        "l1_gd": gd["l1_norm"],
        "growth": growth,
        "growth_central": part,
        "growth_oscillation": gd["l1_norm"] - central["l1_norm"],
        "central_share": part / growth if growth > 0 else None,
        "test_loss_flow": flow["test_loss"],
        "test_loss_central": central["test_loss"],
        "test_loss_gd": gd["test_loss"],
        "sharpness_central": central["sharpness"],
        "sharpness_gd": gd["sharpness"],
        "steps_central": central["time"] / central["eta"],
        "steps_gd": gd["steps"],
    }
