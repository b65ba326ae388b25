"""What counts as evidence: the runs that count for the analysis, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.analysis.verdict import FAILS, HOLDS
from orchestrator.claims import Evidence, gather
from orchestrator.claims import statements as s
from orchestrator.store import create, write_part
from orchestrator.sweep import load

ETAS = (0.03, 0.05, 0.07, 0.085, 0.12, 0.15, 0.2, 0.3)
S_GF = 20.0
SWEEP = """
name: one
problem: {dataset: "point(x=[2, 1], truth=[0.5, 0.5])", n_train: 1, architecture: diagonal}
eta: {values: [0.3, 0.5, 0.7, 0.85, 1.2, 1.5, 2, 3]}
stop: {epsilon: 0.1}
"""


def gd(eta: float, **changes: Any) -> dict[str, Any]:
    """A run at the edge: flat below η_c = 0.1, 2/η above; its risk is least at η = 0.2."""
    return {
        "kind": "gd",
        "status": "reached",
        "eta": eta,
        "eta_over_eta_c": eta / 0.1,
        "sharpness": min(S_GF, 2 / eta),
        "sharpness_converged": True,
        "l1_norm": 10 + max(0.0, eta - 0.1),
        "test_loss": (eta - 0.2) ** 2 + 0.1,
        "distance_from_init": 10.0,
        "distance_from_flow": 1e-3,
        **changes,
    }


def gathered(path: Path, *others: dict[str, Any]) -> Evidence:
    """The evidence of a run with the flow, GD at the edge and some other runs."""
    written = path.with_suffix(".yaml")
    written.write_text(SWEEP)
    sweep = load(written)
    (column,) = sweep.columns
    flow = {
        "kind": "flow",
        "status": "reached",
        "s_gf": S_GF,
        "sharpness": S_GF,
        "max_sharpness": S_GF,
        "l1_norm": 10.0,
    }
    create(path)
    for number, row in enumerate([flow, *map(gd, ETAS), *others]):
        name = f"t{number:02}"
        key = {"trial_id": name, "attempt": 1, "column_id": column.column_id, "epsilon": 0.1}
        trace = {"point": "end", "measure": "trace", "value": row.get("trace", row["sharpness"])}
        norm = {"point": "mid", "measure": "l1_norm", "value": row["l1_norm"]}
        write_part(path, "trials", name, [key | {k: v for k, v in row.items() if k != "trace"}])
        write_part(path, "measures", name, [key | trace, key | norm])
    return gather(path, sweep)


ACCIDENT = gd(0.4, sharpness=9.6, l1_norm=1.0, test_loss=1e-9, trace=40.0)
"""The largest η, S·η/2 = 1.92: left the edge, and hit the threshold in passing."""
UNKNOWN = gd(0.04, sharpness_converged=False, l1_norm=20.0, distance_from_flow=9.0, test_loss=1e-9)
"""A small η whose sharpness is not known."""


@pytest.mark.parametrize("other", [ACCIDENT, UNKNOWN], ids=["accident", "sharpness unknown"])
def test_what_does_not_count_for_the_analysis_turns_no_claim(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    evidence = gathered(tmp_path / "run", other)
    (at,) = evidence.every
    assert [row["eta"] for row in at.gd] == list(ETAS)
    assert at.flow is not None
    assert (at.flow["kind"], at.flow["sharpness"]) == ("flow", S_GF)
    wanted = {
        s.norm_flat: True,
        s.norm_rises: True,
        s.middle_norm_rises: True,
        s.falls_above("trace"): True,
        s.apart_from_flow: False,
        s.best_at_the_truth: True,
    }
    found = [statement(evidence).verdict for statement in wanted]
    assert found == [HOLDS if holds else FAILS for holds in wanted.values()]
