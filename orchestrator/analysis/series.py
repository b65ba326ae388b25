"""Which runs count and why the others do not, for those who have rows and no table of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.analysis.fates import FATES
from orchestrator.analysis.runs import as_trials, read


def fates_of(rows: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """What became of each row of ``trials``: one of FATES for GD, None for a flow.

    The rows are all that there are of their columns and thresholds, since a run is judged by those
    beside it; the fates are those of ``analysis/excluded.parquet``.
    """
    _, runs = read(as_trials(rows))
    found: list[str | None] = [None] * len(rows)
    for row, fate in zip(runs.trial.tolist(), runs.fate.tolist(), strict=True):
        found[row] = FATES[fate]
    return found
