"""Rows of ``trials`` with known answers, and the row of phases that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from orchestrator.analysis import PhaseRow
from orchestrator.analysis.crossings import READ, read
from orchestrator.analysis.phase import phase_table
from orchestrator.analysis.valleys import valleys
from orchestrator.store import TRIALS


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """What the table of phases needs of a row; None where it was not measured."""

    status: str
    eta: float | None = None
    s_gf: float | None = None
    sharpness: float | None = None
    sharpness_converged: bool | None = None
    l1_norm: float | None = None
    test_loss: float | None = None


def phase_row(
    column_id: str, epsilon: float, flow: TrialRow | None, gd: Sequence[TrialRow]
) -> PhaseRow:
    """The row of one column at one threshold, from its flow there and all its GD there."""
    key = {"column_id": column_id, "epsilon": epsilon}
    rows = [{**key, "kind": "gd", **vars(one)} for one in gd]
    # A flow that is unknown is one that never reached ε.
    rows.append({**key, "kind": "flow", **vars(flow or TrialRow(status="max_steps"))})
    schema = pa.schema([TRIALS.field(name) for name in READ])
    places, of_gd = read(pa.Table.from_pylist(rows, schema=schema))
    alone = np.zeros(1, dtype=np.int64)
    (row,) = phase_table(places, of_gd, valleys(places, of_gd, alone, alone)).to_pylist()
    return PhaseRow(**row)
