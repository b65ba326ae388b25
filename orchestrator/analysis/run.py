"""From the trials of a run directory to its ``analysis/phase.parquet``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from orchestrator.analysis.phase import Measured, PhaseRow, phase_row
from orchestrator.store import PHASE, Store, write_table
from orchestrator.store.write import file_errors

_MEASURED = [field.name for field in dataclasses.fields(Measured)]


def analyze(run: Path) -> list[PhaseRow]:
    """Compute a row per (column_id, epsilon) of the trials so far, in that order, and write them.

    They replace ``<run>/analysis/phase.parquet`` in one step, so this may run while trials do.

    Raises:
        FileNotFoundError: there is no such run directory.
        StoreError: the file system refused.
    """
    trials = Store(run).table("trials", ["column_id", "epsilon", "kind", *_MEASURED])
    rows = _phase_rows(trials.to_pylist())
    folder = run / "analysis"
    with file_errors(folder, "made"):
        folder.mkdir(mode=0o700, exist_ok=True)
    write_table(folder / "phase.parquet", [dataclasses.asdict(row) for row in rows], PHASE)
    return rows


def _phase_rows(trials: list[dict[str, Any]]) -> list[PhaseRow]:
    flows: dict[tuple[str, float], Measured] = {}
    descents: dict[tuple[str, float], list[Measured]] = {}
    for row in trials:
        key = row["column_id"], row["epsilon"]
        measured = Measured.of(row)
        if row["kind"] == "flow":
            flows[key] = measured
        else:
            descents.setdefault(key, []).append(measured)
    return [
        phase_row(*key, flows.get(key), descents.get(key, []))
        for key in sorted({*flows, *descents})
    ]
