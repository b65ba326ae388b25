"""The predicted and the fitted η_c of a run, from its analysis or computed without writing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.analysis import is_current, phases
from orchestrator.store import query


@dataclass(frozen=True)
class Kink:
    """η_c of a column at a threshold: ``predicted`` by its flow, ``fitted`` to its GD.

    ``low`` and ``high`` bound the fitted one, where the analysis knows how well it is known.
    """

    column_id: str
    epsilon: float
    predicted: float | None
    fitted: float | None
    low: float | None
    high: float | None
    flow_sharpness: float | None
    """Of the flow at ε, which is below s_gf where the flow was sharpest before."""


def kinks(run: Path) -> list[Kink]:
    """The kinks of all columns, from ``analysis/phase.parquet`` unless trials came since."""
    rows = query(run, "SELECT * FROM phase").to_pylist() if is_current(run) else []
    rows = rows or [vars(row) for row in phases(run)]
    return [
        Kink(
            row["column_id"],
            row["epsilon"],
            row["eta_c"],
            row["eta_c_fitted"],
            row["eta_c_fitted_low"],
            row["eta_c_fitted_high"],
            row["flow_sharpness"],
        )
        for row in rows
    ]
